"""`why`: every gate with what was asked, and its examples down to the runbook's line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opslore import report, why
from opslore.cards import Evaluation, Override
from opslore.errors import ConfigError, MissingInput

Whole = tuple[dict[str, Any], Path, list[tuple[str, int, int]]]


@pytest.fixture
def card(whole: Whole) -> Evaluation:
    return Evaluation(id="0" * 64, uri="u", created="c", made_with="m", **whole[0])


@pytest.fixture
def folders(whole: Whole, dataset: Path) -> dict[str, Path]:
    return {"dataset": dataset, "evaluation": whole[1]}


def test_every_gate_is_explained(card: Evaluation, folders: dict[str, Path]) -> None:
    found = why.explain(card, folders)
    assert [one.gate for one in found] == [gate.name for gate in card.gates]
    assert all(one.asked.endswith("?") for one in found)
    assert all((one.measured, one.needs) != ("", "") for one in found)


def test_the_examples_behind_a_failed_gate(card: Evaluation, folders: dict[str, Path]) -> None:
    (one,) = why.explain(card, folders, "g1")
    assert not one.passed
    wrong = next(gate for gate in card.gates if gate.name == "G1").examples
    assert [example.id for example in one.examples] == wrong
    for example in one.examples:
        assert example.question
        assert example.expected
        assert example.reason
        assert example.column == "constrained"
        assert example.source.startswith("RUNBOOK.md:")
        assert example.source.endswith(" @ c0ffee")
        assert example.shown
        assert all(entry.source.startswith("RUNBOOK.md:") for entry in example.shown)


def test_a_gate_that_compares_says_what_the_other_said(
    card: Evaluation, folders: dict[str, Path]
) -> None:
    name = card.gates[0].model_copy(update={"name": "G7", "examples": ["s1-0000-webhook-test-0"]})
    (one,) = why.explain(card.model_copy(update={"gates": [name]}), folders)
    shelf = why.Shelf(folders)
    asked = [row for column, row in shelf.results if column == "trained"]
    told = shelf.behind("G7", asked[0])
    assert "the trained weights say: " in told.reason
    assert one.gate == "G7"


def test_who_let_it_pass(card: Evaluation, folders: dict[str, Path]) -> None:
    let = Override(gate="G1", person="Ada", reason="a trial", at="2026-11-22")
    (one,) = why.explain(card.model_copy(update={"overrides": [let]}), folders, "G1")
    assert one.override == let


def test_what_cannot_be_explained(card: Evaluation, folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="G9: no such gate; there are G0"):
        why.explain(card, folders, "G9")
    with pytest.raises(MissingInput, match="evaluation"):
        why.explain(card, {"dataset": folders["dataset"]})


def test_the_page_has_the_same_collapsed(card: Evaluation, folders: dict[str, Path]) -> None:
    let = Override(gate="G1", person="Ada <b>", reason="a trial", at="2026-11-22")
    page = report.page("a", [card.model_copy(update={"overrides": [let]})], folders)
    for one in why.explain(card, folders):
        assert f'<details class="why"><summary><b>{one.gate}</b>' in page
    assert "G1 was overridden by Ada &lt;b&gt; on 2026-11-22: a trial" in page
    assert "RUNBOOK.md:" in page
