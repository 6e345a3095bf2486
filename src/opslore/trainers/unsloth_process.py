"""The process in which Unsloth trains: the shared loop over Unsloth's model."""

from __future__ import annotations

import contextlib
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

# Before transformers, parts of which it replaces.
from unsloth import FastLanguageModel

# isort: split
import torch
from transformers import AutoConfig

from opslore.errors import ConfigError, OpsloreError
from opslore.trainers import adapter, learner, loop
from opslore.trainers.packing import Row
from opslore.trainers.parallel import Job, Team


class Learner(learner.Learner):
    """Unsloth's model, base weights in 4 bit, and the gradients of one example after the other."""

    def __init__(self, job: Job) -> None:
        """Load the base model and give it fresh adapter matrices.

        Args:
            job: what is trained, and where it is computed.

        Raises:
            ConfigError: a card without bf16, or examples longer than the model reads.
        """
        super().__init__(job)
        self.grain = 1  # no filler: an example is computed at its own length

    def _adapted(self, job: Job) -> Any:
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError(
                f"trainer 'unsloth' needs bf16, and {torch.cuda.get_device_name()} has none",
                hint="set train.backend: torch, or take a card of 2020 (Ampere) or newer",
            )
        config = AutoConfig.from_pretrained(job.base.folder).get_text_config()
        longest = config.max_position_embeddings
        if job.train.max_length > longest:
            # Unsloth would stretch the positions, and the released model would not.
            raise ConfigError(
                f"train.max_length is {job.train.max_length}, {job.base.name} reads {longest}",
                hint=f"set train.max_length: {longest}",
            )
        model, _ = FastLanguageModel.from_pretrained(
            str(job.base.folder),
            max_seq_length=job.train.max_length,
            dtype=torch.bfloat16,
            load_in_4bit=True,
            use_exact_model_name=True,
            fix_tokenizer=False,
        )
        wanted = adapter.settings(job.train, config.num_hidden_layers)
        return FastLanguageModel.get_peft_model(
            model,
            r=wanted.r,
            lora_alpha=wanted.lora_alpha,
            target_modules=adapter.PROJECTIONS,
            layers_to_transform=wanted.layers_to_transform,
            random_state=job.train.seed,
        )

    def _hidden(self, row: Row) -> torch.Tensor:
        """What the last block says of each token: [T, width]; Unsloth's attention, by example.

        The head is not asked here: Unsloth's own forward gives empty logits in training.
        """
        inner = self.model.get_base_model().model
        parts = torch.split(row.ids.to(self.device), row.lines, dim=1)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            said = [inner(input_ids=ids, use_cache=False).last_hidden_state[0] for ids in parts]
        return torch.cat(said).to(torch.bfloat16)


def main() -> None:
    """Train what the pipe brings, and tell it of each step; its descriptor is the only argument."""
    # Ctrl-C reaches every process of a terminal; the one that was started ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(int(sys.argv[1]))
    train, base, dataset, work = pipe.recv()

    def step(done: int, total: int, loss: float) -> None:
        pipe.send((done, total, loss))

    def team(mean: float, filler: int) -> Team:
        return Team(lambda: Learner(Job(train, base, filler, "cuda:0")))

    with contextlib.suppress(BrokenPipeError):
        try:
            pipe.send(loop.fit(train, base, dataset, work, step, team))
        except OpsloreError as error:
            pipe.send(error)


if __name__ == "__main__":
    main()
