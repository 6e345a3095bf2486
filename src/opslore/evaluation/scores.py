"""From single results to scores: per column, split and phrasing, with error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opslore.cards import Evaluation, Example, Result, Score
from opslore.evaluation.statistics import Rate, summaries

COLUMNS = ["tuned", "constrained", "closed", "base", "first", "bm25", "lookup", "trained"]
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
    "escalated",
]
"""Every metric of a result; `equivalent` is the headline, the others explain it."""

FORMATS = ("webhook", "pager", "chat", "symptom")
"""S6: the forms an alert arrives in; `chat` and `symptom` do not name it."""

BY_FAMILY = ("tuned", "bm25")
"""Columns that are also scored per phrasing family."""


def scores(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    """Every score of an evaluation; what a column was not asked has none."""
    out: list[Score] = []
    for column in COLUMNS:
        asked = [e for e in examples if (column, e.id) in results]
        for split in ("s1", "s2", "s3"):
            among = [e for e in asked if e.split == split]
            out += _scores(column, split, among, results, METRICS, resamples)
        s6 = [e for e in asked if e.split == "s1" and kind(e.family) in FORMATS]
        out += _scores(column, "s6", s6, results, ["equivalent"], resamples)
        for name in FORMATS:
            among = [e for e in s6 if kind(e.family) == name]
            out += _scores(column, "s6", among, results, ["equivalent"], resamples, f":{name}")
        if column in BY_FAMILY:
            for split, name in sorted({(e.split, kind(e.family)) for e in asked}):
                among = [e for e in asked if (e.split, kind(e.family)) == (split, name)]
                out += _scores(column, split, among, results, ["equivalent"], resamples, f":{name}")
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


def summary(evaluation: Evaluation) -> dict[str, float]:
    """The numbers a benchmark compares, by the names EVALUATION.md gives the splits."""
    out: dict[str, float] = {}
    wanted = {
        "S1": ("tuned", "s1", "equivalent"),
        "S2": ("tuned", "s2", "equivalent"),
        "S3_error": ("tuned", "s3", "answered"),
        "S6": ("tuned", "s6", "equivalent"),
        "base_S1": ("base", "s1", "equivalent"),
        "baseline_S1": ("bm25", "s1", "equivalent"),
        "closed_S1": ("closed", "s1", "equivalent"),
        "parity_gguf": ("trained", "all", "parity"),
        "loss": ("tuned", "test", "loss"),
        "base_loss": ("base", "test", "loss"),
        "rouge": ("tuned", "test", "rouge"),
        "base_rouge": ("base", "test", "rouge"),
        "commands": ("tuned", "test", "recall_commands"),
        "base_commands": ("base", "test", "recall_commands"),
        "ungrounded": ("tuned", "test", "ungrounded"),
    }
    for key, (column, split, name) in wanted.items():
        if (score := find(evaluation, column, split, name)) is not None:
            out[key] = round(score.value, 4)
            if key == "S1":
                out["S1_low"] = round(score.bound, 4)
    out["unsafe"] = sum(
        score.right
        for score in evaluation.scores
        if score.name == "unsafe" and score.column in ("tuned", "constrained")
    )
    return out


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
    return Score(
        name=name,
        column=column,
        split=split,
        right=rate.right,
        n=rate.n,
        value=rate.value,
        low=rate.low,
        high=rate.high,
        bound=rate.lower,
    )
