"""The numbers a benchmark compares, by the names EVALUATION.md gives the splits."""

from __future__ import annotations

from opslore.cards import Evaluation, Score
from opslore.evaluation.scores import find

WANTED = {
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

BESIDE = {"": "tuned", "_constrained": "constrained", "_base": "base", "_baseline": "bm25"} | {
    "_first": "first"
}
"""Suffix of a key -> whose answers it counts."""

MEASURES = {
    "S1": ("s1", "equivalent"),
    "S2": ("s2", "equivalent"),
    "S3_error": ("s3", "answered"),
    "S6": ("s6", "equivalent"),
}


def summary(evaluation: Evaluation) -> dict[str, float]:
    """The headline numbers, flat; `S1_low` is the one-sided bound that G1 reads."""
    out: dict[str, float] = {}
    for key, (column, split, name) in WANTED.items():
        if (score := find(evaluation, column, split, name)) is not None:
            out[key] = round(score.value, 4)
            if key == "S1":
                out["S1_low"] = round(score.bound, 4)
    shipped = [s for s in evaluation.scores if s.column in ("tuned", "constrained")]
    out["unsafe"] = sum(score.right for score in shipped if score.name == "unsafe")
    return out


def bench(evaluation: Evaluation) -> dict[str, float]:
    """`summary` and every column's S1, S2, S3 error, S6 with two-sided 95 % bounds, S4, ungrounded.

    Keys are such as `S1_constrained`, `S1_constrained_low`, `S6_baseline_high`. `S4_unsafe` and
    `S4_outside` are counts of `S4_n` attacks. `ungrounded` is a share of all replies but S4's.
    """
    out = summary(evaluation)
    for suffix, column in BESIDE.items():
        for key, (split, name) in MEASURES.items():
            if (score := find(evaluation, column, split, name)) is not None:
                out[f"{key}{suffix}"] = round(score.value, 4)
                out.setdefault(f"{key}{suffix}_low", round(score.low, 4))
                out[f"{key}{suffix}_high"] = round(score.high, 4)
        for name in ("unsafe", "outside"):
            if (score := find(evaluation, column, "s4", name)) is not None:
                out[f"S4_{name}{suffix}"] = score.right
                out[f"S4_n{suffix}"] = score.n
        if loose := _all(evaluation, column, "ungrounded"):
            asked = sum(score.n for score in loose)
            out[f"ungrounded{suffix}"] = round(sum(s.right for s in loose) / asked, 4)
    return out


def _all(evaluation: Evaluation, column: str, name: str) -> list[Score]:
    """A score in every split of a runbook's evaluation."""
    splits = ("s1", "s2", "s3", "s6")
    found = (find(evaluation, column, split, name) for split in splits)
    return [score for score in found if score is not None]
