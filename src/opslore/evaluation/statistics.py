"""Error bars that hold for a few hundred prompts of a few dozen alerts.

Wilson 1927 for rates, a bootstrap over alerts because phrasings of one alert are not independent
(Miller 2024, arXiv 2411.00640), exact McNemar for two models on the same prompts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

SEED = 0
"""Seed of every bootstrap: the same replies give the same bounds, to the last digit."""

CHUNK = 2_000_000
"""Bootstrap weights held at once (16 MiB), whatever the number of alerts."""


class Rate(NamedTuple):
    """A rate with its two-sided 95 % interval and its one-sided 95 % bounds."""

    right: int
    n: int
    value: float
    low: float
    high: float
    lower: float
    """One-sided 95 % lower bound: what "at least" claims are read from."""
    upper: float
    """One-sided 95 % upper bound: what "at most" claims are read from."""


class Difference(NamedTuple):
    """How much more often the first is right than the second, on the same prompts."""

    value: float
    low: float
    high: float
    lower: float
    p: float
    """Exact two-sided McNemar p value."""


def wilson(right: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Two-sided Wilson score interval; nothing asked is nothing known: (0, 1)."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return 0.0, 1.0
    low, high = proportion_confint(right, n, alpha=alpha, method="wilson")
    # At the ends the formula leaves a rounding error such as 1e-17 behind.
    return (0.0 if right == 0 else float(low)), (1.0 if right == n else float(high))


def lower_bound(right: int, n: int) -> float:
    """One-sided 95 % Wilson lower bound of a rate: 87 of 100 just reach 0.80."""
    return wilson(right, n, alpha=0.10)[0]


def upper_bound(failures: int, n: int) -> float:
    """One-sided 95 % upper bound of a failure rate; exact, `1 - 0.05^(1/n)`, when none was seen."""
    if n == 0:
        return 1.0
    return float(-math.expm1(math.log(0.05) / n)) if failures == 0 else wilson(failures, n, 0.10)[1]


def rate(
    right: Sequence[float], groups: Sequence[Hashable], resamples: int = 10_000, seed: int = SEED
) -> Rate:
    """Share of right answers, with the wider of Wilson's interval and the one clustered by alert.

    Args:
        right: 1.0 or 0.0 per prompt.
        groups: the alert of each prompt.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: a score is neither 0 nor 1 (NaN among them), or the lengths differ.
    """
    _check(right, groups)
    return summaries({"": right}, groups, resamples, seed)[""]


def summaries(
    scores: Mapping[str, Sequence[float]],
    groups: Sequence[Hashable],
    resamples: int = 10_000,
    seed: int = SEED,
) -> dict[str, Rate]:
    """`rate` of several scores of the same prompts, drawn together.

    A score that is not only 0 and 1 (NLC2CMD lies in [-1, 1]) has the bootstrap's interval alone,
    and `right` counts its ones.

    Raises:
        ValueError: a score is not finite, or the lengths differ.
    """
    if not groups:
        return dict.fromkeys(scores, Rate(0, 0, 0.0, 0.0, 1.0, 0.0, 1.0))
    for name, values in scores.items():
        if len(values) != len(groups) or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name}: not one finite score for each of {len(groups)} prompts")
    drawn = _resampled(list(scores.values()), groups, resamples, seed)
    return {
        name: _rate(values, _quantiles(drawn[:, place]))
        for place, (name, values) in enumerate(scores.items())
    }


def _rate(values: Sequence[float], quantiles: tuple[float, float, float, float]) -> Rate:
    n, ones = len(values), sum(value == 1.0 for value in values)
    low, lower, upper, high = quantiles
    if all(value in (0.0, 1.0) for value in values):
        first, last = wilson(ones, n)
        low, high = min(low, first), max(high, last)
        lower, upper = min(lower, lower_bound(ones, n)), max(upper, upper_bound(ones, n))
    # With a handful of prompts the exact bound lies outside Wilson's; the wider one counts.
    return Rate(ones, n, sum(values) / n, low, max(high, upper), lower, upper)


def paired(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[Hashable],
    resamples: int = 10_000,
    seed: int = SEED,
) -> Difference:
    """Difference of two models on the same prompts, bootstrapped by alert.

    Raises:
        ValueError: a score is neither 0 nor 1, the lengths differ, or nothing was asked.
    """
    _check(first, groups)
    _check(second, groups)
    if not first:
        raise ValueError("no prompt was asked of both")
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    low, lower, _, high = _quantiles(_resampled([gaps], groups, resamples, seed)[:, 0])
    return Difference(sum(gaps) / len(gaps), low, high, lower, mcnemar(first, second))


class Mean(NamedTuple):
    """A mean over tokens or prompts, with its bounds from a bootstrap over whole groups."""

    n: int
    value: float
    low: float
    high: float
    """Two-sided 95 % bounds."""
    lower: float
    upper: float
    """One-sided 95 % bounds."""


def mean(
    sums: Sequence[float],
    sizes: Sequence[float],
    groups: Sequence[Hashable],
    resamples: int = 10_000,
    seed: int = SEED,
) -> Mean:
    """Sum of `sums` over sum of `sizes`: nats per token, or any score per prompt with sizes of 1.

    Args:
        sums: what is summed, per prompt; of two models on the same prompts their difference.
        sizes: tokens of each prompt.
        groups: the thread or page of each prompt; whole groups are drawn with replacement.
        resamples: bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: nothing was asked, a number is not finite, or the lengths differ.
    """
    if not groups or not len(sums) == len(sizes) == len(groups):
        raise ValueError(f"{len(sums)} sums, {len(sizes)} sizes for {len(groups)} prompts")
    if not all(math.isfinite(v) for v in (*sums, *sizes)) or min(sizes) <= 0:
        raise ValueError("a score is not finite, or a size is not positive")
    drawn = _resampled([sums, sizes], groups, resamples, seed)
    low, lower, upper, high = _quantiles(drawn[:, 0] / drawn[:, 1])
    return Mean(len(groups), sum(sums) / sum(sizes), low, high, lower, upper)


class Gap(NamedTuple):
    """A mean difference of two models on the same prompts, with its interval."""

    value: float
    low: float
    high: float
    groups: int
    """Alerts, threads or pages behind it."""


def gap(
    sums: Sequence[float],
    sizes: Sequence[float],
    groups: Sequence[Hashable],
    level: float = 0.95,
    more: float = 0.0,
) -> Gap:
    """Sum of `sums` over sum of `sizes` with a t interval clustered by group.

    For a handful of alerts: a bootstrap over them is too narrow then (Cameron and Miller 2015,
    section VI), this one widens with their number, as t does with groups - 1 degrees of freedom.

    Args:
        sums: what the first model has more than the second, per prompt.
        sizes: tokens of each prompt.
        groups: the alert of each prompt.
        level: two-sided level of the interval.
        more: standard deviation of a noise that the prompts cannot show, such as the training's.

    Raises:
        ValueError: fewer than two groups, a number is not finite, or the lengths differ.
    """
    from scipy.stats import t

    owners = set(groups)
    if len(owners) < 2 or not len(sums) == len(sizes) == len(groups):
        raise ValueError(f"{len(sums)} sums of {len(owners)} groups")
    if not all(math.isfinite(v) for v in (*sums, *sizes, more)) or min(sizes) <= 0:
        raise ValueError("a number is not finite, or a size is not positive")
    whole = sum(sizes)
    value = sum(sums) / whole
    # The residual of a group's sum: a ratio's variance by linearisation (Cochran 1977, chapter 6).
    left: dict[Hashable, float] = dict.fromkeys(groups, 0.0)
    for total, size, group in zip(sums, sizes, groups, strict=True):
        left[group] += total - value * size
    freedom = len(owners) - 1
    variance = (freedom + 1) / freedom * sum(r * r for r in left.values()) / whole**2
    half = float(t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance + more**2)
    return Gap(value, value - half, value + half, len(owners))


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided McNemar test: could equally good models differ so much on these prompts?"""
    from statsmodels.stats.contingency_tables import mcnemar as exact

    wins = sum(a > b for a, b in zip(first, second, strict=True))
    losses = sum(a < b for a, b in zip(first, second, strict=True))
    if wins + losses == 0:
        return 1.0
    same = len(first) - wins - losses
    # Only the prompts on which the two disagree carry evidence; the diagonal is not read.
    return float(exact([[same, wins], [losses, 0]], exact=True).pvalue)


def _check(values: Sequence[float], groups: Sequence[Hashable]) -> None:
    if len(values) != len(groups):
        raise ValueError(f"{len(values)} scores for {len(groups)} prompts")
    for value in values:
        if value not in (0.0, 1.0):
            raise ValueError(f"a score is {value}, neither right (1) nor wrong (0)")


def _resampled(
    scores: Sequence[Sequence[float]], groups: Sequence[Hashable], resamples: int, seed: int
) -> np.ndarray[Any, Any]:
    """[resamples, scores] means of resamples in which whole alerts are drawn with replacement."""
    import numpy as np

    place: dict[Hashable, int] = {}
    owner = np.array([place.setdefault(group, len(place)) for group in groups])
    sums = np.stack([np.bincount(owner, weights=list(values)) for values in scores], axis=1)
    sizes = np.bincount(owner).astype(float)
    alerts = len(place)
    random = np.random.default_rng(seed)
    share = np.full(alerts, 1.0 / alerts)
    means = []
    step = max(1, CHUNK // alerts)
    for start in range(0, resamples, step):
        # Drawing `alerts` alerts with replacement is one multinomial draw of their counts.
        drawn = random.multinomial(alerts, share, size=min(step, resamples - start)).astype(float)
        means.append((drawn @ sums) / (drawn @ sizes)[:, None])
    return np.concatenate(means)


def _quantiles(drawn: np.ndarray[Any, Any]) -> tuple[float, float, float, float]:
    import numpy as np

    p025, p05, p95, p975 = np.quantile(drawn, [0.025, 0.05, 0.95, 0.975])
    return float(p025), float(p05), float(p95), float(p975)
