"""Each gate for answers in prose fails for its own reason, and for what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation.prose_world import example

from opslore.cards import Gate, Result
from opslore.config import Thresholds
from opslore.evaluation.gate import Evidence
from opslore.evaluation.prose_gate import judge

ROWS = 40
NAMES = ["G0", "G1", "G2", "G3", "G4", "G7", "G8"]


def good() -> Evidence:
    """Evidence that passes every gate: 40 answers from 20 pages."""
    examples = [example(n, "test", f"q{n}", f"a{n}", f"page-{n // 2}") for n in range(ROWS)]
    results: dict[tuple[str, str], Result] = {}
    for number, e in enumerate(examples):
        rows = {
            "tuned": {"rouge": 0.4 + number % 3 / 100, "unsafe": 0.0, "ungrounded": 0.0,
                      "stopped": 1.0},
            "base": {"rouge": 0.2, "unsafe": 0.0, "ungrounded": 1.0, "stopped": 0.0},
            "loss-tuned": {"nats": 20.0 + number % 5, "tokens": 10.0},
            "loss-base": {"nats": 30.0 + number % 7, "tokens": 10.0},
            "trained": {"same": 50.0, "tokens": 50.0, "rendered": 1.0},
        }  # fmt: skip
        for column, scores in rows.items():
            results[column, e.id] = Result(example=e.id, column=column, reply="x", scores=scores)
    ids = [e.id for e in examples]
    columns = ("replies", "tuned", "base", "trained", "loss-tuned", "loss-base")
    return Evidence(
        examples=examples,
        results=results,
        asked=dict.fromkeys(columns, ids),
        thresholds=Thresholds(),
        resamples=300,
        templates=("ab" * 32, "ab" * 32),
        leaks=[],
        weights=("ef" * 32, "ef" * 32),
        secrets=[],
    )


def changed(evidence: Evidence, column: str, count: int, **scores: float) -> Evidence:
    """The first so many replies of a column with other scores."""
    results = dict(evidence.results)
    for e in list(evidence.examples)[:count]:
        row = results[column, e.id]
        results[column, e.id] = row.model_copy(update={"scores": {**row.scores, **scores}})
    return replace(evidence, results=results)


def failed(evidence: Evidence) -> dict[str, Gate]:
    return {gate.name: gate for gate in judge(evidence) if not gate.passed}


def test_good_evidence_passes_every_gate() -> None:
    gates = judge(good())
    assert [gate.name for gate in gates] == NAMES
    assert all(gate.passed for gate in gates)


@pytest.mark.parametrize(
    ("column", "count", "scores", "gate"),
    [
        ("loss-tuned", ROWS, {"nats": 36.5}, "G1"),
        ("loss-tuned", ROWS // 2, {"nats": 46.0}, "G1"),  # better on half of them proves nothing
        ("tuned", 1, {"unsafe": 1.0}, "G2"),
        ("tuned", 9, {"ungrounded": 1.0}, "G3"),
        ("tuned", ROWS, {"rouge": 0.1}, "G4"),
        ("trained", ROWS, {"same": 48.0}, "G7"),
        ("trained", 1, {"rendered": 0.0}, "G7"),
        ("tuned", 5, {"stopped": 0.0}, "G7"),
    ],
)
def test_each_gate_refuses_what_it_is_for(
    column: str, count: int, scores: dict[str, float], gate: str
) -> None:
    assert list(failed(changed(good(), column, count, **scores))) == [gate]


@pytest.mark.parametrize(
    ("column", "count", "scores"),
    [
        ("tuned", 8, {"ungrounded": 1.0}),  # 8 of 40 are the limit
        ("tuned", 4, {"stopped": 0.0}),
        ("trained", ROWS, {"same": 49.0}),
        ("tuned", ROWS, {"rouge": 0.19}),  # as good as the base, within the margin
    ],
)
def test_what_is_just_good_enough_passes(column: str, count: int, scores: dict[str, float]) -> None:
    assert not failed(changed(good(), column, count, **scores))


def test_too_few_prompts_are_no_evidence() -> None:
    evidence = good()
    few = {column: list(ids)[:29] for column, ids in evidence.asked.items()}
    gate = failed(replace(evidence, asked=few))["G0"]
    assert gate.measured.startswith("not enough evidence, loss of 29 answers from 15 threads")


def test_a_missing_reply_fails_the_gates_that_read_it() -> None:
    evidence = good()
    gone = ("tuned", evidence.examples[3].id)
    results = {key: row for key, row in evidence.results.items() if key != gone}
    found = failed(replace(evidence, results=results))
    assert set(found) == {"G0", "G2", "G3", "G4", "G7"}
    assert "could not be computed (1 of 40 tuned replies are missing" in found["G2"].measured


@pytest.mark.parametrize("column", ["loss-tuned", "loss-base"])
def test_a_missing_or_broken_loss_is_a_fail(column: str) -> None:
    evidence = good()
    gone = (column, evidence.examples[0].id)
    results = {key: row for key, row in evidence.results.items() if key != gone}
    assert "G1" in failed(replace(evidence, results=results))
    assert list(failed(changed(evidence, column, 1, nats=float("nan")))) == ["G1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"templates": None}, "chat template"),
        ({"templates": ("ab", "cd")}, "NOT as trained"),
        ({"leaks": None}, "nobody knows what leaks"),
        ({"secrets": None}, "not searched for secrets"),
        ({"weights": None}, "nobody knows which GGUF was asked"),
        ({"weights": ("ab", "cd")}, "GGUF NOT as exported"),
        ({"secrets": ["test-0001: a canary in the reply (tuned)"]}, "1 secrets or canaries"),
        ({"leaks": ["test-0001 and train-0002: one question on both sides"]}, "1 leaks"),
    ],
)
def test_hygiene(change: dict[str, object], said: str) -> None:
    found = failed(replace(good(), **change))  # type: ignore[arg-type]
    assert list(found) == ["G8"]
    assert said in found["G8"].measured


def test_nothing_asked_of_anybody_passes_nothing() -> None:
    empty = replace(good(), asked={}, results={}, examples=[], templates=None, leaks=None)
    assert list(failed(empty)) == NAMES
