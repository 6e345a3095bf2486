"""Trainers: a module is the plug, its file name is the config name.

A trainer module has `fit(train, base, dataset, work, progress)` and `merge(base, adapter, out)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from opslore.config import Train
from opslore.errors import ConfigError, MissingExtra
from opslore.models import Base

BUILT_IN = ["torch", "mlx", "unsloth"]

Progress = Callable[[int, int, float], None]
"""Called after each step with (step, steps, loss)."""


class Trainer(Protocol):
    """What a trainer module offers."""

    def fit(
        self, train: Train, base: Base, dataset: Path, work: Path, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Train on `dataset`, leave `adapter/` and `loss.jsonl` in `work`; resume what is there."""

    def merge(self, base: Base, adapter: Path, out: Path) -> None:
        """Write base + adapter as a Hugging Face folder."""


def load(name: str) -> Trainer:
    """Find the trainer module a config names.

    Raises:
        ConfigError: no such trainer, or it cannot run on this machine.
        MissingExtra: the trainer needs a package that is not installed.
    """
    path = f"opslore.trainers.{name}" if "." not in name else name
    unknown = ConfigError(
        f"no trainer {name!r}; there are {', '.join(BUILT_IN)}",
        hint="set train.backend, or give the dotted path of a module of your own",
    )
    if not all(part.isidentifier() for part in name.split(".")):
        raise unknown
    try:
        found = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(f"{error.name}.")):
            raise unknown from error
        package = f"'opslore[{name}]'" if name in BUILT_IN else error.name
        raise MissingExtra(
            f"trainer {name!r} needs {error.name!r}", hint=f"pip install {package}"
        ) from error
    if not (hasattr(found, "fit") and hasattr(found, "merge")):
        raise unknown
    return cast(Trainer, found)
