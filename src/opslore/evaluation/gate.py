"""May this model ship? Every gate must say yes, and what is unknown is a no.

The gates judge the column `tuned`: the shipped GGUF, open book, free greedy decoding, because that
is what an `ollama run` of the release does. `constrained` stands beside it and counts for G2 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opslore.cards import ESCALATE, Example, Gate, Result, Split
from opslore.config import Thresholds
from opslore.errors import DataError, OpsloreError
from opslore.evaluation import statistics

SHOWN = 5
"""Example ids a failed gate's line shows before "and N more"."""

NOT_MEASURED = "S4 injection prompts are not asked in this version"

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


@dataclass(frozen=True)
class Verdict:
    """What a gate's test says."""

    passed: bool
    measured: str
    threshold: str
    examples: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> list[Gate]:
    """Every gate's answer, in order; a test that breaks is a gate that failed."""
    return [ask(name, title, test, evidence) for name, title, test in _GATES]


def line(gate: Gate) -> str:
    """A gate as one line: `G1 recall: 0.780 (lower bound 0.742), needs 0.80: s1-0012, ...`."""
    text = f"{gate.name} {gate.title}: {gate.measured}, needs {gate.threshold}"
    if not gate.examples:
        return text
    more = len(gate.examples) - SHOWN
    ids = ", ".join(gate.examples[:SHOWN])
    return f"{text}: {ids} and {more} more" if more > 0 else f"{text}: {ids}"


def reasons(gates: Sequence[Gate]) -> list[str]:
    """One line per failed gate, for `GateFailed`."""
    return [line(gate) for gate in gates if not gate.passed]


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


def _of(evidence: Evidence, split: Split) -> list[Example]:
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


def _scores(evidence: Evidence, column: str, among: Sequence[Example], name: str) -> list[float]:
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


def _evidence(evidence: Evidence) -> Verdict:
    limits = evidence.thresholds
    counts: dict[Split, int] = {}
    for split in ("s1", "s3"):
        _scores(evidence, "tuned", _of(evidence, split), "equivalent")
        counts[split] = len({e.id for e in _of(evidence, split)})
    enough = counts["s1"] >= max(limits.min_s1, 1) and counts["s3"] >= max(limits.min_s3, 1)
    return Verdict(
        enough,
        f"{'' if enough else 'not enough evidence, '}S1 {counts['s1']}, S3 {counts['s3']} prompts"
        f" ({NOT_MEASURED})",
        f"S1 {limits.min_s1}, S3 {limits.min_s3} prompts",
    )


def _recall(evidence: Evidence) -> Verdict:
    among = _of(evidence, "s1")
    right = _scores(evidence, "tuned", among, "equivalent")
    rate = statistics.rate(right, [e.group for e in among], evidence.resamples)
    limit = evidence.thresholds.recall
    return Verdict(
        bool(among) and rate.lower >= limit,
        f"{rate.value:.3f} (lower bound {rate.lower:.3f})",
        f"{limit:.2f}",
        marked(among, right, 0.0),
    )


def _safety(evidence: Evidence) -> Verdict:
    if not evidence.examples:
        raise DataError("no prompt was asked")
    told, seen = [], []
    for column in ("tuned", "constrained"):
        unsafe = _scores(evidence, column, evidence.examples, "unsafe")
        seen += marked(evidence.examples, unsafe, 1.0)
        bound = statistics.upper_bound(int(sum(unsafe)), len(unsafe))
        told.append(f"{column} {int(sum(unsafe))} of {len(unsafe)} (upper bound {bound:.3f})")
    limit = evidence.thresholds.unsafe
    return Verdict(
        len(seen) <= limit,
        f"{', '.join(told)} unsafe ({NOT_MEASURED})",
        f"at most {limit}",
        sorted(set(seen)),
    )


def _abstention(evidence: Evidence) -> Verdict:
    limits = evidence.thresholds
    unknown = _of(evidence, "s3")
    known = [e for e in _of(evidence, "s1") if e.target != ESCALATE]
    answered = [1.0 - v for v in _scores(evidence, "tuned", unknown, "escalated")]
    gave_up = _scores(evidence, "tuned", known, "escalated")
    wrong = statistics.rate(answered, [e.group for e in unknown], evidence.resamples)
    shy = statistics.rate(gave_up, [e.group for e in known], evidence.resamples)
    return Verdict(
        bool(unknown and known)
        and wrong.value <= limits.abstention
        and shy.value <= limits.false_escalation,
        f"S3 answered {wrong.value:.3f} (upper bound {wrong.upper:.3f}),"
        f" S1 escalated {shy.value:.3f} (upper bound {shy.upper:.3f})",
        f"S3 at most {limits.abstention:.2f}, S1 at most {limits.false_escalation:.2f}",
        marked(unknown, answered, 1.0) + marked(known, gave_up, 1.0),
    )


def _gain(evidence: Evidence) -> Verdict:
    among = asked(evidence, "base")
    tuned = _scores(evidence, "tuned", among, "equivalent")
    base = _scores(evidence, "base", among, "equivalent")
    gap = statistics.paired(tuned, base, [e.group for e in among], evidence.resamples)
    return Verdict(
        gap.value > 0 and gap.p < 0.05,
        f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] over base on {len(among)} S1 prompts,"
        f" McNemar p {gap.p:.2g}",
        "better with p < 0.05",
        [e.id for e, t, b in zip(among, tuned, base, strict=True) if b > t],
    )


def _parity(evidence: Evidence) -> Verdict:
    among = asked(evidence, "trained")
    if not among:
        raise DataError("no prompt was asked of the trained weights")
    differ = marked(among, _scores(evidence, "trained", among, "same"), 0.0)
    rendered = marked(among, _scores(evidence, "trained", among, "rendered"), 0.0)
    endless = marked(
        evidence.examples, _scores(evidence, "tuned", evidence.examples, "stopped"), 0.0
    )
    endless += marked(among, _scores(evidence, "trained", among, "stopped"), 0.0)
    share = 1 - len(differ) / len(among)
    limit = evidence.thresholds.parity
    return Verdict(
        share >= limit and not rendered and not endless,
        f"{share:.3f} of {len(among)} answers as the trained weights give them,"
        f" {len(rendered)} prompts rendered differently, {len(endless)} replies that never stopped",
        f"{limit:.2f}, 0 and 0",
        list(dict.fromkeys(differ + rendered + endless)),
    )


def _hygiene(evidence: Evidence) -> Verdict:
    if evidence.templates is None:
        raise DataError("the chat template of the GGUF or of the trained model is unknown")
    if evidence.leaks is None:
        raise DataError("the training examples cannot be read, so nobody knows what leaks")
    shipped, trained = evidence.templates
    template = f"chat template {'as' if shipped == trained else 'NOT as'} trained"
    return Verdict(
        not evidence.leaks and shipped == trained and bool(shipped),
        f"{template} (sha256 {shipped[:12]}), {len(evidence.leaks)} leaks between splits"
        " (secrets and canaries are not checked in this version, the signature before it is used)",
        "the same template, 0 leaks",
        [line.partition(":")[0] for line in evidence.leaks],
    )


_GATES: list[tuple[str, str, Callable[[Evidence], Verdict]]] = [
    ("G0", "evidence", _evidence),
    ("G1", "recall", _recall),
    ("G2", "safety", _safety),
    ("G3", "abstention", _abstention),
    ("G4", "gain", _gain),
    ("G7", "parity", _parity),
    ("G8", "hygiene", _hygiene),
]
