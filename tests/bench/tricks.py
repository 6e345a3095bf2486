"""`make bench-tricks`: what each of the trainer's tricks gains on this machine.

Steps of the example's own prompts with every trick, and with every trick but one, in turn (A B A
B); a trick's gain is the median of the pairs' ratios. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from opslore import machine, models
from opslore.config import Train
from opslore.trainers import tricks
from opslore.trainers.loop import Run
from opslore.trainers.packing import Tokens
from opslore.trainers.parallel import divided
from opslore.trainers.torch import team
from tests.bench.train import dataset_of


@contextmanager
def without(name: str) -> Iterator[None]:
    """With every trick but this."""
    before = os.environ.get(tricks.VARIABLE, "")
    os.environ[tricks.VARIABLE] = name
    try:
        yield
    finally:
        os.environ[tricks.VARIABLE] = before


def seconds(run: Run, batches: Sequence[Sequence[Tokens]]) -> float:
    """How long the gradients of these batches take."""
    began = time.perf_counter()
    for batch in batches:
        run.team.gradients(divided(batch, run.each), run.master)
    return time.perf_counter() - began


def gain(
    name: str, steps: int, rounds: int, train: Train, base: models.Base, dataset: Path
) -> list[float]:
    """Seconds without it over seconds with it, of each pair."""
    with tempfile.TemporaryDirectory(prefix="opslore-bench-") as room:
        make = partial(Run, train, base, dataset, Path(room), partial(team, train, base))
        whole = make()
        batches = list(islice(whole.batches(), steps))
        with without(name):
            less = make()
        found = []
        with whole.team, less.team:
            for number in range(rounds + 1):
                with without(name):
                    slow = seconds(less, batches)
                quick = seconds(whole, batches)
                if number:  # the first pair is to warm up
                    found.append(slow / quick)
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each trick")
    parser.add_argument("--steps", type=int, default=2, help="steps of a measurement")
    parser.add_argument("--base", default="smollm2-135m-instruct", help="base model")
    parser.add_argument("--tricks", nargs="*", default=list(tricks.TRICKS), help="which")
    parser.add_argument("--dataset", type=Path, help="a prepared dataset; else the example's")
    wanted = parser.parse_args()
    machine.quiet()
    machine.tune()
    halves = torch.cpu._is_avx512_bf16_supported()
    names = [name for name in wanted.tricks if name != "bf16" or halves]
    # As many processes as a training of the usual length gets.
    train, console = Train(), Console(stderr=True)
    out = Table("without", "what there is then", "times as long", "pairs")
    line = {}
    with tempfile.TemporaryDirectory(prefix="opslore-bench-") as folder:
        dataset = wanted.dataset or dataset_of(Path(folder))
        base = models.resolve(wanted.base)
        for name in names:
            os.environ["OPSLORE_WORKERS"] = "" if name == "processes" else "1"
            pairs = gain(name, wanted.steps, wanted.rounds, train, base, dataset)
            line[name] = round(statistics.median(pairs), 3)
            told = ", ".join(f"{pair:.2f}" for pair in sorted(pairs))
            out.add_row(name, tricks.TRICKS[name], f"{line[name]:.2f}", told)
            console.print(f"{name}: {line[name]:.2f} ({told})")
    console.print(out)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
