"""From single results to scores: per column, split and phrasing, with error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opslore.cards import TESTS, Evaluation, Example, Result, Score
from opslore.evaluation.statistics import Mean, Rate, summaries

COLUMNS = [
    *("tuned", "constrained", "closed", "champion", "base"),
    *("first", "bm25", "lookup", "trained"),
]
"""Whose answers are compared, in the order a table shows them."""


METRICS = [
    "equivalent",
    "exact",
    "template",
    "parses",
    "nlc2cmd",
    "relevance",
    "completeness",
    "ungrounded",
    "unsafe",
    "outside",
    "escalated",
]
"""Every metric of a result; `equivalent` is the headline, the others explain it."""

ATTACKED = ["unsafe", "outside", "escalated"]
"""The metrics of S4; an attack has no command that must be answered."""

FORMATS = ("webhook", "pager", "chat", "symptom")
"""The forms an alert arrives in; `chat` and `symptom` do not name it."""

BY_FAMILY = ("tuned", "bm25")
"""Columns that are also scored per phrasing family."""


def scores(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    """Every score of an evaluation; what a column was not asked has none."""
    out: list[Score] = []
    for column in COLUMNS:
        asked = [e for e in examples if (column, e.id) in results]
        for split in TESTS:
            among = [e for e in asked if e.split == split]
            metrics = ATTACKED if split == "s4" else METRICS
            out += _scores(column, split, among, results, metrics, resamples)
        for split, name in sorted({(e.split, kind(e.family)) for e in asked}):
            if column in BY_FAMILY or (split == "s1" and name in FORMATS):
                among = [e for e in asked if (e.split, kind(e.family)) == (split, name)]
                metrics = ["unsafe"] if split == "s4" else ["equivalent"]
                out += _scores(column, split, among, results, metrics, resamples, f":{name}")
    return [*out, *_parity(results, examples, resamples)]


def kind(family: str) -> str:
    """The phrasing family without its template: `chat` of `chat/test-3`."""
    return family.partition("/")[0]


def find(evaluation: Evaluation, column: str, split: str, name: str = "equivalent") -> Score | None:
    """One score of an evaluation, or None when it was not measured."""
    for score in evaluation.scores:
        if (score.column, score.split, score.name) == (column, split, name):
            return score
    return None


def headline(found: Sequence[Score]) -> str:
    """The evaluation in one sentence; when a baseline beats the model it says that first."""
    s1 = {s.column: s for s in found if (s.split, s.name) == ("s1", "equivalent")}
    if "tuned" not in s1:
        return "No S1 prompt was asked: nothing is known about this model."
    tuned = s1["tuned"]
    told = {
        "first": "the prompt's own first entry",
        "bm25": "BM25's first entry",
        "lookup": "a lookup by alert name",
    }
    best = max((s1[c] for c in told if c in s1), key=lambda s: s.value, default=None)
    text = (
        f"ight on {tuned.value:.2f} [{tuned.low:.2f}, {tuned.high:.2f}] of {tuned.n} S1 prompts; "
        f"{_named(told, s1)}{_wrongly_answered(found)}"
    )
    if best is not None and best.value > tuned.value:
        what = told[best.column]
        win = f"{what[0].upper()}{what[1:]} beats the model, {best.value:.2f} to {tuned.value:.2f}"
        return f"{win}: the model is r{text}"
    return f"R{text}"


def _wrongly_answered(found: Sequence[Score]) -> str:
    """What the model and the first entry did where the runbook has no answer: half of the truth."""
    s3 = {s.column: s for s in found if (s.split, s.name) == ("s3", "answered")}
    if not {"tuned", "first"} <= s3.keys():
        return ""
    tuned, first = s3["tuned"], s3["first"]
    return (
        f" Of {tuned.n} questions without an answer in the runbook the model answered "
        f"{tuned.right}, the first entry {first.right}."
    )


def _named(told: Mapping[str, str], s1: Mapping[str, Score]) -> str:
    parts = [f"{what} {s1[c].value:.2f}" for c, what in told.items() if c in s1]
    if "base" in s1:
        parts.append(f"the base model {s1['base'].value:.2f} of {s1['base'].n}")
    return "; ".join(parts) + "."


def _scores(
    column: str,
    split: str,
    among: Sequence[Example],
    results: Mapping[tuple[str, str], Result],
    metrics: Sequence[str],
    resamples: int,
    suffix: str = "",
) -> list[Score]:
    if not among:
        return []
    values = {
        f"{name}{suffix}": [results[column, e.id].scores[name] for e in among] for name in metrics
    }
    if split == "s3" and not suffix:
        values["answered"] = [1.0 - value for value in values["escalated"]]
    rates = summaries(values, [e.group for e in among], resamples)
    return [_score(name, column, split, rate) for name, rate in rates.items()]


def _parity(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    among = [e for e in examples if ("trained", e.id) in results]
    if not among:
        return []
    same = [results["trained", e.id].scores["same"] for e in among]
    found = summaries({"parity": same}, [e.group for e in among], resamples)
    return [_score("parity", "trained", "all", found["parity"])]


def _score(name: str, column: str, split: str, rate: Rate) -> Score:
    return score(name, column, split, rate, rate.right)


def score(name: str, column: str, split: str, rate: Rate | Mean, right: int = 0) -> Score:
    """A rate or a mean as the record of a card."""
    return Score(
        name=name,
        column=column,
        split=split,
        right=right,
        n=rate.n,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        bound=rate.lower,
    )
