"""The training loop that every trainer shares: batches, updates, validations, checkpoints.

Read in this order: `fit` (what happens), `_step` (one update). What is computed for a step is the
trainer's own: a `Learner` gives a loss and its gradient by every matrix of the adapter (learner.py
with PyTorch, mlx.py with MLX); the sums, the optimiser and what survives a kill are here and in
checkpoint.py, the same for all.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from opslore import store
from opslore.cards import Example
from opslore.config import Train
from opslore.errors import DataError
from opslore.models import Base
from opslore.trainers import adapter, checkpoint, general, shortage
from opslore.trainers.packing import Tokens, sharing, stratified, tokenize
from opslore.trainers.parallel import EACH, Team, divided

VALIDATIONS = 10
"""How many times the validation loss is taken during a run, at most."""

LISTEN = 2
"""Fewest steps between two validations for each batch that the validation examples would fill: to
look at an example costs two fifths of learning it, so this is a fifth of the run's time at most."""

SHORT = 64
"""Tokens of a paragraph that are read beside a batch."""

Assemble = Callable[[float, int], Team]
"""Makes who computes, given the mean tokens of an example and the token id that fills rows up."""


class Run:
    """A training in progress: who computes, the optimiser, and how far it got."""

    def __init__(
        self, train: Train, base: Base, dataset: Path, work: Path, assemble: Assemble
    ) -> None:
        torch.manual_seed(train.seed)
        self.train = train
        self.work = work
        self.tokenizer = AutoTokenizer.from_pretrained(base.folder)
        learned = self._read(dataset / "train.jsonl")
        every = sharing([*learned, *self._read(dataset / "valid.jsonl")])
        self.examples, self.valid = every[: len(learned)], every[len(learned) :]
        self.general = self._general(base)
        if not self.examples:
            raise DataError(
                f"{dataset / 'train.jsonl'}: no training example",
                hint="run `opslore prepare AGENT.yaml` and read its coverage table",
            )
        mean = sum(len(tokens.ids) for tokens in self.examples) / len(self.examples)
        self.team = assemble(mean, self.tokenizer.eos_token_id or 0)
        learner = self.team.learner
        self.device, self.names, self.used = learner.device, learner.names, learner.used
        size = part(train, self.device)
        # What is beside a batch is short, and rides in its parts.
        self.each = size + bool(self.general) * train.general
        # The model multiplies with a copy in its own type; the sums are kept in fp32, where small
        # updates are not lost (mixed precision: Micikevicius et al. 2018, section 3.1).
        self.master = [w.detach().float().clone().requires_grad_() for w in self.used]
        self.optimiser = torch.optim.AdamW(self.master, lr=train.learning_rate, weight_decay=0.0)
        self.step = 0
        self.seconds = 0.0
        self.best = math.inf
        self.worse = 0
        self.valid_loss = math.nan
        self.log: list[dict[str, Any]] = []

    def _read(self, path: Path) -> list[Tokens]:
        rows = store.read_rows(path, Example) if path.is_file() else iter(())
        return [tokenize(self.tokenizer, row, self.train.max_length) for row in rows]

    def _general(self, base: Base) -> list[Tokens]:
        """The base model's everyday replies, and paragraphs that people wrote, in turn.

        What the base model thinks of them is kept: of replies, so that it still answers, of
        paragraphs, so that it still reads (docs/decisions/0020).
        """
        count = self.train.general * self.train.iters
        rows = general.examples(base, count) if count else []
        out: list[Tokens] = []
        for row, text in zip(rows, general.plain(len(rows)), strict=False):
            said = tokenize(self.tokenizer, row, self.train.max_length)
            read = self.tokenizer.encode(text, add_special_tokens=False)[:SHORT]
            out += [Tokens(said.ids, said.start, kept=True), Tokens(read, 1, kept=True)]
        return [tokens for tokens in out if len(tokens.ids) > 1]

    def _beside(self, step: int) -> list[Tokens]:
        """The everyday questions of a step, in turn."""
        first, rows = step * self.train.general, self.general
        return [rows[(first + i) % len(rows)] for i in range(self.train.general if rows else 0)]

    def batches(self) -> Iterator[list[Tokens]]:
        """The batches from the current step on: shuffled per epoch, the same after a resume."""
        size = min(self.train.batch_size, len(self.examples))
        per_epoch = len(self.examples) // size
        done = -1
        for step in range(self.step, self.train.iters):
            epoch, place = divmod(step, per_epoch)
            if epoch != done:
                rng = random.Random(f"{self.train.seed}/{epoch}")
                order = stratified(self.examples, size, rng)
                rng.shuffle(order)
                done = epoch
            yield order[place] + self._beside(step)


def part(train: Train, device: torch.device) -> int:
    """Examples that are computed at once; the gradients of a batch are added up over its parts."""
    cards = max(1, torch.cuda.device_count()) if device.type == "cuda" else 1
    usual = EACH if device.type == "cpu" else math.ceil(train.batch_size / cards)
    return min(train.micro_batch or usual, train.batch_size)


def fit(
    train: Train, base: Base, dataset: Path, work: Path, progress: Any, assemble: Assemble
) -> dict[str, Any]:
    """Fit a LoRA adapter to `dataset/train.jsonl`; a killed run goes on from its checkpoint.

    Leaves `adapter/` (PEFT folder, safetensors) and `loss.jsonl` in `work`.

    Args:
        train: hyper-parameters.
        base: the model to adapt.
        dataset: folder with train.jsonl and valid.jsonl.
        work: folder of this run, named by its id.
        progress: called with (step, steps, loss) after each step.
        assemble: makes who computes.

    Returns:
        steps, loss (mean of the last 20), valid_loss (nan without validation examples), seconds.

    Raises:
        DataError: no examples, an example too long, or a loss that is not a number.
        ConfigError: the settings need more memory than there is.
    """
    examples: list[Tokens] = []
    with shortage.explained(train, base, work, examples):
        run = Run(train, base, dataset, work, assemble)
        examples += run.examples
        with run.team:
            _train(run, progress)
        return _finish(run, base)


def every(train: Train, valid: int) -> int:
    """Steps between two validations."""
    least = math.ceil(LISTEN * valid / train.batch_size)
    return max(1, train.iters // VALIDATIONS, least)


def _train(run: Run, progress: Any) -> None:
    """Every step from the last checkpoint on."""
    train = run.train
    checkpoint.load(run)
    looks = every(train, len(run.valid))
    for batch in run.batches():
        if _stopped(run):
            break
        began = time.monotonic()
        loss = _step(run, batch)
        run.step += 1
        measure = run.valid and (run.step % looks == 0 or run.step == train.iters)
        if measure:
            run.valid_loss = _validate(run)
        run.seconds += time.monotonic() - began
        run.log.append(
            {
                "step": run.step,
                "loss": loss,
                "valid_loss": run.valid_loss if measure else None,
                "lr": rate(train, run.step - 1),
                "seconds": round(run.seconds, 3),
            }
        )
        if progress is not None:
            progress(run.step, train.iters, loss)
        if run.step % train.save_every == 0 or run.step == train.iters or _stopped(run):
            checkpoint.save(run)


def _step(run: Run, batch: list[Tokens]) -> float:
    """One optimiser update; returns the loss in nats per completion token."""
    for group in run.optimiser.param_groups:
        group["lr"] = rate(run.train, run.step)
    loss, gradients = run.team.gradients(divided(batch, run.each), run.master)
    if not math.isfinite(loss):
        raise DataError(
            f"step {run.step + 1}: the loss is {loss}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    for master, gradient in zip(run.master, gradients, strict=True):
        master.grad = gradient
    norm = float(torch.nn.utils.clip_grad_norm_(run.master, 1.0))
    if not math.isfinite(norm):
        raise DataError(
            f"step {run.step + 1}: the gradient is {norm}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    run.optimiser.step()
    return loss


def _validate(run: Run) -> float:
    """Loss over the validation examples, nats per completion token."""
    found = run.team.loss(divided(run.valid, run.each), run.master)
    if not math.isfinite(found):
        raise DataError(
            f"step {run.step}: the validation loss is {found}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    run.best, run.worse = (found, 0) if found < run.best else (run.best, run.worse + 1)
    return found


def rate(train: Train, step: int) -> float:
    """Linear warm-up, then a cosine from the peak to a tenth of it."""
    warmup = max(1, round(train.warmup * train.iters))
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, train.iters - warmup)
    return train.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


def _stopped(run: Run) -> bool:
    """Whether the validation loss has not improved for `patience` validations."""
    return 0 < run.train.patience <= run.worse


def _finish(run: Run, base: Base) -> dict[str, Any]:
    """Write the adapter and the losses."""
    if not all(bool(torch.isfinite(weight).all()) for weight in run.master):
        raise DataError("the adapter holds NaN or infinity", hint="lower train.learning_rate")
    weights = dict(zip(run.names, run.master, strict=True))
    adapter.save(run.work / "adapter", run.train, base, run.team.learner.blocks, weights)
    store.write(run.work / "loss.jsonl", "".join(json.dumps(row) + "\n" for row in run.log))
    last = [row["loss"] for row in run.log[-20:]]
    return {
        "steps": run.step,
        "loss": sum(last) / len(last),
        "valid_loss": run.valid_loss,
        "seconds": round(run.seconds, 1),
    }
