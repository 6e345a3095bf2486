"""What the gates read, and how: evidence that is missing, NaN or broken fails its gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opslore.cards import Example, Gate, Result, Split
from opslore.config import Thresholds
from opslore.errors import DataError, OpsloreError
from opslore.evaluation.retention import Retention

SHOWN = 5
"""Example ids a failed gate's line shows before "and N more"."""

_BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OpsloreError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a gate's arithmetic may raise on broken evidence; a gate that breaks has failed."""


@dataclass(frozen=True)
class Evidence:
    """Everything the gates read."""

    examples: Sequence[Example]
    """The test prompts, all splits."""
    results: Mapping[tuple[str, str], Result]
    """Replies with their scores by (column, example id)."""
    asked: Mapping[str, Sequence[str]]
    """Example ids that each column was to answer; one without a result fails its gates."""
    thresholds: Thresholds
    resamples: int = 10_000
    templates: tuple[str, str] | None = None
    """SHA-256 of the chat template in the GGUF, and of the one trained with; None is unknown."""
    leaks: Sequence[str] | None = None
    """Every leak between the splits, one line each; None is unknown."""
    weights: tuple[str, str] | None = None
    """SHA-256 of the GGUF that was asked, and of the one that `export` wrote; None is unknown."""
    secrets: Sequence[str] | None = None
    """Every secret or canary in training rows and replies, `id: what`; None is unknown."""
    champion: str = ""
    """Version of the release to compare with; empty when there is none yet."""
    retention: Retention | None = None
    """S5: everyday questions and general text beside the base model; None is unknown."""


@dataclass(frozen=True)
class Verdict:
    """What a gate's test says."""

    passed: bool
    measured: str
    threshold: str
    examples: list[str] = field(default_factory=list)


def ask(name: str, title: str, test: Callable[[Evidence], Verdict], evidence: Evidence) -> Gate:
    """One gate's answer; a test that breaks on broken evidence has failed."""
    try:
        verdict = test(evidence)
    except _BROKEN as error:
        what = (
            error.message if isinstance(error, OpsloreError) else f"{type(error).__name__}: {error}"
        )
        verdict = Verdict(False, f"could not be computed ({what})", "evidence that can be read")
    return Gate(
        name=name,
        title=title,
        passed=verdict.passed,
        measured=verdict.measured,
        threshold=verdict.threshold,
        examples=verdict.examples,
    )


def of(evidence: Evidence, split: Split) -> list[Example]:
    """The prompts of a split."""
    return [example for example in evidence.examples if example.split == split]


def results_of(evidence: Evidence, column: str, among: Sequence[Example]) -> list[Result]:
    """The column's results for these examples.

    Raises:
        DataError: one is missing.
    """
    missing = [e.id for e in among if (column, e.id) not in evidence.results]
    if missing:
        ids = ", ".join(missing[:SHOWN])
        raise DataError(f"{len(missing)} of {len(among)} {column} replies are missing: {ids}")
    return [evidence.results[column, e.id] for e in among]


def marks(evidence: Evidence, column: str, among: Sequence[Example], name: str) -> list[float]:
    """One score of a column, 0.0 or 1.0 per example.

    Raises:
        DataError: a result is missing, or its score is missing, NaN, or anything but 0 and 1.
    """
    values = []
    for result in results_of(evidence, column, among):
        value = result.scores.get(name)
        if value not in (0.0, 1.0):
            raise DataError(f"{name} of {result.example} ({column}) is {value}")
        values.append(float(value))
    return values


def asked(evidence: Evidence, column: str) -> list[Example]:
    """The examples that a column was to answer.

    Raises:
        DataError: one is not in the dataset.
    """
    wanted = set(evidence.asked.get(column, ()))
    found = [example for example in evidence.examples if example.id in wanted]
    if len(found) != len(wanted):
        raise DataError(
            f"{len(wanted) - len(found)} prompts asked of {column} are not in the dataset"
        )
    return found


def marked(among: Sequence[Example], values: Sequence[float], value: float) -> list[str]:
    """Ids of the examples with this value."""
    return [e.id for e, v in zip(among, values, strict=True) if v == value]
