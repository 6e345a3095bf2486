"""LoRA fine-tuning with PyTorch and PEFT: CPU, CUDA and MPS by the same loop.

Read in this order: loop.py (what happens in a training), learner.py (a loss and its gradient),
packing.py (how examples are laid out), parallel.py (more than one process).
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from opslore.config import Train
from opslore.models import Base
from opslore.progress import heard, note
from opslore.trainers import loop, shortage, weights
from opslore.trainers.adapter import merge as merge
from opslore.trainers.learner import Learner, device, dtype
from opslore.trainers.parallel import Job, Team, processes

HELPER = 1 << 30
"""Bytes of memory that a helping process takes beside its weights."""


def fit(
    train: Train, base: Base, dataset: Path, work: Path, progress: Any = None
) -> dict[str, Any]:
    """Fit a LoRA adapter to `dataset/train.jsonl`; a killed run goes on from its checkpoint.

    Leaves `adapter/` (PEFT folder, safetensors), `loss.jsonl` and `merged/` in `work`; takes,
    returns and raises what `loop.fit` does.
    """
    if heard():
        from opslore.trainers import forecast  # it asks `workers`

        note(f"train: {forecast.of_dataset(train, base, dataset).told()}")
    found = loop.fit(train, base, dataset, work, progress, partial(team, train, base))
    with shortage.explained(train, base, work, []):
        merge(base, work / "adapter", work / "merged")
    return found


def team(train: Train, base: Base, mean: float, filler: int) -> Team:
    """As many processes as this training is worth: one for each GPU, or for each core.

    Args:
        train: hyper-parameters.
        base: the model to adapt.
        mean: tokens of an example.
        filler: token id that fills rows up.
    """
    here = device()
    found = places(train, base, mean, here)
    shared = len(found) > 1 and here.type == "cpu" and not train.load_in_4bit
    folder = weights.folder(base, dtype(here)) if shared else None
    jobs = [Job(train, base, filler, place, folder) for place in found]
    return Team(lambda: Learner(jobs[0]), jobs[1:])


def places(train: Train, base: Base, mean: float, here: torch.device) -> list[str]:
    """Where each process computes, by PyTorch's names: cpu, cuda:1, mps."""
    size = sum(path.stat().st_size for path in base.folder.glob("*.safetensors")) // 2
    count = workers(train, here, size, mean)
    if here.type == "cuda":
        return [f"cuda:{card}" for card in range(count)]
    return [here.type] * count


def workers(train: Train, here: torch.device, weights: int, mean: float) -> int:
    """How many processes a training is worth.

    Args:
        train: hyper-parameters.
        here: where it is computed.
        weights: parameters of the base model.
        mean: tokens of an example.
    """
    parts = math.ceil(train.batch_size / loop.part(train, here))
    if here.type == "cpu":
        # Two of each for a parameter and token on the way up, about as many on the way down.
        work = 4.0 * weights * mean * train.batch_size * train.iters
        return processes(work, parts, HELPER + 8 * weights)
    return max(1, min(parts, torch.cuda.device_count())) if here.type == "cuda" else 1
