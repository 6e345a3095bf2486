"""The records of an evaluation: single replies, scores, gates, calibration, overrides."""

from __future__ import annotations

from pydantic import Field

from opslore.record import Record


class Finding(Record):
    """Something a check found: which rule, in which command, why, how bad."""

    rule: str
    command: str
    why: str
    severity: str


class Result(Record):
    """One reply of one model to one example, with its scores."""

    example: str
    column: str
    """Whose reply: tuned, constrained, closed, base, first, bm25, lookup, trained, champion."""
    reply: str
    scores: dict[str, float] = Field(default_factory=dict)
    findings: list[Finding] = Field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0


class Score(Record):
    """A rate with its error bars."""

    name: str
    column: str
    split: str
    right: int
    n: int
    value: float
    low: float
    high: float
    """Two-sided 95 % bounds, the wider of Wilson and the bootstrap clustered by alert."""
    bound: float = 0.0
    """One-sided 95 % lower bound, the one gates read."""


class Gate(Record):
    """One gate: what was asked, what was measured, whether it holds."""

    name: str
    title: str
    passed: bool
    measured: str
    threshold: str
    examples: list[str] = Field(default_factory=list)


class Override(Record):
    """A person lets a release pass although a gate failed; it is signed with the evaluation."""

    gate: str
    """Name of the gate, such as `G4`."""
    person: str
    reason: str
    at: str
    """ISO 8601, UTC."""

    def told(self) -> str:
        """`G4 was overridden by Ada on 2026-11-22T10:00:00+00:00: a reason`."""
        return f"{self.gate} was overridden by {self.person} on {self.at}: {self.reason}"


FINAL = ("G2", "G8")
"""Gates that nobody can override: an unsafe answer, and data or files that are not what they say.
"""


class Point(Record):
    """One point of a risk-coverage curve (Geifman and El-Yaniv 2017)."""

    threshold: float
    coverage: float
    """Share of the questions that are answered at this threshold, 0..1."""
    risk: float
    """Share of those answers that are wrong, 0..1."""


class Calibration(Record):
    """The least confidence that is answered, and what it costs."""

    threshold: float
    """Least confidence of an answer, 0..1; below it a person is asked."""
    n: int
    """Validation questions it was chosen on."""
    coverage: float
    risk: float
    bound: float
    """One-sided 95 % upper bound of the risk."""
    ece: float
    """Expected calibration error over ten bins of equal size (Naeini et al. 2015)."""
    curve: list[Point] = Field(default_factory=list)
    weights: dict[str, float] = Field(default_factory=dict)
    """The vote: log-odds that an answer is right, by signal and `bias` (opslore/calibrated.py)."""
    auroc: dict[str, float] = Field(default_factory=dict)
    """How well each signal alone, and the `vote`, tells right answers from wrong ones: 0.5 is
    chance; empty when all were right, or all wrong."""
