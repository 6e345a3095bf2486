"""`opslore tune`: a sweep of the training's settings within a time, and what it found.

tuning.py says which trial comes next, tuning_trials.py trains and keeps it; here they meet.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from opslore import files, models, progress, steps, store, tuning, tuning_page
from opslore.cards import Dataset
from opslore.config import Agent, Train
from opslore.errors import ConfigError
from opslore.tuning import Done, Outcome, Pace, Plan
from opslore.tuning_found import Found, found
from opslore.tuning_space import CONFIGURED, Space, Trial
from opslore.tuning_trials import Trials

GUESS = 3
"""Steps of the first trial after which its pace is believed; the first one compiles."""

ROUGH = 1.25
"""How much more than the budget a sweep must need by that first guess to be refused."""

WAIT = 2.0
"""Seconds to wait for another sweep of this agent, which takes minutes."""


def tune(agent: Agent, minutes: float, hear: Callable[[Plan], None] = lambda plan: None) -> Found:
    """Search for better settings of `train`; every finished trial is kept and never made again.

    Args:
        agent: the agent file, whose settings are where the search begins.
        minutes: how long the trials may take, those of a stopped sweep included.
        hear: hears what will be done, once the pace is known.

    Raises:
        ConfigError: too few minutes; the message says how many are needed.
        DataError: too few validation examples, or the configured settings cannot be trained.
    """
    if not math.isfinite(minutes) or minutes <= 0:
        raise ConfigError(f"--minutes {minutes:g}: must be more than 0")
    dataset = steps.prepare(agent, steps.collect(agent))
    trials = Trials(agent, dataset)
    with files.alone(trials.folder / ".lock", wait=WAIT):
        base = models.resolve(agent.base_model, agent.revision)
        outcome, spent = _Sweep(trials, base, minutes * 60, hear).run()
    result = found(trials, outcome, minutes, spent / 60)
    return _kept(trials, dataset, result)


def hand_over(agent: Agent, result: Found) -> None:
    """Let `opslore train` take the winner's full training over, instead of doing it again."""
    home = steps.store_of(agent)
    train = agent.train.model_copy(update={one.key: one.new for one in result.changes})
    if (dataset := home.find(Dataset, result.dataset)) is not None:
        Trials(agent, dataset).hand_over(train)


def _kept(trials: Trials, dataset: Dataset, result: Found) -> Found:
    """Write the page, and the same for programs beside it."""
    path = trials.folder / f"{trials.sweep[:16]}.html"
    result = result.model_copy(update={"page": str(path), "dataset": dataset.id})
    store.write(path.with_suffix(".json"), result.model_dump_json(indent=2) + "\n")
    store.write(path, tuning_page.page(result))
    return result


class _Sweep:
    """Goes through the search; what is there already is not trained."""

    def __init__(
        self, trials: Trials, base: models.Base, budget: float, hear: Callable[[Plan], None]
    ) -> None:
        self.trials, self.base, self.budget, self.hear = trials, base, budget, hear
        train = trials.agent.train
        self.space = Space(train, blocks(base.folder), trials.trained(train))
        self.pace = Pace(self.space)
        self.spent = 0.0
        self.count = 0
        self.planned = False

    def run(self) -> tuple[Outcome, float]:
        search = tuning.sweep(self.space, self.budget)
        trial = next(search)
        while True:
            settings = self.space.settings(trial)
            assert settings is not None, "the search leaves the space"
            done, seconds = self._take(trial, settings)
            self.spent += seconds
            self.pace.learn(trial, done)
            self._plan()
            try:
                trial = search.send((done, seconds))
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome, self.spent

    def _take(self, trial: Trial, settings: Train) -> tuple[Done, float]:
        """What came of a trial, and how much of this sweep's time it took."""
        self.count += 1
        done = self.trials.get(settings)
        if done is None:
            done = self.trials.make(trial, settings, self.base, self._heard(trial, settings))
        return done, done.wall if done.sweep == self.trials.sweep else 0.0

    def _heard(self, trial: Trial, settings: Train) -> Callable[[int, int, float], None]:
        began = time.monotonic()
        first: list[tuple[int, float]] = []

        def heard(step: int, total: int, seconds: float) -> None:
            now = time.monotonic()
            first.append((step, now)) if not first else None
            since = step - first[0][0]
            if not self.planned and trial == CONFIGURED and since == GUESS:
                each = (now - first[0][1]) / since / settings.batch_size
                self.pace.guess(each, max(0.0, first[0][1] - began - each))
                self.pace.refuse(self.budget * ROUGH)
                self._plan()
            told = f"trial {self.count} ({trial.named(settings)})"
            minutes = f"{(self.spent + seconds) / 60:.1f} of {self.budget / 60:g} min"
            progress.report("tune", step, total, f"{told}, {minutes}")

        return heard

    def _plan(self) -> None:
        if not self.planned:
            self.planned = True
            self.hear(self.pace.plan(self.budget))


def blocks(folder: Path) -> int | None:
    """How many blocks a model has, by its config; None when it does not say."""
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    count = told.get("num_hidden_layers", told.get("text_config", {}).get("num_hidden_layers"))
    return count if isinstance(count, int) else None
