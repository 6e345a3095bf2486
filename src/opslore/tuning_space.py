"""The settings around an agent's own: each doubled or halved, the others as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from opslore.config_train import Train

AXES = ("learning_rate", "lora_rank", "batch_size", "lora_layers")
"""What is searched, the most telling first: the learning rate decides most, the rank little
(Schulman et al. 2025, "LoRA without regret"; Biderman et al. 2024, arXiv 2405.09673)."""

SHORT = 4
"""A short trial sees this part of the examples: the usual rate of successive halving."""

FARTHEST = (12, 2, 2, 2)
"""Doublings or halvings along each of AXES, at most: a learning rate may be wrong by any factor,
the others cost memory or time."""


class Trial(NamedTuple):
    """A training: how often each of AXES is doubled (below 0: halved), how long, which seed."""

    point: tuple[int, ...] = (0,) * len(AXES)
    whole: bool = False
    again: int = 0
    """Added to the configured seed."""

    def moved(self, axis: int, to: int) -> Trial:
        """The same with another value on one axis."""
        return self._replace(point=(*self.point[:axis], to, *self.point[axis + 1 :]))

    def named(self, settings: Train) -> str:
        """Such as `learning_rate 0.004, lora_rank 16`: what differs from the configured ones."""
        moved = [axis for axis, e in zip(AXES, self.point, strict=True) if e]
        told = [f"{axis} {getattr(settings, axis):g}" for axis in moved]
        return ", ".join([*told, *(["another seed"] if self.again else [])]) or "configured"


CONFIGURED = Trial()


@dataclass(frozen=True)
class Space:
    """The settings around an agent's own.

    Attributes:
        train: the configured ones.
        blocks: how many blocks the base model has; None when nobody knows.
        trained: the configured settings are trained in full length already.
    """

    train: Train
    blocks: int | None = None
    trained: bool = False

    def settings(self, trial: Trial) -> Train | None:
        """A trial's settings; None outside of the space.

        alpha / rank stays; batches of another size see as many examples, and as many everyday
        replies beside them, in more or fewer steps.
        """
        rate, rank, batch, layers = trial.point
        told = self.train
        deep = min(told.lora_layers, self.blocks or told.lora_layers)
        found = {
            "lora_rank": _scaled(told.lora_rank, rank),
            "batch_size": _scaled(told.batch_size, batch),
            "general": _scaled(told.general, batch),
            "lora_layers": told.lora_layers if not layers else self._layers(deep, layers),
        }
        far = any(abs(e) > most for e, most in zip(trial.point, FARTHEST, strict=True))
        if far or any(value is None for value in found.values()):
            return None
        size = found["batch_size"] or 1
        examples = told.iters * told.batch_size / (1 if trial.whole else SHORT)
        steps = max(1, round(examples / size))
        # A long gap between checkpoints would cost a stopped short trial all of its steps.
        often = told.save_every if trial.whole else min(told.save_every, max(1, steps // 4))
        more = {
            "learning_rate": told.learning_rate * 2.0**rate,
            "lora_alpha": told.lora_alpha * 2.0**rank if rank else told.lora_alpha,
            "iters": steps,
            "save_every": often,
            "seed": told.seed + trial.again,
        }
        try:
            Train.model_validate(told.model_dump() | found | more)
        except ValidationError:
            return None
        # Not what was validated: 16 and 16.0 are other settings to the store.
        return told.model_copy(update=found | more)

    def _layers(self, deep: int, e: int) -> int | None:
        """Halved exactly, or doubled up to all blocks."""
        if e < 0:
            return _scaled(deep, e)
        if self.blocks is None or deep << (e - 1) >= self.blocks:
            return None
        return min(deep << e, self.blocks)


def _scaled(value: int, e: int) -> int | None:
    """`value` doubled e times, or halved if it stays whole."""
    if e >= 0:
        return value << e
    return None if value % (1 << -e) else value >> -e
