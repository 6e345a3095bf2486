"""How well a trained adapter says each validation example, whoever trained it.

Every trainer leaves the same PEFT folder, so PyTorch reads it, with the learner that trains here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors.torch import load_file
from transformers import AutoTokenizer

from opslore.cards import Example
from opslore.config import Train
from opslore.models import Base
from opslore.trainers.learner import Learner, device
from opslore.trainers.packing import tokenize
from opslore.trainers.parallel import Job


def losses(
    train: Train, base: Base, adapter: Path, examples: Sequence[Example]
) -> Iterator[tuple[float, int]]:
    """Of each example the sum of the cross-entropy in nats, and the tokens of its completion.

    Args:
        train: the settings that the adapter was trained with.
        base: the model that it was trained on.
        adapter: PEFT folder.
        examples: what is asked.

    Raises:
        DataError: an example is longer than `train.max_length`, or the template does not fit.
    """
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    learner = Learner(Job(train, base, tokenizer.eos_token_id or 0, str(device())))
    told = load_file(adapter / "adapter_model.safetensors")
    learner.take([told[name.replace(".default.", ".")] for name in learner.names])
    for example in examples:
        tokens = tokenize(tokenizer, example, train.max_length)
        yield learner.loss([tokens]), len(tokens.ids) - tokens.start
