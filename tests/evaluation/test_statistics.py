"""The error bars against published numbers and against other ways to compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore.evaluation import statistics


@pytest.mark.parametrize(("right", "n"), [(19, 20), (28, 30), (45, 50), (87, 100), (170, 200)])
def test_just_enough_to_claim_four_fifths(right: int, n: int) -> None:
    assert statistics.lower_bound(right, n) >= 0.80
    assert statistics.lower_bound(right - 1, n) < 0.80


@pytest.mark.parametrize(("n", "bound"), [(59, 0.05), (149, 0.02), (299, 0.01)])
def test_zero_failures_bound(n: int, bound: float) -> None:
    assert statistics.upper_bound(0, n) <= bound < statistics.upper_bound(0, n - 1)


def test_wilson_against_its_formula() -> None:
    z, n, p = 1.959963984540054, 200, 0.85
    middle = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert statistics.wilson(170, 200) == pytest.approx((middle - half, middle + half))


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(10, 0, 2 * 0.5**10), (5, 5, 1.0), (0, 0, 1.0), (8, 1, 20 / 512)]
)
def test_mcnemar_is_the_binomial_test_of_the_disagreements(
    wins: int, losses: int, p: float
) -> None:
    first = [1.0] * wins + [0.0] * losses + [1.0] * 7
    second = [0.0] * wins + [1.0] * losses + [1.0] * 7
    assert statistics.mcnemar(first, second) == pytest.approx(p)


def test_phrasings_of_one_alert_are_not_independent() -> None:
    right = [1.0] * 80 + [0.0] * 20
    alone = statistics.rate(right, range(100))
    together = statistics.rate(right, [i // 10 for i in range(100)])
    assert together.low < alone.low - 0.05
    assert together.lower < alone.lower - 0.05
    assert alone.low <= statistics.wilson(80, 100)[0]


def test_bootstrap_has_the_spread_theory_gives() -> None:
    # Ten alerts of ten prompts, all right or all wrong: the mean of ten draws of a coin.
    right = [1.0] * 50 + [0.0] * 50
    groups = [i // 10 for i in range(100)]
    drawn = statistics._resampled([right], groups, 20_000, 0)[:, 0]
    assert drawn.std() == pytest.approx(math.sqrt(0.25 / 10), rel=0.03)
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)


def test_drawing_in_parts_gives_what_drawing_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    right, groups = [1.0, 0.0, 1.0, 1.0] * 10, [i // 2 for i in range(40)]
    at_once = statistics.rate(right, groups, 1000)
    monkeypatch.setattr(statistics, "CHUNK", 999)
    assert statistics.rate(right, groups, 1000) == at_once


def test_paired_difference() -> None:
    first, second = [1.0] * 90 + [0.0] * 10, [1.0] * 60 + [0.0] * 40
    gap = statistics.paired(first, second, range(100))
    assert gap.value == pytest.approx(0.3)
    assert gap.low == pytest.approx(0.21, abs=0.02)
    assert gap.high == pytest.approx(0.39, abs=0.02)
    assert gap.p < 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.5, -1.0, 2.0])
def test_a_score_that_is_no_yes_or_no_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="neither right"):
        statistics.rate([1.0, bad], ["a", "b"])


def test_nothing_asked_is_nothing_known() -> None:
    assert statistics.rate([], [])[3:] == (0.0, 1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="no prompt"):
        statistics.paired([], [], [])


def test_a_score_between_minus_one_and_one_has_the_bootstraps_interval() -> None:
    values = list(np.linspace(-1, 1, 41))
    found = statistics.summaries({"nlc2cmd": values}, list(range(41)))["nlc2cmd"]
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.low == pytest.approx(-0.18, abs=0.03)
    with pytest.raises(ValueError, match="finite"):
        statistics.summaries({"x": [math.nan]}, ["a"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_bounds_are_in_order_and_repeatable(rows: list[tuple[bool, int]]) -> None:
    right, groups = [float(r) for r, _ in rows], [g for _, g in rows]
    found = statistics.rate(right, groups, 300)
    assert 0 <= found.low <= found.lower <= found.value <= found.upper <= found.high <= 1
    assert found == statistics.rate(right, groups, 300)
    low, high = statistics.wilson(found.right, found.n)
    assert found.low <= low
    assert found.high >= high
