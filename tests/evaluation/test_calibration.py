"""The vote and the threshold, with numbers that can be checked by hand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslore.calibrated import BIAS, probability
from opslore.cards import Calibration
from opslore.evaluation import calibration, statistics
from opslore.evaluation.calibration import Asked


def asked(rng: random.Random, n: int, wrong: float) -> list[Asked]:
    """Answers whose margin tells right from wrong, others are noise; some escalated."""
    out = []
    for number in range(n):
        right = rng.random() >= wrong
        signals = {
            "margin": rng.gauss(4.0 if right else 0.0, 1.5),
            "confidence": rng.uniform(0.9, 0.999),
            "fit": rng.uniform(1.0, 5.0),
            "cosine": math.nan,
        }
        out.append(Asked(f"a{number % 40}", number % 5 > 0, right, signals))
    return out


def test_the_vote_finds_out_which_signal_tells_right_from_wrong() -> None:
    found = calibration.calibrate(asked(random.Random(1), 400, 0.3), 0.05)
    assert found is not None
    assert found.auroc["margin"] > 0.9
    assert 0.35 < found.auroc["fit"] < 0.65
    assert found.auroc["vote"] >= found.auroc["margin"] - 0.03
    assert set(found.weights) == {BIAS, "margin", "fit"}, "cosine was unknown"
    assert 0.35 < found.auroc["confidence"] < 0.65, "watched, though it has no vote"


def test_at_most_the_allowed_share_of_the_shown_answers_is_wrong_on_new_questions() -> None:
    found = calibration.calibrate(asked(random.Random(2), 600, 0.3), 0.05)
    assert found is not None
    assert found.risk <= 0.05 < found.bound < 0.1
    new = asked(random.Random(3), 4000, 0.3)
    shown = [o for o in new if (probability(found, o.signals) or 0.0) >= found.threshold]
    assert len(shown) > 1000, "a threshold that shows nothing is no threshold"
    wrong = sum(not o.right for o in shown)
    assert wrong / len(shown) <= found.bound


def test_probabilities_are_what_they_say() -> None:
    found = calibration.calibrate(asked(random.Random(4), 800, 0.3), 0.05)
    assert found is not None
    assert found.ece < 0.05


def test_separable_answers_give_finite_weights() -> None:
    rows = [[float(i)] for i in range(40)]
    weights = calibration.fit(rows, [i >= 20 for i in range(40)])
    assert all(math.isfinite(w) for w in weights)
    assert weights[1] > 0


def test_a_signal_that_never_differs_gets_no_weight() -> None:
    weights = calibration.fit([[1.0, float(i)] for i in range(40)], [i % 7 > 2 for i in range(40)])
    assert weights[1] == 0.0
    assert all(math.isfinite(w) for w in weights)


def test_only_right_answers_give_laplaces_estimate() -> None:
    weights = calibration.fit([[1.0], [2.0], [3.0]], [True] * 3)
    assert weights == [pytest.approx(math.log(4)), 0.0]


def test_the_threshold_is_the_loosest_within_the_risk() -> None:
    # 100 right ones, then wrong and right in turn.
    chance = [1 - i / 1000 for i in range(120)]
    right = [True] * 100 + [i % 2 == 1 for i in range(20)]
    threshold, bound = calibration.least(chance, right, 0.05)
    shown = [r for c, r in zip(chance, right, strict=True) if c >= threshold]
    assert (len(shown), shown.count(False)) == (110, 5)
    assert bound == statistics.upper_bound(5, 110) > 0.05


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.floats(0.01, 1))
def test_a_larger_risk_never_shows_less(asked: list[tuple[float, bool]], risk: float) -> None:
    chance, right = [c for c, _ in asked], [r for _, r in asked]
    strict, loose = (calibration.least(chance, right, r)[0] for r in (risk / 2, risk))
    assert loose <= strict


def test_few_answers_prove_nothing_and_say_so() -> None:
    threshold, bound = calibration.least([0.9, 0.8, 0.7, 0.6], [True, True, True, False], 0.05)
    assert threshold == 0.7
    assert bound == pytest.approx(1 - 0.05 ** (1 / 3))


def test_nothing_is_shown_when_the_surest_answer_is_wrong() -> None:
    assert calibration.least([0.9, 0.8], [False, True], 0.05) == (1.0, 1.0)


def test_equal_probabilities_are_shown_together() -> None:
    points = calibration.curve([0.9, 0.9, 0.5], [True, False, True], 4)
    assert [(p.threshold, p.coverage, p.risk) for p in points] == [
        (0.9, 0.5, 0.5),
        (0.5, 0.75, pytest.approx(1 / 3)),
    ]


def test_area_under_the_curve_by_hand() -> None:
    assert calibration.area([3, 2, 1], [True, False, True]) == 0.5
    assert calibration.area([3, 2, 1], [True, True, False]) == 1.0
    assert calibration.area([1, 1], [True, False]) == 0.5


def test_calibration_error_by_hand() -> None:
    # Ten bins of one: each is off by its own distance.
    assert calibration.error([0.5] * 10, [True, False] * 5) == pytest.approx(0.5)
    assert calibration.error([1.0] * 5 + [0.0] * 5, [True] * 5 + [False] * 5) == 0.0


def test_too_few_answers_leave_the_fixed_threshold() -> None:
    few = [Asked("a", True, True, {"margin": 1.0, "confidence": 0.9, "fit": 1.0, "cosine": 0.5})]
    assert calibration.calibrate(few * (calibration.FEWEST - 1), 0.05) is None


def test_an_alert_is_judged_by_a_vote_that_has_not_seen_it() -> None:
    # One alert is right against everything that the others teach: its own fold cannot know.
    rows = [[float(i % 2)] for i in range(60)] + [[0.0]] * 10
    right = [i % 2 == 1 for i in range(60)] + [True] * 10
    groups = [f"a{i // 2}" for i in range(60)] + ["odd"] * 10
    chance = calibration.crossed(rows, right, groups)
    assert max(chance[60:]) < 0.3


def test_a_missing_signal_gives_no_probability() -> None:
    found = Calibration(
        threshold=0.9, n=1, coverage=1, risk=0, bound=0, ece=0, weights={BIAS: 1.0, "margin": 1.0}
    )
    assert probability(found, {"margin": math.nan}) is None
    assert probability(found, {}) is None
    assert probability(found, {"margin": 0.0}) == pytest.approx(1 / (1 + math.exp(-1)))
    assert probability(found, {"margin": 1e9}) == pytest.approx(1.0)
