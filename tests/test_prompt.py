"""The prompt, letter by letter: what was trained is what is asked."""

from __future__ import annotations

import hypothesis.strategies as st
from entries import made
from hypothesis import given, settings

from opslore import prompt
from opslore.cards import ESCALATE
from opslore.index import Hit
from opslore.stems import words

SYSTEM = "Answer with the exact command."


POD = made(
    "KubePodCrashLooping",
    "The container exits soon after each start.\nkubelet waits longer each time before it tries\n"
    "again, and the service behind it has fewer ready endpoints than it needs.",
    "kubectl logs <pod> -n <namespace> --previous",
)
QUORUM = made("EtcdNoLeader", "etcd has no leader.", ESCALATE)


def test_an_open_book_prompt_letter_by_letter() -> None:
    hits = [Hit(POD, 7.5), Hit(QUORUM, 0.4)]
    system, user = prompt.messages(SYSTEM, "fewer endpoints of pod web-0", hits)
    assert (system.role, system.content) == ("system", SYSTEM)
    assert user.role == "user"
    assert user.content == (
        "Runbook:\n"
        "- KubePodCrashLooping (fair): time before it tries again, and the service behind it has"
        " fewer ready endpoints\n"
        "  kubectl logs web-0 -n <namespace> --previous\n"
        "- EtcdNoLeader (weak): etcd has no leader.\n"
        "  escalate_to_human\n"
        "\n"
        "Question: fewer endpoints of pod web-0\n"
        "Best match: fair"
    )


def test_an_entry_fits_that_leads_and_is_quoted() -> None:
    rows = [
        ("Full", "the disk is nearly full today", 13.0),
        ("Slow", "the disk is slow", 4.0),
        ("Odd", "nothing", 2.0),
    ]
    hits = [Hit(made(name, text, "df -h"), score) for name, text, score in rows]
    assert prompt.fits("help, disk is nearly full", hits) == ["strong", "weak", "weak"]
    assert prompt.fits("help, nearly all of it", hits) == ["fair", "weak", "weak"]
    assert prompt.fits("quite another thing", hits) == ["weak", "weak", "weak"]
    assert prompt.fits("x", []) == []
    text = prompt.messages(SYSTEM, "disk is nearly full", hits)[1].content
    assert text.startswith("Runbook:\n- Full (strong): the disk")
    assert text.endswith("Question: disk is nearly full\nBest match: strong")
    assert "Slow" not in text, "beside a strong entry a weak one only costs tokens"
    assert [hit.entry.title for hit in prompt.shown("disk is nearly full", hits)] == ["Full"]
    assert len(prompt.shown("help, nearly all of it", hits)) == 3


def test_a_closed_book_prompt_is_the_question() -> None:
    turns = prompt.messages(SYSTEM, "what now?")
    assert [(t.role, t.content) for t in turns] == [("system", SYSTEM), ("user", "what now?")]


def test_entries_keep_the_order_they_are_given_in() -> None:
    rows = [made(name, "some words", "df -h") for name in "CAB"]
    text = prompt.book("q", [Hit(row, 1.0) for row in rows], ["weak"] * 3)
    assert [line[2] for line in text.splitlines() if line.startswith("- ")] == [
        "C",
        "A",
        "B",
    ]


def test_a_snippet_goes_where_the_question_points() -> None:
    long = " ".join(f"filler{i}" for i in range(40)) + " disk is nearly full " + "end " * 30
    assert "disk is nearly full" in prompt.snippet(long, frozenset(words("full disk")))
    assert prompt.snippet(long, frozenset()) == prompt.snippet(long, frozenset(["absent"]))
    assert prompt.snippet(long, frozenset()).startswith("filler0 filler1")


def test_a_snippet_of_nothing_is_empty() -> None:
    assert prompt.snippet("", frozenset(["pod"])) == ""
    assert prompt.snippet(" \n\t ", frozenset(["pod"])) == ""


def test_one_endless_word_is_cut() -> None:
    assert prompt.snippet("x" * 500, frozenset()) == "x" * (2 * prompt.CUES)


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["disk", "pod", "full", "restarts", "the", "node", "nodes", "ready"]),
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30),
    ),
    max_size=40,
).map(" ".join)
ASKED = st.frozensets(st.sampled_from(["disk", "pod", "full", "restart", "node", "readi"]))


@settings(max_examples=300, deadline=None)
@given(TEXTS, ASKED)
def test_a_snippet_is_a_stretch_of_the_symptoms_that_fits(text: str, asked: frozenset[str]) -> None:
    chosen = prompt.snippet(text, asked)
    assert chosen in " ".join(text.split())
    assert len(chosen) <= prompt.CUES
    assert chosen or not text.split()


@settings(max_examples=300, deadline=None)
@given(TEXTS, ASKED)
def test_no_other_stretch_that_fits_has_more_of_the_asked_words(
    text: str, asked: frozenset[str]
) -> None:
    def count(stretch: list[str]) -> int:
        return sum(bool(asked.intersection(words(word))) for word in stretch)

    parts = text.split()
    fitting = [
        parts[start:end]
        for start in range(len(parts))
        for end in range(start + 1, len(parts) + 1)
        if len(" ".join(parts[start:end])) <= prompt.CUES
    ]
    best = max((count(stretch) for stretch in fitting), default=0)
    assert count(prompt.snippet(text, asked).split()) == best
