"""The trained weights themselves, before quantisation and GGUF: what parity is measured against.

Greedy decoding with transformers in float32, so that a difference from the GGUF is the GGUF's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore.cards import Message
from opslore.errors import DataError, MissingInput
from opslore.servers import Reply, margin

BATCH = 8
"""Prompts decoded together; their key-value cache stays under 200 MiB for a 135M model."""

WAY = 16
"""Tokens of a reply that are read for its margin; the escalation has half as many."""

_TURN_ENDS = ("<end_of_turn>", "<|im_end|>", "<|eot_id|>")
"""End-of-turn tokens of the Gemma, ChatML and Llama 3 templates."""


class Server:
    """A Hugging Face folder that answers conversations."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.json").is_file():
            raise MissingInput(
                f"{folder}: no model there (config.json is missing)",
                hint="run `opslore train AGENT.yaml` first",
            )
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.tokenizer.padding_side = "left"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # The merged fp16 numbers are exact in fp32; bf16 would round them once more and differ
        # from the GGUF by itself.
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        self.model.to(self.device).eval()
        self.stops = self._stops()

    def __enter__(self) -> Server:
        """Use the server in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the weights."""
        self.close()

    def close(self) -> None:
        """Free the weights."""
        self.model = None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, ready for the assistant's turn."""
        turns = [message.model_dump() for message in messages]
        return str(
            self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )

    def chat_many(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_tokens: int = 160,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Reply]:
        """Answer conversations in order, greedily, `BATCH` neighbours at a time.

        Conversations of like length should be neighbours: a batch is padded to its longest.

        Args:
            conversations: prompts that end with a user turn.
            max_tokens: longest reply in tokens.
            progress: hears how many are done.

        Raises:
            DataError: the model computed NaN or infinity.
        """
        for start in range(0, len(conversations), BATCH):
            batch = [self._encode(messages) for messages in conversations[start : start + BATCH]]
            yield from self._generate(batch, max_tokens)
            if progress is not None:
                progress(start + len(batch))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        # The template already wrote the special tokens; the tokenizer must not add them again.
        return list(self.tokenizer.encode(self.render(messages), add_special_tokens=False))

    def _generate(self, prompts: list[list[int]], max_tokens: int) -> list[Reply]:
        began = time.monotonic()
        longest = max(len(prompt) for prompt in prompts)
        pad = min(self.stops)
        ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                max_new_tokens=max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=None,
                pad_token_id=pad,
                eos_token_id=sorted(self.stops),
                return_dict_in_generate=True,
                output_scores=True,
            )
        found = [step.float().log_softmax(-1).topk(margin.TOP) for step in out.scores]
        logs = torch.stack([step.values[:, 0] for step in found], dim=1)
        if not bool(torch.isfinite(logs).all()):
            raise DataError("the trained weights compute NaN", hint="train again with a lower rate")
        seconds = (time.monotonic() - began) / len(prompts)
        rows = out.sequences[:, longest:].tolist()
        tops = [
            [self._step(row[i], step.values[place], step.indices[place])
             for i, step in enumerate(found[:WAY])]
            for place, row in enumerate(rows)
        ]  # fmt: skip
        return [
            self._reply(r, p, margin.margin(t), seconds)
            for r, p, t in zip(rows, logs.tolist(), tops, strict=True)
        ]

    def _step(self, token: int, logs: torch.Tensor, ids: torch.Tensor) -> margin.Step:
        """One token with the likeliest at its place; the end of a turn is no text."""
        words = [self.tokenizer.decode([i], skip_special_tokens=True) for i in ids.tolist()]
        said = self.tokenizer.decode([token], skip_special_tokens=True)
        return margin.Step(said, float(logs[0]), list(zip(words, logs.tolist(), strict=True)))

    def _reply(self, row: list[int], logs: list[float], sure: float, seconds: float) -> Reply:
        end = next((i for i, token in enumerate(row) if token in self.stops), None)
        kept = row if end is None else row[:end]
        made = len(kept) + (end is not None)
        return Reply(
            text=self.tokenizer.decode(kept, skip_special_tokens=False),
            stopped=end is not None,
            tokens=made,
            seconds=seconds,
            confidence=math.exp(sum(logs[:made]) / made),
            margin=sure,
        )

    def _stops(self) -> set[int]:
        named = self.model.generation_config.eos_token_id
        known = self.tokenizer.get_vocab()
        stops = {known[name] for name in _TURN_ENDS if name in known}
        stops |= set(named) if isinstance(named, list) else {named}
        stops.add(self.tokenizer.eos_token_id)
        stops.discard(None)
        if not stops:
            raise DataError("the trained model has no end of turn", hint="choose another base")
        return stops
