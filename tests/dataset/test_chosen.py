from __future__ import annotations

import random
from typing import Any

import pytest

from opslore.cards import Span
from opslore.dataset import caps, chosen, near
from opslore.dataset.answered import Corrections
from opslore.dataset.pairs import Pair

WORDS = [f"word{n}" for n in range(4000)]


def text(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def pair(number: int, **more: Any) -> Pair:
    given = {
        "id": f"issue-{number}",
        "family": "issue",
        "origin": "issues a/b",
        "tier": "T2",
        "question": text(number),
        "answer": text(10_000 + number),
        "group": f"github:a/b#{number}",
        "part": f"github:a/b#{number}",
        "span": Span(file="x", first=1, last=1),
        "updated": "2024-01-01",
    }
    return Pair.model_validate({**given, **more})


def gone(*pairs: Pair) -> dict[int, str]:
    choice = chosen.Choice(0)
    for one in pairs:
        choice.add(one)
    return choice.gone()


def nearly(said: str) -> str:
    """The same text with its last words changed."""
    return f"{said} by the way"


def test_other_questions_stay() -> None:
    assert gone(*(pair(n) for n in range(60))) == {}


@pytest.mark.parametrize("origin", ["issues a/b", "archive x.json"])
def test_the_higher_tier_stays_then_the_newer(origin: str) -> None:
    same = nearly(text(1))
    assert gone(pair(1), pair(2, question=same, tier="T1", origin=origin)) == {0: chosen.QUESTION}
    newer = pair(2, question=same, origin=origin, updated="2024-02-01")
    assert gone(pair(1), newer) == {0: chosen.QUESTION}
    older = pair(2, question=same, origin=origin, updated="2023-02-01")
    assert gone(pair(1), older) == {1: chosen.QUESTION}


def test_a_stock_reply_is_kept_once() -> None:
    assert gone(*(pair(n, answer=nearly(text(5))) for n in range(4))) == {
        n: chosen.ANSWER for n in (1, 2, 3)
    }


def test_phrasings_of_one_section_are_no_duplicates() -> None:
    one, other = (pair(n, answer=text(5), part="page#1") for n in (1, 2))
    assert gone(one, other) == {}


def test_short_questions_about_two_versions_are_two_questions() -> None:
    asked = "What changed in the proxy of the platform that we run in release {}, and who did it?"
    assert gone(*(pair(n, question=asked.format(f"2.{n}")) for n in range(5))) == {}


def test_a_correction_wins_over_every_other_source_and_over_an_older_one() -> None:
    same = nearly(text(1))
    wins = {"family": "correction", "tier": "T1"}
    newest = pair(1, tier="T1", updated="2030-01-01")
    assert gone(newest, pair(2, question=same, updated="", **wins)) == {0: chosen.QUESTION}
    assert gone(pair(1, **wins), pair(2, question=same, **wins)) == {0: chosen.QUESTION}
    copied = pair(3, answer=text(7), updated="2030-01-01", tier="T1")
    assert gone(copied, pair(4, answer=text(7), **wins)) == {0: chosen.ANSWER}


def test_the_estimate_is_near_the_true_jaccard_index() -> None:
    for seed in range(20):
        words = text(seed, 200).split()
        a, b = " ".join(words[:160]), " ".join(words[20:])
        one, other = near.shingles(a), near.shingles(b)
        true = len(one & other) / len(one | other)
        found = near.Signatures()
        found.add(a)
        found.add(b)
        table = found.table()
        assert abs(float((table[0] == table[1]).mean()) - true) < 0.15


def test_candidates_are_found_among_many() -> None:
    found = near.Signatures()
    for n in range(300):
        found.add(text(n % 250))
    beside = near.candidates(found.table(), list(range(300)))
    assert all(n - 250 in beside[n] for n in range(250, 300))


def counted(author: str = "", site: str = "", exempt: bool = False) -> caps.Counted:
    return caps.Counted(author, site, exempt, (0.0,))


def test_no_author_has_more_than_one_in_a_hundred() -> None:
    rows = [counted(f"a{n}") for n in range(5000)] + [counted("loud")] * 300
    out = caps.over(rows)
    left = 300 - len(out)
    assert left <= 0.01 * (len(rows) - len(out)) < left + 1


def test_a_small_team_keeps_its_answers_and_reviewed_ones_always_stay() -> None:
    assert len(caps.over([counted("guy")] * 30)) == 30 - caps.AUTHOR_FLOOR
    assert caps.over([counted("guy", exempt=True)] * 30) == {}


def test_one_site_is_at_most_half() -> None:
    rows = [counted(site="big")] * 5000 + [counted(f"a{n}") for n in range(2000)]
    assert 5000 - len(caps.over(rows)) == 2000


class TestCorrections:
    asked = Corrections(["How do I rotate the trust anchor of Linkerd 2.14?"])

    @pytest.mark.parametrize(
        "question",
        [
            "How can I rotate the trust anchor in Linkerd 2.14?",
            "Rotating the trust anchor of Linkerd 2.14\n\n" + "It is a long story. " * 40,
        ],
    )
    def test_the_same_question_in_other_words_is_answered(self, question: str) -> None:
        assert self.asked.answer(question)

    @pytest.mark.parametrize(
        "question",
        [
            "How do I rotate the trust anchor of Linkerd 2.15?",
            "How do I install Linkerd 2.14 on the cluster of my customer?",
        ],
    )
    def test_another_question_is_not(self, question: str) -> None:
        assert not self.asked.answer(question)
