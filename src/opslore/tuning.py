"""Which settings of the training to try, in which order, within a time; nothing is trained here.

A pattern search on powers of two around the agent file's own settings, in short trainings (a
quarter of the examples); then the configured settings and the best of the others in full length.
That is successive halving (Jamieson and Talwalkar 2016) with two rungs, whose first one chooses
its next candidate by what it has seen (docs/decisions/0027).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from statistics import median

from opslore.config_train import Train
from opslore.errors import ConfigError
from opslore.record import Record
from opslore.tuning_space import AXES, CONFIGURED, Space, Trial

FINALISTS = 2
"""Most candidates that are trained in full length beside the configured settings. Short trainings
like a higher learning rate than long ones, so the runner-up may be the better one."""

AT_LEAST = 3, 2
"""Fewest trials that say anything: short ones (the configured settings, those again with another
seed, one candidate), and full ones (the configured settings and that candidate)."""


class Done(Record):
    """A finished trial, as it is kept on disk."""

    id: str
    """What an adapter of these settings would be named (64 hex digits)."""
    settings: Train
    whole: bool
    steps: int
    loss: float | None
    """Nats per completion token of the validation split; None when the training failed."""
    seconds: float
    """Of its steps."""
    wall: float
    """From its beginning to the losses, all attempts together, in seconds."""
    sweep: str
    """The sweep whose time it took."""
    failure: str = ""

    @property
    def reached(self) -> float:
        """The loss; infinite when it failed."""
        return math.inf if self.loss is None else self.loss


class Plan(Record):
    """What a sweep can do in its time."""

    short: int
    """Short trials, at most."""
    short_steps: int
    short_seconds: float
    whole: int
    """Full trainings, at most."""
    whole_steps: int
    whole_seconds: float
    seconds: float
    """All of them together, at most."""
    needed: float
    """The least a sweep can do with, in seconds."""
    budget: float
    """Seconds."""


@dataclass
class Pace:
    """How long trials take, from those that were made."""

    space: Space
    rates: dict[tuple[int, ...], float] = field(default_factory=dict)
    """Seconds of an example, by point."""
    fixed: list[float] = field(default_factory=list)
    """Seconds beside the steps: loading, the losses."""

    def learn(self, trial: Trial, done: Done) -> None:
        """Take a finished trial into account."""
        if done.loss is None or done.seconds <= 0:
            return
        self.rates[trial.point] = done.seconds / (done.steps * done.settings.batch_size)
        if done.wall > done.seconds:
            self.fixed.append(done.wall - done.seconds)

    def guess(self, example: float, beside: float) -> None:
        """Take the first steps of the first trial into account, until it has ended.

        Args:
            example: seconds of an example.
            beside: seconds before the first step.
        """
        self.rates, self.fixed = {CONFIGURED.point: example}, [beside]

    def seconds(self, trial: Trial) -> float:
        """What a trial is expected to take; as slow as the slowest when it was never seen."""
        settings = self.space.settings(trial)
        if settings is None or not self.rates:
            return 0.0
        rate = self.rates.get(trial.point, max(self.rates.values()))
        beside = median(self.fixed) if self.fixed else 0.0
        return beside + rate * settings.iters * settings.batch_size

    def needed(self) -> float:
        """The least a sweep can do with, in seconds."""
        short, whole = self.seconds(CONFIGURED), self.seconds(CONFIGURED._replace(whole=True))
        return AT_LEAST[0] * short + (AT_LEAST[1] - self.space.trained) * whole

    def plan(self, budget: float) -> Plan:
        """What fits into a budget of seconds."""
        full = CONFIGURED._replace(whole=True)
        short, whole = self.seconds(CONFIGURED), self.seconds(full)
        fulls = AT_LEAST[1] - self.space.trained
        trials = int((budget - fulls * whole) / short) if short else 0
        steps = self.space.settings(CONFIGURED), self.space.settings(full)
        return Plan(
            short=max(0, trials),
            short_steps=steps[0].iters if steps[0] else 0,
            short_seconds=round(short, 1),
            whole=fulls,
            whole_steps=steps[1].iters if steps[1] else 0,
            whole_seconds=round(whole, 1),
            seconds=round(max(0, trials) * short + fulls * whole, 1),
            needed=round(self.needed(), 1),
            budget=budget,
        )

    def refuse(self, budget: float) -> None:
        """Say so when a budget is too small.

        Raises:
            ConfigError: how many minutes are needed.
        """
        if (needed := self.needed()) <= budget:
            return
        minutes = math.ceil(needed / 60 * 1.1)
        raise ConfigError(
            f"--minutes {budget / 60:g}: {AT_LEAST[0]} short trials and {AT_LEAST[1]} full"
            f" trainings take about {needed / 60:.1f} minutes here, and fewer say nothing",
            hint=f"opslore tune AGENT.yaml --minutes {minutes}; what is trained so far is kept",
        )


@dataclass(frozen=True)
class Outcome:
    """What a sweep has seen.

    Attributes:
        done: every trial with what came of it, in their order.
        gap: how far two trainings with the same settings and other seeds lie apart, in nats.
        finalists: the candidates that were trained in full length, the best short one first.
        promising: what was better in a short trial, the best first.
        ended: why it ended.
    """

    done: dict[Trial, Done]
    gap: float
    finalists: list[Trial]
    promising: list[Trial]
    ended: str


class _Full(Exception):
    """The next trial would not end in time."""


Search = Generator[Trial, tuple[Done, float], Outcome]
"""Gives the trials that are wanted, one by one, takes (what came of it, seconds it took of this
sweep's time). The same answers give the same trials, so a stopped sweep is gone through again."""


def sweep(space: Space, budget: float) -> Search:
    """Search for better settings than the configured ones.

    Args:
        space: the settings around them.
        budget: seconds that the trials may take.

    Raises:
        ConfigError: the budget is too small to compare anything.
    """
    return _Sweep(space, budget).all()


class _Sweep:
    def __init__(self, space: Space, budget: float) -> None:
        self.space, self.budget = space, budget
        self.pace = Pace(space)
        self.done: dict[Trial, Done] = {}
        self.spent = 0.0
        self.gap = 0.0

    def all(self) -> Search:
        yield from self._take(CONFIGURED)
        self.pace.refuse(self.budget)
        other = yield from self._take(CONFIGURED._replace(again=1))
        self.gap = abs(other - self.done[CONFIGURED].reached)
        ended = "no step in any direction is better"
        try:
            yield from self._descend()
        except _Full:
            ended = "the time is used up"
        finalists = yield from self._finals()
        return Outcome(self.done, self.gap, finalists, self._better(), ended)

    def _finals(self) -> Generator[Trial, tuple[Done, float], list[Trial]]:
        """The configured settings and the best others in full length."""
        finalists: list[Trial] = []
        for trial in self._better()[:FINALISTS]:
            full = trial._replace(whole=True)
            # The first pair has its time reserved, and all before is for nothing without it: if it
            # turns out slower than expected, only the end of the time keeps it from being started.
            if not finalists and self.spent < self.budget:
                yield from self._take(CONFIGURED._replace(whole=True))
            room = 0.0 if not finalists else self.pace.seconds(full)
            if self.spent >= self.budget or self.spent + room > self.budget:
                break
            yield from self._take(full)
            finalists.append(full)
        return finalists

    def _take(self, trial: Trial) -> Generator[Trial, tuple[Done, float], float]:
        """The loss of a trial."""
        if trial not in self.done:
            done, seconds = yield trial
            self.done[trial] = done
            self.spent += seconds
            self.pace.learn(trial, done)
        return self.done[trial].reached

    def _better(self) -> list[Trial]:
        """Short trials that beat the configured settings by more than the seed does, best first."""
        least = self.done[CONFIGURED].reached - self.gap
        short = [t for t in self.done if not t.whole and not t.again]
        found = [t for t in short if self.done[t].reached < least]
        return sorted(found, key=lambda t: self.done[t].reached)

    def _descend(self) -> Generator[Trial, tuple[Done, float], None]:
        """Go along one axis after the other until no step is better."""
        here, before = CONFIGURED, None
        while here != before:
            before = here
            for axis in range(len(AXES)):
                here = yield from self._line(here, axis)

    def _line(self, here: Trial, axis: int) -> Generator[Trial, tuple[Done, float], Trial]:
        """The best trial on a line through `here`; a step must gain more than the seed does."""
        start = here.point[axis]
        tried: dict[int, float] = {start: self.done[here].reached - self.gap}
        while (e := _next(tried, start)) is not None:
            trial = here.moved(axis, e)
            if self.space.settings(trial) is None:
                tried[e] = math.inf
                continue
            if trial not in self.done:
                self._afford(trial, self._reserve(here))
            tried[e] = yield from self._take(trial)
        return here.moved(axis, min(tried, key=lambda e: (tried[e], abs(e - start))))

    def _reserve(self, here: Trial) -> float:
        """Seconds that the full trainings will take."""
        full = [] if self.space.trained else [CONFIGURED]
        return sum(self.pace.seconds(t._replace(whole=True)) for t in (*full, here))

    def _afford(self, trial: Trial, reserve: float = 0.0) -> None:
        if self.spent + self.pace.seconds(trial) + reserve > self.budget:
            raise _Full


def _next(tried: dict[int, float], start: int) -> int | None:
    """The next place on a line: outwards as long as it gets better, ever faster, then between."""
    best = min(tried, key=lambda e: (tried[e], abs(e - start)))
    up = min((e for e in tried if e > best), default=None)
    down = max((e for e in tried if e < best), default=None)
    stride = 1 if abs(best - start) < 2 else 2
    if up is None:
        return best + stride
    if down is None:
        return best - stride
    if up - best > 1:
        return best + 1
    return best - 1 if best - down > 1 else None
