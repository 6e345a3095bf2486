"""The plan of `opslore tune`: what is tried, in which order, and within which time; no training."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from opslore.config import Train
from opslore.errors import ConfigError
from opslore.evaluation import statistics
from opslore.tuning import AT_LEAST, FINALISTS, Done, Outcome, Pace, sweep
from opslore.tuning_space import AXES, CONFIGURED, FARTHEST, SHORT, Space, Trial

FULL = CONFIGURED._replace(whole=True)


def done(space: Space, trial: Trial, loss: float | None, rate: float, beside: float) -> Done:
    """What a training at this pace would leave."""
    told = space.settings(trial)
    assert told is not None
    seconds = rate * told.iters * told.batch_size
    return Done(
        id="0" * 64,
        settings=told,
        whole=trial.whole,
        steps=told.iters,
        loss=loss,
        seconds=seconds,
        wall=seconds + beside,
        sweep="s",
    )


class World:
    """Trainings with a known best point and a known pace."""

    def __init__(self, best: tuple[int, ...], seed: int, noise: float, rate: float) -> None:
        self.best, self.seed, self.noise, self.rate = best, seed, noise, rate

    def loss(self, trial: Trial) -> float | None:
        rng = random.Random(f"{self.seed}{trial}")
        if rng.random() < self.noise and trial.point != CONFIGURED.point:
            return None
        far = sum((a - b) ** 2 for a, b in zip(trial.point, self.best, strict=True))
        return 1.0 + 0.1 * far + rng.uniform(0, self.noise)

    def pace(self, trial: Trial) -> float:
        return self.rate * random.Random(f"{self.seed}{trial.point}").uniform(0.5, 2.0)

    def run(self, space: Space, budget: float) -> tuple[Outcome, list[float]]:
        """The search's end, and how long each trial took."""
        search = sweep(space, budget)
        took: list[float] = []
        trial = next(search)
        try:
            while True:
                made = done(space, trial, self.loss(trial), self.pace(trial), 0.5)
                took.append(made.wall)
                trial = search.send((made, made.wall))
        except StopIteration as end:
            return end.value, took


worlds = st.builds(
    World,
    best=st.tuples(*[st.integers(-most, most) for most in FARTHEST]),
    seed=st.integers(0, 10**6),
    noise=st.sampled_from([0.0, 0.02, 0.3]),
    rate=st.floats(0.001, 1.0),
)
trains = st.builds(
    Train,
    learning_rate=st.floats(1e-7, 1.0),
    batch_size=st.integers(1, 32),
    iters=st.integers(1, 400),
    lora_layers=st.integers(1, 40),
    lora_rank=st.integers(1, 512),
    general=st.integers(0, 8),
)


class TestSearch:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(worlds, trains, st.integers(1, 40), st.floats(1.0, 5000.0))
    def test_it_never_takes_longer_than_its_time_and_one_trial(
        self, world: World, train: Train, blocks: int, budget: float
    ) -> None:
        space = Space(train, blocks)
        try:
            outcome, took = world.run(space, budget)
        except ConfigError:
            reject()
        assert sum(took[:-1]) <= budget
        assert CONFIGURED in outcome.done
        assert len(outcome.finalists) <= FINALISTS
        if outcome.finalists:
            assert FULL in outcome.done
        for trial in outcome.finalists:
            assert trial.whole
            assert trial._replace(whole=False) in outcome.promising
        assert len(took) == len(outcome.done), "a trial was asked for twice"

    def test_the_same_answers_give_the_same_trials(self) -> None:
        world = World((3, 0, 1, -1), 4, 0.02, 0.01)
        first, second = (world.run(Space(Train(), 30), 300.0)[0] for _ in range(2))
        assert list(first.done) == list(second.done)

    def test_it_finds_the_best_point_when_there_is_time(self) -> None:
        best = (5, 1, -1, 1)
        outcome, _ = World(best, 1, 0.0, 0.001).run(Space(Train(learning_rate=1e-4), 64), 1e6)
        assert outcome.finalists[0].point == best
        assert outcome.ended == "no step in any direction is better"

    def test_when_nothing_is_better_nothing_is_trained_in_full_length(self) -> None:
        outcome, _ = World((0, 0, 0, 0), 1, 0.0, 0.001).run(Space(Train(), 30), 1e6)
        assert outcome.finalists == []
        assert not any(trial.whole for trial in outcome.done)

    def test_what_another_seed_changes_is_no_gain(self) -> None:
        search = sweep(space := Space(Train(), 30), 1e6)
        trial, losses = next(search), {CONFIGURED: 2.0, CONFIGURED._replace(again=1): 1.8}
        found: list[Outcome] = []
        while not found:
            made = done(space, trial, losses.get(trial, 1.85), 0.01, 0.1)
            try:
                trial = search.send((made, made.wall))
            except StopIteration as end:
                found.append(end.value)
        assert found[0].gap == pytest.approx(0.2)
        assert found[0].promising == []

    def test_too_little_time_says_how_much_is_needed(self) -> None:
        space, rate = Space(Train(iters=100, batch_size=4), 30), 1.0
        world = World((1, 0, 0, 0), 1, 0.0, rate)
        least = 400 * world.pace(CONFIGURED) * (AT_LEAST[0] / SHORT + AT_LEAST[1]) + 2.5
        with pytest.raises(ConfigError, match=rf"take about {least / 60:.1f} minutes") as error:
            world.run(space, least - 1)
        assert f"--minutes {math.ceil(least / 60 * 1.1)}" in error.value.hint
        outcome, _ = world.run(space, least + 1)
        assert CONFIGURED in outcome.done

    def test_the_plan_fits_into_the_time(self) -> None:
        pace = Pace(Space(Train(iters=100, batch_size=4), 30))
        pace.guess(example=0.1, beside=2.0)
        plan = pace.plan(300.0)
        assert (plan.short_steps, plan.whole_steps, plan.whole) == (25, 100, 2)
        assert (plan.short_seconds, plan.whole_seconds) == (12.0, 42.0)
        assert plan.short == 18
        assert plan.seconds == 18 * 12 + 2 * 42 == 300


class TestSpace:
    @settings(max_examples=200, deadline=None)
    @given(
        trains,
        st.integers(1, 40),
        st.tuples(*[st.integers(-most, most) for most in FARTHEST]),
        st.booleans(),
    )
    def test_a_candidate_keeps_what_is_not_searched(
        self, train: Train, blocks: int, point: tuple[int, ...], whole: bool
    ) -> None:
        found = Space(train, blocks).settings(Trial(point, whole))
        if found is None:
            return
        assert found.lora_alpha / found.lora_rank == train.lora_alpha / train.lora_rank
        assert found.general * train.batch_size == train.general * found.batch_size
        wanted = train.iters * train.batch_size / (1 if whole else SHORT)
        assert abs(found.iters * found.batch_size - wanted) <= max(found.batch_size, wanted / 2)
        kept = set(Train.model_fields) - {*AXES, "lora_alpha", "general", "iters", "save_every"}
        assert all(getattr(found, key) == getattr(train, key) for key in kept)

    def test_the_configured_settings_in_full_length_are_the_agents_own(self) -> None:
        train = Train()
        found = Space(train, 30).settings(FULL)
        assert found is not None
        # As JSON, which names it in the store: 16 and 16.0 are other names.
        assert found.model_dump_json() == train.model_dump_json()

    def test_layers_end_at_the_models_blocks(self) -> None:
        space = Space(Train(lora_layers=16), 30)
        deeper, beyond = (space.settings(CONFIGURED.moved(3, e)) for e in (1, 2))
        assert deeper is not None
        assert deeper.lora_layers == 30
        assert beyond is None


class TestInterval:
    def test_it_is_a_t_interval_of_the_alerts_means_when_they_are_of_one_size(self) -> None:
        from scipy import stats

        means = [0.3, -0.1, 0.25, 0.4, 0.05]
        sums = [m * 10 for m in means for _ in range(3)]
        groups = [str(i) for i in range(5) for _ in range(3)]
        found = statistics.gap(sums, [10.0] * 15, groups)
        theirs = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
        assert found.groups == 5

    def test_it_holds_the_truth_as_often_as_it_says_with_seven_alerts(self) -> None:
        rng = random.Random(0)
        inside = 0
        for _ in range(400):
            groups, sums, sizes = [], [], []
            for alert in range(7):
                own = rng.gauss(0.2, 0.5)
                for _ in range(rng.randint(6, 12)):
                    size = rng.randint(5, 20)
                    groups.append(str(alert))
                    sizes.append(float(size))
                    sums.append(size * (own + rng.gauss(0, 0.3)))
            found = statistics.gap(sums, sizes, groups)
            inside += found.low <= 0.2 <= found.high
        assert 0.91 <= inside / 400 <= 0.985

    def test_the_noise_of_the_training_widens_it(self) -> None:
        sums, sizes, groups = [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], ["a", "b", "c"]
        narrow = statistics.gap(sums, sizes, groups)
        wide = statistics.gap(sums, sizes, groups, more=2.0)
        assert wide.value == narrow.value
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)

    def test_one_alert_has_no_interval(self) -> None:
        with pytest.raises(ValueError, match="1 groups"):
            statistics.gap([1.0, 2.0], [1.0, 1.0], ["a", "a"])
