"""How sure is sure enough? Learned on validation questions, never on a test split.

Each signal says how sure an answer is: the model's margin over `escalate_to_human`, the index's
lead and nearness (`opslore/calibrated.py`). A logistic regression lets them vote on
"this answer is right"; its probabilities are made by cross-validation over alerts, so that no
question is judged by a vote that has seen its alert. The threshold is the loosest at which at most
the allowed share of the shown answers is wrong; a one-sided 95 % bound is told beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opslore.calibrated import BIAS, SIGNALS, WATCHED, logistic
from opslore.cards import Calibration, Point
from opslore.evaluation import statistics

FEWEST = 20
"""Answers below which nothing is fitted; the fixed threshold of an unevaluated bundle stays."""

FOLDS = 5
RIDGE = 1.0
"""Strength of the ridge penalty on standardised signals, in right answers: separable data stay
finite (Le Cessie and van Houwelingen 1992)."""

BINS = 10
"""Bins of equal size of the calibration error."""

POINTS = 60
"""Points that a stored curve has at most."""


@dataclass(frozen=True)
class Asked:
    """One validation question: would an answer be shown, how sure is it, is it right?"""

    group: str
    """The alert."""
    answers: bool
    """The reply is a command of an entry that the prompt showed."""
    right: bool
    signals: Mapping[str, float]
    """By name; nan is unknown."""


def calibrate(asked: Sequence[Asked], risk: float) -> Calibration | None:
    """The vote and the threshold; None when too few questions were answered to learn from.

    Args:
        asked: every validation question, those that were escalated too.
        risk: most wrong answers among those shown, 0..1.
    """
    shown = [one for one in asked if one.answers]
    names = [n for n in SIGNALS if shown and all(math.isfinite(o.signals[n]) for o in shown)]
    right = [one.right for one in shown]
    if len(shown) < FEWEST or not names:
        return None
    rows = [[one.signals[name] for name in names] for one in shown]
    chance = crossed(rows, right, [one.group for one in shown])
    threshold, bound = least(chance, right, risk)
    above = [r for c, r in zip(chance, right, strict=True) if c >= threshold]
    weights = fit(rows, right)
    auroc = {}
    if 0 < sum(right) < len(right):
        every = (*SIGNALS, *WATCHED)
        told = [n for n in every if all(math.isfinite(o.signals[n]) for o in shown)]
        auroc = {n: area([one.signals[n] for one in shown], right) for n in told}
        auroc["vote"] = area(chance, right)
    return Calibration(
        threshold=threshold,
        n=len(asked),
        coverage=len(above) / len(asked),
        risk=1 - sum(above) / len(above) if above else 0.0,
        bound=bound,
        ece=error(chance, right),
        curve=curve(chance, right, len(asked)),
        weights={BIAS: weights[0], **dict(zip(names, weights[1:], strict=True))},
        auroc=auroc,
    )


def fit(rows: Sequence[Sequence[float]], right: Sequence[bool]) -> list[float]:
    """Weights of the vote, the constant first: ridge logistic regression on standardised signals.

    With nothing but right answers (or wrong ones) the constant is Laplace's estimate, and no
    signal counts.
    """
    import numpy as np
    import statsmodels.api as sm

    n, good = len(right), sum(right)
    if good in (0, n):
        return [math.log((good + 1) / (n - good + 1)), *([0.0] * len(rows[0]))]
    values = np.array(rows, dtype=float)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale < 1e-9] = math.inf  # what never differs says nothing
    design = np.column_stack([np.ones(n), (values - mean) / scale])
    penalty = np.array([0.0] + [RIDGE / n] * values.shape[1])
    model = sm.GLM(np.array(right, dtype=float), design, family=sm.families.Binomial())
    found = np.asarray(model.fit_regularized(alpha=penalty, L1_wt=0.0, maxiter=200).params)
    weights = found[1:] / scale
    return [float(found[0] - weights @ mean), *(float(w) for w in weights)]


def crossed(
    rows: Sequence[Sequence[float]], right: Sequence[bool], groups: Sequence[str]
) -> list[float]:
    """Each answer's probability by a vote that was fitted without its alert."""
    order = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    fold = [order[group] % FOLDS for group in groups]
    out = [0.0] * len(rows)
    for number in sorted(set(fold)):
        kept = [i for i, f in enumerate(fold) if f != number] or list(range(len(rows)))
        weights = fit([rows[i] for i in kept], [right[i] for i in kept])
        for i, f in enumerate(fold):
            if f == number:
                total = weights[0] + sum(w * v for w, v in zip(weights[1:], rows[i], strict=True))
                out[i] = logistic(total)
    return out


def least(chance: Sequence[float], right: Sequence[bool], risk: float) -> tuple[float, float]:
    """The loosest threshold whose shown answers are wrong in at most `risk`, and its upper bound.

    The bound (one-sided, 95 %, of this threshold alone) says how little that proves. A larger risk
    never shows less (docs/decisions/0025). Without any such threshold nothing is shown.
    """
    within = [(t, n, wrong) for t, n, wrong in _steps(chance, right) if wrong / n <= risk]
    if not within:
        return 1.0, 1.0
    threshold, n, wrong = within[-1]
    return threshold, statistics.upper_bound(wrong, n)


def _steps(chance: Sequence[float], right: Sequence[bool]) -> list[tuple[float, int, int]]:
    """(threshold, answers shown, wrong ones among them), the strictest first."""
    out: list[tuple[float, int, int]] = []
    wrong = 0
    ranked = sorted(zip(chance, right, strict=True), key=lambda pair: -pair[0])
    for n, (value, good) in enumerate(ranked, 1):
        wrong += not good
        # Equal probabilities are shown together, or not at all.
        if n == len(ranked) or ranked[n][0] < value:
            out.append((value, n, wrong))
    return out


def curve(chance: Sequence[float], right: Sequence[bool], total: int) -> list[Point]:
    """Risk by coverage, the strictest threshold first (Geifman and El-Yaniv 2017).

    Args:
        chance: probability of each answer.
        right: whether it is.
        total: questions asked, those that were escalated too.
    """
    points = [
        Point(threshold=threshold, coverage=n / total, risk=wrong / n)
        for threshold, n, wrong in _steps(chance, right)
    ]
    every = max(1, math.ceil(len(points) / POINTS))
    return [p for i, p in enumerate(points) if i % every == 0 or i == len(points) - 1]


def area(values: Sequence[float], right: Sequence[bool]) -> float:
    """AUROC: how often a right answer has more than a wrong one; equal ones count half."""
    from scipy.stats import rankdata

    good, bad = sum(right), len(right) - sum(right)
    ranks = rankdata(values)
    total = float(sum(rank for rank, r in zip(ranks, right, strict=True) if r))
    return (total - good * (good + 1) / 2) / (good * bad)


def error(chance: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error over bins of equal size (Naeini et al. 2015)."""
    pairs = sorted(zip(chance, right, strict=True))
    count = min(BINS, len(pairs))
    total = 0.0
    for number in range(count):
        part = pairs[number * len(pairs) // count : (number + 1) * len(pairs) // count]
        total += abs(sum(c for c, _ in part) - sum(r for _, r in part))
    return total / len(pairs)
