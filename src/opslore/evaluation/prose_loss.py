"""Held-out loss of the trained and the base weights: nats per token of the reference answers.

Both sides read the same tokens, in float32 on a CPU (the merged weights are float16 numbers, which
bfloat16 would round once more) and in the trainer's type on a GPU.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslore.cards import Example, Result
from opslore.errors import DataError
from opslore.evaluation.replies import Log

if TYPE_CHECKING:
    import torch

UNLIMITED = 1 << 30
"""Tokens of an example; what is measured is not cut, and the model's own limit is not ours."""

Tick = Callable[[int], None]
"""Hears after each example how many are done."""


class Weights:
    """A Hugging Face folder that says how likely a text is."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Args:
            folder: config, weights and tokenizer.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from opslore.trainers.packing import ATTENTION

        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        kind = torch.float32
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            kind = torch.bfloat16
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=kind, attn_implementation=ATTENTION, local_files_only=True
        )
        self.model.to(self.device).eval()

    def __enter__(self) -> Weights:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Free the weights."""
        self.model = None

    def loss(self, example: Example) -> tuple[float, int]:
        """Sum of the cross-entropy over the reference answer in nats, and its tokens.

        Raises:
            DataError: the template does not fit, or the loss is not a number.
        """
        from opslore.trainers.packing import tokenize

        tokens = tokenize(self.tokenizer, example, UNLIMITED)
        wanted = tokens.ids[tokens.start :]
        logs = self.logs(tokens.ids[:-1], tokens.start - 1)
        nats = -float(sum(float(row[i]) for row, i in zip(logs, wanted, strict=True)))
        if not math.isfinite(nats):
            raise DataError(
                f"example {example.id}: the loss of {self.folder.name} is {nats}",
                hint="train again with a lower train.learning_rate",
            )
        return nats, len(wanted)

    def logs(self, ids: Sequence[int], first: int) -> torch.Tensor:
        """[T - first, vocabulary] log probabilities of what follows each token from `first` on."""
        import torch

        with torch.inference_mode():
            row = torch.tensor([list(ids)]).to(self.device)
            hidden = self.model.model(input_ids=row, use_cache=False).last_hidden_state[0]
            # The head costs vocabulary x tokens: a long question does not go through it.
            logits: torch.Tensor = self.model.lm_head(hidden[first:]).float()
            return logits.log_softmax(-1).cpu()


def measure(log: Log, column: str, among: Sequence[Example], folder: Path, tick: Tick) -> None:
    """Take the loss of what is not measured yet, keeping each example as it comes."""
    missing = [e for e in among if log.get(column, e.id) is None]
    done = len(among) - len(missing)
    tick(done)
    if not missing:
        return
    with Weights(folder) as weights:
        for example in missing:
            log.add(_result(column, example.id, *weights.loss(example)))
            tick(done := done + 1)


def measure_base(
    log: Log,
    column: str,
    among: Sequence[Example],
    folder: Callable[[], Path],
    kept: Path,
    tick: Tick,
) -> None:
    """The base model's losses; nothing that is trained changes them, so they are kept across runs.

    Args:
        log: the evaluation's replies.
        column: their column.
        among: the examples.
        folder: gives the base model's folder; not called when everything is there.
        kept: file that keeps them, of this base model alone.
        tick: hears how many are done.
    """
    kept.parent.mkdir(parents=True, exist_ok=True)
    with Log(kept) as known:
        for example in among:
            found = known.get(column, key(example))
            if found is not None and log.get(column, example.id) is None:
                log.add(found.model_copy(update={"example": example.id}))
        if any(log.get(column, e.id) is None for e in among):
            measure(log, column, among, folder(), tick)
        tick(len(among))
        for example in among:
            if known.get(column, key(example)) is None:
                found = log.found[column, example.id]
                known.add(found.model_copy(update={"example": key(example)}))


def key(example: Example) -> str:
    """What an example's loss depends on, beside the model."""
    told = json.dumps([m.model_dump() for m in example.messages])
    return hashlib.sha256(told.encode()).hexdigest()


def _result(column: str, example: str, nats: float, tokens: int) -> Result:
    scores = {"nats": nats, "tokens": float(tokens)}
    return Result(example=example, column=column, reply="", scores=scores)
