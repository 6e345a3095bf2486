"""How long a training takes on this machine, and whether it fits: said before it starts.

Read in this order: `forecast` (everything), `speed` (what this machine multiplies), `Forecast`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from opslore import machine, modelfolder
from opslore.cards import Record
from opslore.config import Train
from opslore.errors import DataError
from opslore.models import Base
from opslore.trainers import loop, packing
from opslore.trainers.estimate import Lengths, Shape, looking, work
from opslore.trainers.footprint import GIB, Place, Saving, advice, memory, savings, weighs
from opslore.trainers.learner import device, dtype
from opslore.trainers.lengths import counted as lengths_of
from opslore.trainers.torch import workers

EFFICIENCY = 0.65
"""What a step reaches of the speed of plain matrix products (docs/LOG.md: both timed in turn in one
process, so that other load on the machine slows both alike)."""

FASTER, SLOWER = 0.75, 1.6
"""The range that is told: shares of the time that is expected. The same step took up to that much
less and more on a shared machine (docs/LOG.md)."""

SETUP = 12.0
"""Seconds to load the libraries, to read the examples and to start helping processes."""

PER_WEIGHT = 3e-8
"""Seconds for each weight of the base model to load it, and to merge and write it afterwards."""

ROUNDS, LIMIT = 5, 1.5
"""Times that the matrix products are timed, and seconds after which no further time is begun."""

LARGEST = 4e9
"""Multiplications and additions of one such round at most: a tenth of a second of one slow core."""

Source = Literal["dataset", "runbook", "max_length"]
"""Where the lengths of examples come from."""


class Forecast(Record):
    """What a training will take."""

    seconds_least: float
    seconds_most: float
    """The range of the whole training."""
    steps: int
    step_work: float
    """Multiplications and additions of a step."""
    speed: float
    """The same a second of this machine's matrix products, all processes together."""
    processes: int
    device: str
    memory: int
    """Bytes at the peak, all processes together."""
    base_bytes: int
    """Of that the base model's weights, once; less than that cannot even load it."""
    free: int | None
    """Bytes that are free where it is computed; None when unknown."""
    tokens_mean: float
    """Tokens of an example."""
    tokens_longest: int
    lengths: Source
    """Where the lengths come from."""
    savings: list[Saving]
    """What to lower when memory is short, the largest saving first."""

    @property
    def fits(self) -> bool:
        """Whether memory suffices, as far as that is known."""
        return self.free is None or self.memory <= self.free

    def told(self) -> str:
        """One line for a person."""
        least, most = duration(self.seconds_least), duration(self.seconds_most)
        many = f" in {self.processes} processes" if self.processes > 1 else ""
        return (
            f"about {least} to {most} for {self.steps} step{'s'[: self.steps > 1]}{many}, "
            f"about {self.memory / GIB:.1f} GiB of memory"
        )

    def mend(self) -> str:
        """What to lower; empty when memory suffices."""
        return "" if self.fits else advice(self.savings)


def duration(seconds: float) -> str:
    """Seconds as a person says them, in few digits: it is an estimate."""
    if seconds < 100:
        return f"{math.ceil(seconds / 5) * 5} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def place(train: Train, shape: Shape, lengths: Lengths, mapped: bool) -> Place:
    """Where this machine computes a training, and in how many processes."""
    here = device()
    of = dtype(here)
    count = workers(train, here, shape.parameters, lengths.mean)
    plain = here.type == "cpu" and of == torch.float32
    grain = packing.PLAIN if plain else packing.COMPILED
    return Place(here.type, of.itemsize, grain, count, mapped)


def forecast(
    train: Train, shape: Shape, lengths: Lengths, valid: Lengths | None, told: Source, mapped: bool
) -> Forecast:
    """Time and memory of a training on this machine; it takes a second or two to say.

    Args:
        train: hyper-parameters.
        shape: the base model's.
        lengths: the training examples'.
        valid: the validation examples'; None when there are none or they are not known.
        told: where the lengths come from.
        mapped: whether the base model's file was written from a GGUF.
    """
    where = place(train, shape, lengths, mapped)
    step = work(shape, train, lengths.batch(train)).total
    whole = step * train.iters
    if valid is not None:
        looks = train.iters / loop.every(train, valid.count)
        one = Lengths([(round(valid.mean), round(valid.said))], 1)
        each = train.model_copy(update={"batch_size": 1, "general": 0})
        whole += looks * valid.count * looking(shape, train, one.batch(each))
    found = speed(shape, round(sum(len(t.ids) for t in lengths.batch(train))), where)
    about = whole / (found * EFFICIENCY) + SETUP + PER_WEIGHT * shape.parameters
    return Forecast(
        seconds_least=round(FASTER * about, 1),
        seconds_most=round(SLOWER * about, 1),
        steps=train.iters,
        step_work=step,
        speed=found,
        processes=where.processes,
        device=where.kind,
        memory=memory(shape, train, lengths, where).total,
        base_bytes=weighs(shape, train, where),
        free=free(where),
        tokens_mean=round(lengths.mean, 1),
        tokens_longest=lengths.longest,
        lengths=told,
        savings=savings(shape, train, lengths, where),
    )


def free(where: Place) -> int | None:
    """Bytes that a training may still take where it is computed."""
    if where.kind == "cuda":
        return sum(torch.cuda.mem_get_info(i)[0] for i in range(where.processes))
    return machine.free_memory()


def speed(shape: Shape, tokens: int, where: Place) -> float:
    """Multiplications and additions a second of a block's matrices, all processes together."""
    here = torch.device(where.kind)
    of = dtype(here)
    rows = max(8, min(tokens, int(LARGEST / (2 * shape.block))))
    weights = [torch.randn(b, a).to(here, of) for a, b in shape.matrices]
    given = [torch.randn(rows, a).to(here, of) for a, _ in shape.matrices]
    seconds: list[float] = []
    with _threads(where.processes if where.kind == "cpu" else 1), torch.inference_mode():
        began = time.perf_counter()
        for _ in range(1 + ROUNDS):
            start = time.perf_counter()
            for row, weight in zip(given, weights, strict=True):
                torch.nn.functional.linear(row, weight)
            _finished(here)
            seconds.append(time.perf_counter() - start)
            if time.perf_counter() - began > LIMIT and len(seconds) > 1:
                break
    # The first time is a start: threads, and kernels that are compiled.
    return where.processes * 2.0 * shape.block * rows / statistics.median(seconds[1:])


def _finished(here: torch.device) -> None:
    """Wait for what a GPU was asked for."""
    if here.type == "cuda":
        torch.cuda.synchronize()
    elif here.type == "mps":
        torch.mps.synchronize()


@contextmanager
def _threads(processes: int) -> Iterator[None]:
    """As many threads as each of so many processes has."""
    before = torch.get_num_threads()
    if processes > 1:
        torch.set_num_threads(machine.threads(processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def of_dataset(train: Train, base: Base, dataset: Path) -> Forecast:
    """What a training on a prepared dataset will take.

    Raises:
        DataError: there is no training example, or one is too long.
    """
    some = lengths_of(base.folder, dataset / "train.jsonl", train.max_length)
    if some is None:
        raise DataError(
            f"{dataset / 'train.jsonl'}: no training example",
            hint="run `opslore prepare AGENT.yaml` and read its coverage table",
        )
    valid = lengths_of(base.folder, dataset / "valid.jsonl", train.max_length)
    shape = Shape.of(modelfolder.configuration(base.folder))
    return forecast(train, shape, some, valid, "dataset", base.gguf is not None)
