"""Data parallel on one machine: each process computes the gradients of a part of every batch.

Many of a small model's operations run on one core whatever the number of threads, so two processes
of one thread finish a batch sooner than one process of two (docs/LOG.md). How a batch is divided
does not depend on how many processes there are, and the parts' gradients are summed in their
order: the adapter is the same however many cores the machine has.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from opslore import machine
from opslore.config import Train
from opslore.errors import OpsloreError, ServerError
from opslore.models import Base
from opslore.trainers import shortage, tricks
from opslore.trainers.adapter import flat, unflat
from opslore.trainers.packing import Tokens

EACH = 2
"""Examples of a part on a CPU; less would make the matrix products too small."""

WORTH = 1e13
"""Multiplications and additions of a training that is worth starting processes for: under it, their
start takes longer than they save."""


@dataclass(frozen=True)
class Job:
    """What a process computes.

    Attributes:
        train: hyper-parameters.
        base: the model to adapt.
        filler: token id that fills rows up.
        device: where PyTorch computes, by its own name: cpu, cuda:1, mps.
        weights: folder that the base's weights are read from; None is its own.
    """

    train: Train
    base: Base
    filler: int
    device: str
    weights: Path | None = None


class Learner(Protocol):
    """Who gives the loss of examples and its gradient by every matrix of the adapter.

    Attributes:
        device: where the sums and the optimiser are.
        blocks: how many blocks the model has.
        names: PEFT's names of the adapter's matrices, in the order of `used`.
        used: their first values, and shapes (A: [rank, in], B: [out, rank]).
    """

    device: torch.device
    blocks: int
    names: list[str]
    used: list[torch.Tensor]

    def take(self, weights: Sequence[torch.Tensor]) -> None:
        """Use these values of the adapter's matrices."""

    def loss(self, examples: Sequence[Tokens]) -> float:
        """Sum of the cross-entropy over the completions' tokens, in nats; nothing is learned."""

    def gradients(self, examples: Sequence[Tokens], tokens: int) -> tuple[float, torch.Tensor]:
        """The same sum, and the gradient of it and of what was forgotten, divided by `tokens`.

        Returns:
            The sum in nats, and one flat fp32 row on the CPU, in the order of `used`.
        """


def divided(batch: Sequence[Tokens], each: int) -> list[list[Tokens]]:
    """A batch in parts of nearly equal length, `each` examples at most.

    Long and short examples are dealt out in turn: 1 2 3 3 2 1 1 ...
    """
    count = math.ceil(len(batch) / each)
    parts: list[list[Tokens]] = [[] for _ in range(count)]
    order = sorted(range(len(batch)), key=lambda i: (-len(batch[i].ids), i))
    for place, i in enumerate(order):
        turn, at = divmod(place, count)
        parts[at if turn % 2 == 0 else count - 1 - at].append(batch[i])
    return parts


def processes(work: float, parts: int, size: int) -> int:
    """How many processes this machine and this training can use; OPSLORE_WORKERS overrides it.

    Args:
        work: multiplications and additions of the whole training.
        parts: parts of a batch.
        size: bytes of memory that a further process needs.
    """
    if wanted := os.environ.get("OPSLORE_WORKERS", ""):
        return min(parts, max(1, int(wanted))) if wanted.isdigit() else 1
    if work < WORTH or not tricks.used("processes"):
        return 1
    free = machine.free_memory()
    room = parts if free is None else 1 + free // (2 * size)
    return max(1, min(parts, machine.cores(), room))


class Team:
    """This process and its helpers."""

    def __init__(self, learner: Callable[[], Learner], helpers: Sequence[Job] = ()) -> None:
        """Start helpers, then make the learner of this process."""
        self._threads = torch.get_num_threads()
        self._helpers: list[_Helper] = []
        try:
            if helpers:
                each = machine.threads(1 + len(helpers))
                torch.set_num_threads(each)
                for job in helpers:
                    self._helpers.append(_Helper(each, job))
            self.learner = learner()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the team."""
        return self

    def __exit__(self, *reason: object) -> None:
        """End the helpers."""
        self.close()

    def close(self) -> None:
        """End the helpers, also in the middle of their work."""
        for helper in self._helpers:
            helper.close()
        self._helpers = []
        torch.set_num_threads(self._threads)

    def gradients(
        self, parts: Sequence[Sequence[Tokens]], weights: Sequence[torch.Tensor]
    ) -> tuple[float, list[torch.Tensor]]:
        """Mean cross-entropy in nats per completion token, and its gradient by every weight.

        Raises:
            ServerError: a helper died.
        """
        tokens = _learned(parts)
        replies = self._ask(parts, weights, tokens)
        total = torch.zeros_like(replies[0][1])
        for _, gradient in replies:
            total += gradient
        return sum(loss for loss, _ in replies) / tokens, unflat(total, weights)

    def loss(self, parts: Sequence[Sequence[Tokens]], weights: Sequence[torch.Tensor]) -> float:
        """Mean cross-entropy in nats per completion token; nothing is learned.

        Raises:
            ServerError: a helper died.
        """
        return sum(loss for loss, _ in self._ask(parts, weights, 0)) / _learned(parts)

    def _ask(
        self, parts: Sequence[Sequence[Tokens]], weights: Sequence[torch.Tensor], tokens: int
    ) -> list[tuple[float, torch.Tensor]]:
        """Every part's loss and gradient, in the order of the parts."""
        self.learner.take(weights)
        step = 1 + len(self._helpers)
        row = flat(weights) if self._helpers else torch.zeros(0)
        for i, helper in enumerate(self._helpers, start=1):
            helper.send(list(parts[i::step]), row, tokens)
        found = {i: _computed(self.learner, parts[i], tokens) for i in range(0, len(parts), step)}
        for i, helper in enumerate(self._helpers, start=1):
            found |= {j: helper.receive(tokens, len(row)) for j in range(i, len(parts), step)}
        return [found[i] for i in range(len(parts))]


def _learned(parts: Sequence[Sequence[Tokens]]) -> int:
    return sum(len(t.ids) - t.start for part in parts for t in part if not t.kept)


def _computed(learner: Learner, part: Sequence[Tokens], tokens: int) -> tuple[float, torch.Tensor]:
    return learner.gradients(part, tokens) if tokens else (learner.loss(part), torch.zeros(0))


class _Helper:
    """Another process with the same model."""

    def __init__(self, threads: int, job: Job) -> None:
        self._pipe, theirs = Pipe()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        # -P: a file of the current folder must not be taken for a module.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )
        theirs.close()
        self._try(lambda: self._pipe.send(job))

    def send(self, parts: list[Sequence[Tokens]], weights: torch.Tensor, tokens: int) -> None:
        self._try(lambda: self._pipe.send((parts, tokens)))
        self._try(lambda: self._pipe.send_bytes(weights.numpy().data.cast("B")))

    def receive(self, tokens: int, width: int) -> tuple[float, torch.Tensor]:
        loss = self._try(self._pipe.recv)
        if not tokens:
            return loss, torch.zeros(0)
        row = torch.empty(width)
        self._try(lambda: self._pipe.recv_bytes_into(row.numpy().data.cast("B")))
        return loss, row

    def _try(self, act: Any) -> Any:
        """Talk to it; its death becomes a sentence."""
        try:
            return act()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> OpsloreError | MemoryError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        code = self._process.poll()
        if code == -signal.SIGKILL:
            why = "it was killed; is memory short?"
        else:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {code}"
            if short := next((line for line in reversed(lines) if shortage.told(line)), ""):
                return MemoryError(f"a helping process ended: {short}")
        return ServerError(
            f"train: a helping process ended: {why}",
            hint="run the same command again, it goes on from the last checkpoint;"
            " OPSLORE_WORKERS=1 trains in one process and needs less memory",
            retryable=True,
        )

    def close(self) -> None:
        self._pipe.close()
        # It may be in the middle of a step, whose result nobody wants.
        self._process.kill()
        self._process.wait()
        self._said.close()


def _serve(pipe: Connection) -> None:
    """Compute what the other side asks for, until it is gone."""
    from opslore.trainers.learner import Learner as TorchLearner

    learner = TorchLearner(pipe.recv())
    while True:
        parts, tokens = pipe.recv()
        row = torch.empty(sum(w.numel() for w in learner.used))
        pipe.recv_bytes_into(row.numpy().data.cast("B"))
        learner.take(unflat(row, learner.used))
        for part in parts:
            loss, gradient = _computed(learner, part, tokens)
            pipe.send(loss)
            if tokens:
                pipe.send_bytes(gradient.numpy().data.cast("B"))


def main() -> None:
    """Be a helper: the file descriptor of the pipe is the only argument."""
    # Ctrl-C reaches every process of a terminal; the one that was started ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    machine.quiet()
    machine.tune()
    with contextlib.suppress(EOFError, ConnectionError):
        _serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
