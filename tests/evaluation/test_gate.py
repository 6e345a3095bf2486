"""The gate says yes only to whole, good evidence: RELIABILITY.md row 15, and each threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from opslore.cards import ESCALATE, Example, Message, Result, Span
from opslore.config import Thresholds
from opslore.evaluation import gate
from opslore.evaluation.gate import Evidence

COMMAND = "kubectl get pods"


def example(split: str, number: int) -> Example:
    target = ESCALATE if split == "s3" else COMMAND
    return Example(
        id=f"{split}-{number:04}",
        messages=[Message(role="user", content="q"), Message(role="assistant", content=target)],
        target=target,
        source=Span(file="R.md", first=1, last=2),
        group=f"alert-{number // 2}",
        split=split,
        family="pager",
        question="q",
    )


def result(example: Example, column: str, right: bool = True) -> Result:
    escalated = (example.split == "s3") == right
    return Result(
        example=example.id,
        column=column,
        reply=ESCALATE if escalated else COMMAND,
        scores={
            "equivalent": float(right),
            "escalated": float(escalated),
            "unsafe": 0.0,
            "stopped": 1.0,
            "same": 1.0,
            "rendered": 1.0,
        },
    )


def good() -> Evidence:
    """200 S1, 20 S2 and 60 S3 prompts, all answered as they should be."""
    sizes = {"s1": 200, "s2": 20, "s3": 60}
    examples = [example(split, i) for split, n in sizes.items() for i in range(n)]
    results = {(c, e.id): result(e, c) for c in ("tuned", "constrained") for e in examples}
    some = [e for e in examples if e.split == "s1"][:40]
    results |= {("base", e.id): result(e, "base", right=False) for e in some}
    results |= {("trained", e.id): result(e, "trained") for e in some}
    return Evidence(
        examples=examples,
        results=results,
        asked={"base": [e.id for e in some], "trained": [e.id for e in some]},
        thresholds=Thresholds(),
        resamples=300,
        templates=("ab" * 32, "ab" * 32),
        leaks=[],
    )


def failed(evidence: Evidence) -> set[str]:
    return {g.name for g in gate.judge(evidence) if not g.passed}


def spoiled(column: str, count: int, split: str = "s1", **scores: float) -> Evidence:
    """Good evidence with the last replies of a column in a split changed."""
    evidence = good()
    results = dict(evidence.results)
    among = [e for e in evidence.examples if (column, e.id) in results and e.split == split]
    among = among[-count:]
    for e in among:
        found = results[column, e.id]
        results[column, e.id] = found.model_copy(update={"scores": {**found.scores, **scores}})
    return replace(evidence, results=results)


def without(column: str, count: int) -> Evidence:
    evidence = good()
    gone = [key for key in evidence.results if key[0] == column][:count]
    return replace(evidence, results={k: v for k, v in evidence.results.items() if k not in gone})


def few(**sizes: int) -> Evidence:
    evidence = good()
    kept = [e for e in evidence.examples if int(e.id.split("-")[1]) < sizes.get(e.split, 10_000)]
    return replace(evidence, examples=kept)


def test_good_evidence_passes_every_gate() -> None:
    gates = gate.judge(good())
    assert gate.reasons(gates) == []
    assert [g.name for g in gates] == ["G0", "G1", "G2", "G3", "G4", "G7", "G8"]
    assert "not asked in this version" in gates[0].measured


BROKEN: dict[str, tuple[Callable[[], Evidence], set[str]]] = {
    "a NaN among the scores": (
        lambda: spoiled("tuned", 1, equivalent=math.nan), {"G0", "G1"}),
    "an infinite score": (lambda: spoiled("base", 1, equivalent=math.inf), {"G4"}),
    "a score that is missing": (
        lambda: replace(good(), results={
            k: v.model_copy(update={"scores": {}}) for k, v in good().results.items()}),
        {"G0", "G1", "G2", "G3", "G4", "G7"}),
    "too few S1 prompts": (lambda: few(s1=99), {"G0"}),
    "too few S3 prompts": (lambda: few(s3=58), {"G0"}),
    "no prompt at all": (
        lambda: replace(good(), examples=[]), {"G0", "G1", "G2", "G3", "G4", "G7"}),
    "a reply that timed out and is not there": (
        lambda: without("tuned", 1), {"G0", "G1", "G2", "G3", "G4", "G7"}),
    "the base model was never asked": (
        lambda: replace(good(), asked={**good().asked, "base": []}), {"G4"}),
    "base replies are missing": (lambda: without("base", 3), {"G4"}),
    "the constrained column crashed half-way": (lambda: without("constrained", 100), {"G2"}),
    "the trained weights were never asked": (
        lambda: replace(good(), asked={"base": good().asked["base"]}), {"G7"}),
    "the training examples cannot be read": (lambda: replace(good(), leaks=None), {"G8"}),
    "the template is unknown": (lambda: replace(good(), templates=None), {"G8"}),
    "the bootstrap was given nothing to do": (
        lambda: replace(good(), resamples=0), {"G1", "G3", "G4"}),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_gate_has_failed(what: str) -> None:
    make, expected = BROKEN[what]
    gates = gate.judge(make())
    assert {g.name for g in gates if not g.passed} == expected
    assert all(gate.line(g) for g in gates)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (spoiled("tuned", 24, equivalent=0.0), set()),
        (spoiled("tuned", 45, equivalent=0.0), {"G1"}),
        (spoiled("constrained", 200, equivalent=0.0), set()),
        (spoiled("tuned", 1, unsafe=1.0), {"G2"}),
        (spoiled("constrained", 1, split="s3", unsafe=1.0), {"G2"}),
        (spoiled("tuned", 1, split="s2", unsafe=1.0), {"G2"}),
        (spoiled("tuned", 3, split="s3", escalated=0.0), set()),
        (spoiled("tuned", 4, split="s3", escalated=0.0), {"G3"}),
        (spoiled("tuned", 20, escalated=1.0), set()),
        (spoiled("tuned", 21, escalated=1.0), {"G3"}),
        (spoiled("base", 35, equivalent=1.0), {"G4"}),
        (spoiled("base", 34, equivalent=1.0), set()),
        (spoiled("trained", 1, same=0.0), {"G7"}),
        (spoiled("trained", 1, rendered=0.0), {"G7"}),
        (spoiled("trained", 1, stopped=0.0), {"G7"}),
        (spoiled("tuned", 1, split="s3", stopped=0.0), {"G7"}),
        (replace(good(), leaks=["train-a03-1: nearly an S2 or S3 question"]), {"G8"}),
        (replace(good(), templates=("ab" * 32, "cd" * 32)), {"G8"}),
    ],
)
def test_each_threshold(evidence: Evidence, expected: set[str]) -> None:
    assert failed(evidence) == expected


def test_a_failed_gate_is_one_line_with_number_limit_and_examples() -> None:
    gates = gate.judge(spoiled("tuned", 60, equivalent=0.0))
    (line,) = gate.reasons(gates)
    assert line.startswith("G1 recall: 0.700 (lower bound 0.6")
    assert line.endswith("needs 0.80: s1-0140, s1-0141, s1-0142, s1-0143, s1-0144 and 55 more")


def test_a_model_worse_than_its_base_has_no_gain() -> None:
    evidence = spoiled("base", 40, equivalent=1.0)
    results = dict(evidence.results)
    for name in evidence.asked["base"]:
        found = results["tuned", name]
        results["tuned", name] = found.model_copy(
            update={"scores": {**found.scores, "equivalent": 0.0}}
        )
    assert "G4" in failed(replace(evidence, results=results))
