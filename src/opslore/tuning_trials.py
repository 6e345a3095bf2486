"""The trials of a sweep: each is trained once, in a folder named by its settings, and kept.

Below the agent's folder of the store, on this machine also with a bucket:
tune/{id16}/trial.json      written last: its existence means done
tune/{id16}/adapter/        PEFT folder
tune/{id16}/losses.jsonl    nats and tokens of every validation example
tune/{id16}/spent.json      seconds it took so far, all attempts together
tune/{id16}/scratch/        checkpoints, of a stopped trial and of full trainings
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opslore import models, progress, steps, store, trainers
from opslore.cards import Adapter, Dataset, Example
from opslore.config import Agent, Train
from opslore.errors import ConfigError, DataError, IntegrityError
from opslore.record import Record
from opslore.tuning import Done
from opslore.tuning_space import CONFIGURED, Trial

OFTEN = 2.0
"""Seconds between two notes of how long a trial took so far."""

Heard = Callable[[int, int, float], None]
"""Hears (steps done, steps, seconds of this trial so far)."""


class Loss(Record):
    """What a trial's adapter says of one validation example."""

    example: str
    group: str
    nats: float
    """Sum over the completion's tokens."""
    tokens: int


class Trials:
    """The trials of one agent on one dataset."""

    def __init__(self, agent: Agent, dataset: Dataset) -> None:
        """Look at what they are compared on.

        Raises:
            DataError: the validation examples cannot carry a comparison.
        """
        self.agent, self.dataset = agent, dataset
        self.home = steps.store_of(agent)
        self.folder = self.home.home / "tune"
        self.data = self.home.path(dataset)
        self.digest = models.digest(agent.base_model, agent.revision)
        path = self.data / "valid.jsonl"
        self.valid = list(store.read_rows(path, Example)) if path.is_file() else []
        self.groups = len({example.group for example in self.valid})
        if self.groups < 2:
            count = f"of {self.groups} alert or thread" if self.valid else "there are none"
            raise DataError(
                f"too few validation examples to compare trainings by: {count}",
                hint=f"raise prepare.valid (now {agent.prepare.valid:g}), then run this again",
            )
        self.sweep = self.identity(agent.train)

    def identity(self, settings: Train) -> str:
        """What an adapter of these settings is named, in the store too (`steps.train`)."""
        return self.home.identity(Adapter, settings.model_dump(), [self.dataset], [self.digest])

    def trained(self, settings: Train) -> bool:
        """Whether `train` has made this adapter already."""
        return self.home.find(Adapter, self.identity(settings)) is not None

    def get(self, settings: Train) -> Done | None:
        """A finished trial.

        Raises:
            IntegrityError: its record was edited or torn.
        """
        path = self._at(settings) / "trial.json"
        if not path.is_file():
            return None
        try:
            return Done.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise IntegrityError(
                f"{path}: not a trial: {error.errors()[0]['msg']}",
                hint=f"delete {path.parent}: this trial is trained again",
            ) from error

    def losses(self, done: Done) -> list[Loss]:
        """A finished trial's losses, in the order of the validation examples."""
        # Not by its settings: read from JSON, 16 has become 16.0, which has another name.
        return list(store.read_rows(self.folder / done.id[:16] / "losses.jsonl", Loss))

    def make(self, trial: Trial, settings: Train, base: models.Base, heard: Heard) -> Done:
        """Train what is not there yet; a stopped trial goes on from its checkpoint.

        A candidate whose training fails is kept as failed.

        Raises:
            DataError: the configured settings themselves cannot be trained.
            ConfigError: memory is too short for them.
        """
        work = self._at(settings)
        work.mkdir(parents=True, exist_ok=True)
        # PyTorch is imported once, not for each trial: before the clock runs.
        trainer = trainers.load(settings.backend)
        from opslore.trainers import measured

        clock = _Clock(work / "spent.json")

        def step(count: int, total: int, loss: float) -> None:
            clock.note()
            heard(count, total, clock.seconds())

        failed: dict[str, Any] = {"steps": 0, "seconds": 0.0}
        try:
            fitted, failure = self._fitted(trainer, settings, base, work, step), ""
        except (DataError, ConfigError) as error:  # it diverges, or memory is too short for it
            if trial.point == CONFIGURED.point:
                raise
            fitted, failure = failed, error.message
        found = [] if failure else measured.losses(settings, base, work / "adapter", self.valid)
        losses = self._told(found, trial.named(settings))
        tokens = sum(row.tokens for row in losses)
        store.write_rows(work / "losses.jsonl", losses)
        for name in ("merged", *(() if trial.whole else ("scratch",))):
            shutil.rmtree(work / name, ignore_errors=True)
        done = Done(
            id=self.identity(settings),
            settings=settings,
            whole=trial.whole,
            steps=int(fitted["steps"]),
            loss=sum(row.nats for row in losses) / tokens if tokens else None,
            seconds=float(fitted["seconds"]),
            wall=round(clock.seconds(), 3),
            sweep=self.sweep,
            failure=failure,
        )
        store.write(work / "trial.json", done.model_dump_json(indent=2) + "\n")
        return done

    def hand_over(self, settings: Train) -> None:
        """Leave a full training's checkpoint where `opslore train` goes on from it."""
        work = self.home.work(Adapter, self.identity(settings))
        scratch = self._at(settings) / "scratch"
        if self.trained(settings) or work.exists() or not scratch.is_dir():
            return
        fresh = work.with_name(f".{work.name}.tmp")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(scratch, fresh / "scratch")
        fresh.rename(work)

    def _at(self, settings: Train) -> Path:
        return self.folder / self.identity(settings)[:16]

    def _fitted(
        self,
        trainer: trainers.Trainer,
        settings: Train,
        base: models.Base,
        work: Path,
        step: trainers.Progress,
    ) -> dict[str, Any]:
        """What the trainer says, or the card of the adapter that the store has."""
        card = self.home.find(Adapter, self.identity(settings))
        if card is None:
            return trainer.fit(settings, base, self.data, work, step)
        shutil.copytree(self.home.path(card) / "adapter", work / "adapter", dirs_exist_ok=True)
        return {"steps": card.steps, "seconds": card.seconds}

    def _told(self, found: Iterable[tuple[float, int]], name: str) -> list[Loss]:
        rows: list[Loss] = []
        for example, (nats, tokens) in zip(self.valid, found, strict=False):
            rows.append(Loss(example=example.id, group=example.group, nats=nats, tokens=tokens))
            progress.report("validation", len(rows), len(self.valid), name)
        return rows


class _Clock:
    """Seconds of a trial, those of earlier attempts included."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = json.loads(path.read_text())["seconds"] if path.is_file() else 0.0
        self.began = self.noted = time.monotonic()

    def seconds(self) -> float:
        return float(self.before + time.monotonic() - self.began)

    def note(self) -> None:
        if time.monotonic() - self.noted >= OFTEN:
            self.noted = time.monotonic()
            store.write(self.path, json.dumps({"seconds": round(self.seconds(), 3)}))
