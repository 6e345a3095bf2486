"""What one prompt's reply may be: the shown commands, said as far as they have to be."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from entries import made
from hypothesis import given, settings

from opslore.bundle import catalogue, choices
from opslore.cards import ESCALATE
from opslore.index import Hit

LOGS = made("PodCrash", "It exits.", "kubectl logs <pod> -n <namespace> --previous")
UNDO = made("RolloutStuck", "Nothing moves.", "kubectl rollout undo deployment api -n shop")
FREE = made("DiskFull", "No room.", "df -h")
ASK = made("Leaked", "A key is out.", ESCALATE)
QUESTION = "pod web-0 of the shop dies, namespace shop-2"


def of(question: str, *entries: object) -> choices.Choices:
    return choices.of(question, [Hit(e, 9.0 - i) for i, e in enumerate(entries)])  # type: ignore[arg-type]


def test_only_what_the_prompt_shows_is_allowed() -> None:
    found = of(QUESTION, LOGS, UNDO, ASK)
    assert found.whole.templates == ["kubectl logs web-0 -n shop-2 --previous", UNDO.answer]
    for text in (*found.whole.templates, ESCALATE):
        assert catalogue.accepts(found.whole, text)
    for text in (FREE.answer, LOGS.answer, "kubectl logs web-1 -n shop-2 --previous", ""):
        assert not catalogue.accepts(found.whole, text)


def test_a_command_is_said_until_nothing_else_is_left() -> None:
    found = of(QUESTION, LOGS, UNDO, FREE)
    assert list(found.known) == ["kubectl logs", "kubectl rollout", "df"]
    assert found.finish(ESCALATE, 0.5) == (ESCALATE, 0.5)
    # A third of the characters was chosen; the others were certain.
    share = len("kubectl rollout") / len(UNDO.answer)
    assert found.finish("kubectl rollout", 0.5) == (UNDO.answer, pytest.approx(0.5**share))
    assert list(of("?", FREE).known) == ["df"]
    assert of("?").whole.templates == of("?", ASK).whole.templates == []


def test_a_command_that_begins_another_one_is_told_from_it() -> None:
    rows = [made(f"A{i}", "x", text) for i, text in enumerate(["df -h", "df -h /var", "df", "dfx"])]
    found = of("?", *rows)
    assert list(found.known) == ["df -h", "df -h /var", "df", "dfx"]
    assert [found.finish(said, 1.0)[0] for said in found.known] == [r.answer for r in rows]


def test_an_open_place_takes_the_questions_words_or_stays_open() -> None:
    found = of("something dies in shop-2 near web-0, it is the worst", LOGS, UNDO)
    assert LOGS.answer in found.known, "what fills the place must be said"
    assert catalogue.accepts(found.short, "kubectl logs web-0 -n shop-2 --previous")
    assert catalogue.accepts(found.short, LOGS.answer)
    for wrong in ("kubectl logs web-1 -n shop-2 --previous", "kubectl logs the -n is --previous"):
        assert not catalogue.accepts(found.short, wrong), wrong
    # Nobody said anything that could be a name: the places stay open.
    assert catalogue.accepts(of("?", LOGS).short, LOGS.answer)
    assert not catalogue.accepts(of("?", LOGS).short, "kubectl logs a -n b --previous")


def test_beside_an_open_place_what_could_fill_it_is_not_cut() -> None:
    open_ = made("A", "x", "systemctl restart <unit>")
    set_ = made("B", "x", "systemctl restart api")
    found = of("the api, and the unit of it", open_, set_)
    assert set(found.known) == {open_.answer, set_.answer}


def test_grammar_and_schema_offer_the_same() -> None:
    found = of("dies near web-0 or web-1", LOGS, UNDO)
    text = catalogue.grammar(found.short)
    assert "rollout" in text
    assert "--previous" in text
    assert "undo" not in text
    told = catalogue.schema(found.short)["properties"]["command"]["anyOf"]
    assert "kubectl rollout" in told[0]["enum"]
    assert any("web-0" in one.get("pattern", "") for one in told[1:])


COMMAND = st.lists(st.sampled_from(["df", "-h", "get", "pods", "-n", "a"]), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMAND.map(" ".join), min_size=1, max_size=6, unique=True))
def test_every_command_has_a_beginning_of_its_own(texts: list[str]) -> None:
    found = of("?", *(made(f"A{i}", "x", text) for i, text in enumerate(texts)))
    assert list(found.known.values()) == texts
    assert all(whole.startswith(said) for said, whole in found.known.items())
    assert len(found.known) == len(texts)
