"""`make bench-growth`: how a step's seconds and a training's peak memory grow, beside the estimate.

One setting at a time is varied: examples of a batch, their length, rank, layers, and the size of
the model (random Llamas on SmolLM2's tokenizer, SmolLM2, Gemma 3 where it is installed). Every
training is a process of its own; they take turns, so that other load meets all alike, and the first
step of each is left out. A table, a plot, and a last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from opslore import machine, modelfolder, models, store
from opslore.cards import Example, Message, Span
from opslore.config import Train
from opslore.trainers import footprint, forecast
from opslore.trainers.estimate import Lengths, Shape, work
from opslore.trainers.packing import tokenize
from tests.bench.train_arm import OPSLORE

ROOT = Path(__file__).parents[2]
SMOLLM, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"

LADDER = {
    "llama-7m": (128, 4, 352, 2, 1),
    "llama-18m": (256, 8, 704, 4, 2),
    "llama-57m": (384, 24, 1024, 6, 2),
}
"""Random Llamas: width, blocks, inner, heads, key heads."""

ANSWER = 20
"""Words of a completion; each is a token."""

MIDDLE = 200
"""Tokens of an example where its length is not what is varied."""


@dataclass(frozen=True)
class Point:
    """One training: what is varied, its value, and all settings."""

    axis: str
    value: str
    base: str
    length: int
    train: Train


@dataclass
class Measured:
    """What the trainings of a point told."""

    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    estimated_mb: float = 0.0
    work: float = 0.0
    estimated_seconds: float = 0.0


def llama(folder: Path, shape: tuple[int, int, int, int, int]) -> Path:
    """A Llama of random weights with SmolLM2's tokenizer, as a Hugging Face folder in fp16."""
    donor = models.resolve(SMOLLM).folder
    width, blocks, inner, heads, key_heads = shape
    words = len(AutoTokenizer.from_pretrained(donor))
    config = LlamaConfig(
        vocab_size=words, hidden_size=width, intermediate_size=inner, num_hidden_layers=blocks,
        num_attention_heads=heads, num_key_value_heads=key_heads, head_dim=width // heads,
        tie_word_embeddings=True, max_position_embeddings=4096,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.float16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(donor / name, folder / name)
    return folder


def example(number: int, words: int, split: str) -> Example:
    """An example whose prompt has about this many tokens."""
    answer = " pod" * ANSWER
    return Example(
        id=f"{split}-{number}",
        messages=[
            Message(role="system", content="Answer."),
            Message(role="user", content=" pod" * max(1, words)),
            Message(role="assistant", content=answer),
        ],
        target=answer, source=Span(file="(made up)", first=0, last=0), group=str(number),
        split=split, family="growth", question="",
    )  # fmt: skip


def dataset(folder: Path, base: str, length: int, count: int) -> Lengths:
    """Examples from three quarters of a length to all of it; returns what they have."""
    tokenizer = AutoTokenizer.from_pretrained(models.resolve(base).folder)
    around = len(tokenize(tokenizer, example(0, 1, "train"), 4096).ids) - 1
    share = [0.75 + 0.25 * place / max(1, count - 1) for place in range(count)]
    rows = [example(n, round(length * s) - around, "train") for n, s in enumerate(share)]
    store.write_rows(folder / "train.jsonl", rows)
    store.write_rows(folder / "valid.jsonl", [example(0, MIDDLE // 2, "valid")])
    found = [tokenize(tokenizer, row, 4096) for row in rows]
    return Lengths([(len(t.ids), len(t.ids) - t.start) for t in found], count)


def points(room: Path, steps: int, smallest: bool) -> Iterator[Point]:
    """What is trained: every axis around one middle."""
    plain = Train(iters=steps, general=0, max_length=4096)

    def folder(name: str) -> str:
        made = room / name
        return str(made if made.is_dir() else llama(made, LADDER[name]))

    if smallest:
        small = folder("llama-7m")
        for size in (2, 4):
            less = plain.model_copy(update={"batch_size": size})
            yield Point("examples of a batch", str(size), small, MIDDLE, less)
        return
    middle = folder("llama-18m")
    for size in (1, 2, 4, 8):
        many = plain.model_copy(update={"batch_size": size})
        yield Point("examples of a batch", str(size), middle, MIDDLE, many)
    for length in (64, 128, 256, 512):
        yield Point("tokens of an example", str(length), middle, length, plain)
    for rank in (4, 32, 256):
        more = plain.model_copy(update={"lora_rank": rank})
        yield Point("lora_rank", str(rank), middle, MIDDLE, more)
    for layers in (1, 4, 8):
        deep = plain.model_copy(update={"lora_layers": layers})
        yield Point("lora_layers", str(layers), middle, MIDDLE, deep)
    for name in LADDER:
        yield Point("base model", name, folder(name), MIDDLE, plain)
    yield Point("base model", SMOLLM, SMOLLM, MIDDLE, plain)
    try:
        models.digest(GEMMA)
    except models.MissingExtra:
        return
    yield Point("base model", GEMMA, GEMMA, MIDDLE, plain)


def trained(point: Point, data: Path, work_folder: Path, workers: int) -> dict[str, Any]:
    """What one training printed last."""
    env = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "OPSLORE_WORKERS": str(workers)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.train_arm", OPSLORE, point.base, str(data), "-",
         str(work_folder), point.train.model_dump_json()],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{point.axis} {point.value}: exit {done.returncode}\n{done.stderr[-3000:]}")
    shutil.rmtree(work_folder)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def estimated(point: Point, lengths: Lengths, out: Measured) -> None:
    """What is said of a point beforehand."""
    base = models.resolve(point.base)
    shape = Shape.of(modelfolder.configuration(base.folder))
    where = forecast.place(point.train, shape, lengths, base.gguf is not None)
    out.estimated_mb = footprint.memory(shape, point.train, lengths, where).total / footprint.MIB
    batch = lengths.batch(point.train)
    out.work = work(shape, point.train, batch).total
    tokens = sum(len(t.ids) for t in batch)
    found = forecast.speed(shape, tokens, where) * forecast.EFFICIENCY
    out.estimated_seconds = out.work / found


def measured(room: Path, wanted: argparse.Namespace, console: Console) -> dict[Point, Measured]:
    """Every point in turn, as often as there are rounds."""
    os.environ["OPSLORE_WORKERS"] = str(wanted.workers)
    found: dict[Point, Measured] = {}
    for place in range(wanted.rounds):
        for number, point in enumerate(points(room, wanted.steps, wanted.smallest)):
            data = room / f"data-{number}"
            out = found.setdefault(point, Measured())
            lengths = dataset(data, point.base, point.length, 4 * point.train.batch_size)
            estimated(point, lengths, out)
            told = trained(point, data, room / f"work-{number}-{place}", wanted.workers)
            out.seconds += told["seconds"][1:]
            out.peak_mb.append(told["peak_mb"])
            console.print(
                f"{point.axis} {point.value}: {statistics.median(told['seconds'][1:]):.2f} s a step"
                f" (estimate {out.estimated_seconds:.2f}), {told['peak_mb']:,.0f} MB"
                f" (estimate {out.estimated_mb:,.0f})"
            )
    return found


def table(found: dict[Point, Measured]) -> Table:
    """One row a point."""
    out = Table("varied", "value", "G a step", "s a step", "estimate", "peak MB", "estimate")
    for point, one in found.items():
        least, most = min(one.seconds), max(one.seconds)
        out.add_row(
            point.axis, point.value, f"{one.work / 1e9:,.0f}",
            f"{statistics.median(one.seconds):.2f} ({least:.2f} to {most:.2f})",
            f"{one.estimated_seconds:.2f}", f"{max(one.peak_mb):,.0f}", f"{one.estimated_mb:,.0f}",
        )  # fmt: skip
    return out


def plot(found: dict[Point, Measured], path: Path) -> None:
    """Seconds above, memory below, one column an axis; measured and estimated."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(point.axis for point in found))
    figure = Figure(figsize=(3.2 * len(axes), 5.4), layout="constrained")
    grid = figure.subplots(2, len(axes), squeeze=False)
    for column, axis in enumerate(axes):
        some = {point.value: one for point, one in found.items() if point.axis == axis}
        seconds = [statistics.median(one.seconds) for one in some.values()]
        rows = [
            ("seconds a step", seconds, [one.estimated_seconds for one in some.values()]),
            ("peak MB", [max(one.peak_mb) for one in some.values()],
             [one.estimated_mb for one in some.values()]),
        ]  # fmt: skip
        for row, (label, real, guess) in enumerate(rows):
            panel = grid[row][column]
            panel.plot(list(some), real, "o-", label="measured")
            panel.plot(list(some), guess, "x--", label="estimate")
            panel.set_ylim(bottom=0)
            panel.set_title(axis if row == 0 else "", fontsize=10)
            panel.tick_params(axis="x", rotation=30, labelsize=8)
            if column == 0:
                panel.set_ylabel(label)
    grid[0][0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4, help="optimiser steps of a training")
    parser.add_argument("--rounds", type=int, default=2, help="trainings of each point")
    parser.add_argument("--workers", type=int, default=machine.cores(), help="processes of each")
    parser.add_argument("--smallest", action="store_true", help="two points, to see that it works")
    parser.add_argument(
        "--plot", type=Path, default=ROOT / "docs" / "growth.svg", help="the picture"
    )
    wanted = parser.parse_args()
    if wanted.steps < 3:
        parser.error("--steps: at least 3; the first and the last are left out")
    machine.quiet()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="opslore-growth-") as folder:
        found = measured(Path(folder), wanted, console)
    console.print(table(found))
    plot(found, wanted.plot)
    console.print(f"wrote {wanted.plot}")
    memory = [one.estimated_mb / max(one.peak_mb) for one in found.values()]
    seconds = [one.estimated_seconds / statistics.median(one.seconds) for one in found.values()]
    line = {
        "points": len(found),
        "memory_ratio_least": round(min(memory), 2),
        "memory_ratio_most": round(max(memory), 2),
        "seconds_ratio_least": round(min(seconds), 2),
        "seconds_ratio_median": round(statistics.median(seconds), 2),
        "seconds_ratio_most": round(max(seconds), 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
