"""`make bench-train`: seconds of a training step beside TRL's SFTTrainer, paired in one run.

The example's own prompts, the same tokens in the same order, the same adapter and the same number
of optimiser steps, each training in a process of its own: opslore, TRL with its defaults, TRL in
fp32, and again. The held-out loss of every adapter is taken by plain transformers and PEFT. The
first step of a training is left out everywhere. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore import config, machine, modelfolder, models, steps, store
from opslore.cards import Example
from opslore.config import Train
from opslore.trainers.estimate import Shape, work
from opslore.trainers.learner import Learner
from opslore.trainers.loop import Run
from opslore.trainers.packing import Tokens, tokenize
from opslore.trainers.parallel import divided
from opslore.trainers.torch import team
from tests.bench.train_arm import OPSLORE, TRL, TRL_FP32, Job

ROOT = Path(__file__).parents[2]
SMOLLM, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"
ARMS = {SMOLLM: (OPSLORE, TRL, TRL_FP32), GEMMA: (OPSLORE, TRL)}
VALID = 24
"""Examples of the held-out loss."""

SQUARE = 2048
"""Rows of the matrices whose product is this machine's peak."""


@dataclass
class Measured:
    """One arm's trainings, one of each round."""

    seconds: list[float] = field(default_factory=list)
    """Of each step but the first."""
    peak_mb: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    """Held out, nats per completion token."""

    @property
    def step(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def trained(arm: str, job: Job) -> dict[str, Any]:
    """What one training printed last."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_WAIT_POLICY": "PASSIVE"}
    if arm == OPSLORE:
        # As many processes as a training of the usual length gets.
        quiet["OPSLORE_WORKERS"] = str(machine.cores())
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.train_arm", arm, job.base, str(job.dataset),
         str(job.tokens), str(job.work), job.train.model_dump_json()],
        cwd=ROOT,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{arm} on {job.base}: exit {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def held_out(base: models.Base, adapter: Path, rows: list[Tokens]) -> float:
    """Mean cross-entropy of the completions, by plain transformers and PEFT in fp32."""
    from peft import PeftModel

    plain = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, str(adapter)).eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for tokens in rows:
            logits = model(torch.tensor([tokens.ids])).logits[0, tokens.start - 1 : -1]
            labels = torch.tensor(tokens.ids[tokens.start :])
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += len(labels)
    return total / count


def peak(kind: torch.dtype) -> float:
    """Multiplications and additions a second of a large matrix product, the best of five."""
    left, right = (torch.randn(SQUARE, SQUARE).to(kind) for _ in range(2))
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * SQUARE**3 / (time.perf_counter() - began))
    return best


def dataset_of(room: Path) -> Path:
    """The example's dataset, without its questions by people: those are no training."""
    agent = config.load(ROOT / "agents" / "sre.yaml")
    prepare = agent.prepare.model_copy(update={"questions": ""})
    agent = agent.model_copy(update={"store": str(room / "runs"), "prepare": prepare})
    return steps.store_of(agent).path(steps.prepare(agent, steps.collect(agent)))


def measured(job: Job, arms: Sequence[str], rounds: int, console: Console) -> dict[str, Measured]:
    """Every arm in turn, `rounds` times."""
    base = models.resolve(job.base)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    rows = store.read_rows(job.dataset / "valid.jsonl", Example)
    valid = [tokenize(tokenizer, row, job.train.max_length) for row in rows][:VALID]
    out = {arm: Measured() for arm in ARMS[job.base] if arm in arms}
    for number in range(rounds):
        for arm, told in out.items():
            one = replace(job, work=job.work / f"{arm}-{number}")
            said = trained(arm, one)
            told.seconds += said["seconds"][1:]
            told.peak_mb.append(said["peak_mb"])
            told.loss.append(held_out(base, one.work / "adapter", valid))
            console.print(
                f"{job.base} {arm}: {statistics.median(said['seconds'][1:]):.2f} s a step, "
                f"{said['peak_mb']:,.0f} MB, held-out loss {told.loss[-1]:.4f}"
            )
    return out


def distinct(run: Run, batch: list[Tokens]) -> list[Tokens]:
    """A batch without the starts that examples of a part share with the first one of it."""
    out = []
    for part in divided(batch, run.each):
        for place, tokens in enumerate(part):
            done = tokens.shared if place else 0
            out.append(replace(tokens, ids=tokens.ids[done:], start=tokens.start - done))
    return out


def begun(base: str, dataset: Path, room: Path, train: Train) -> tuple[Job, float]:
    """What every arm trains, and the useful work of a step as a share of a second at peak."""
    made = room / base
    made.mkdir()
    job = Job(base, dataset, made / "tokens.json", made, train)
    found = models.resolve(base)
    run = Run(train, found, dataset, made, partial(team, train, found))
    learner = cast(Learner, run.team.learner)
    with run.team:
        batches = list(run.batches())
        shape = Shape.of(modelfolder.configuration(found.folder))
        useful = [work(shape, train, distinct(run, batch)).total for batch in batches]
        kind = next(p.dtype for p in learner.model.parameters() if not p.requires_grad)
    job.tokens.write_text(json.dumps([(t.ids, t.start) for batch in batches for t in batch]))
    return job, statistics.median(useful) / peak(kind)


def table(found: dict[str, dict[str, Measured]]) -> Table:
    """One row an arm."""
    out = Table("base", "trainer", "s a step", "opslore is faster", "peak MB", "held-out loss")
    for base, arms in found.items():
        for arm, one in arms.items():
            out.add_row(
                base,
                arm,
                f"{one.step:.2f} ({min(one.seconds):.2f} to {max(one.seconds):.2f})",
                f"{one.step / arms[OPSLORE].step:.1f} x",
                f"{max(one.peak_mb):,.0f}",
                ", ".join(f"{loss:.4f}" for loss in one.loss),
            )
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12, help="optimiser steps of a training")
    parser.add_argument("--rounds", type=int, default=2, help="trainings of each arm")
    parser.add_argument("--bases", nargs="*", default=list(ARMS), help="base models")
    every = [OPSLORE, TRL, TRL_FP32]
    parser.add_argument("--trainers", nargs="*", default=every, choices=every, help="beside ours")
    parser.add_argument("--dataset", type=Path, help="a prepared dataset; else the example's")
    wanted = parser.parse_args()
    if wanted.steps < 3:
        parser.error("--steps: at least 3; the first and opslore's last are left out")
    machine.quiet()
    console = Console(stderr=True)
    # What is kept of the base model beside the commands is opslore's own; TRL does no such work.
    train = Train(iters=wanted.steps, general=0)
    found, peaks = {}, {}
    with tempfile.TemporaryDirectory(prefix="opslore-bench-") as folder:
        room = Path(folder)
        dataset = wanted.dataset or dataset_of(room)
        for base in wanted.bases:
            job, least = begun(base, dataset, room, train)
            found[base] = measured(job, [OPSLORE, *wanted.trainers], wanted.rounds, console)
            peaks[base] = least / found[base][OPSLORE].step
    console.print(table(found))
    print(json.dumps(ratios(found, peaks)))


def ratios(found: dict[str, dict[str, Measured]], peaks: dict[str, float]) -> dict[str, float]:
    """How many times a step of the others takes; opslore's share of the peak and of the memory."""
    line: dict[str, float] = {}
    names = [(SMOLLM, TRL, "vs_trl_default"), (SMOLLM, TRL_FP32, "vs_trl_fp32")]
    for base, arm, name in [*names, (GEMMA, TRL, "gemma_vs_trl_default")]:
        if arm in found.get(base, {}):
            line[name] = round(found[base][arm].step / found[base][OPSLORE].step, 2)
    if SMOLLM in found:
        arms = found[SMOLLM]
        line["peak_share"] = round(peaks[SMOLLM], 3)
        least = min((max(arms[a].peak_mb) for a in arms if a != OPSLORE), default=None)
        if least is not None:
            line["rss_ratio"] = round(max(arms[OPSLORE].peak_mb) / least, 3)
    return line


if __name__ == "__main__":
    main()
