"""Examples as one flat row of tokens: no padding between them, and attention that never mixes them.

A batch of prompts of 150 to 600 tokens wastes a third of its work when padded to the longest. Laid
end to end, each with its own positions, they cost what they hold (Krell et al. 2021,
arXiv 2107.02027).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from opslore.cards import Example
from opslore.errors import DataError

ATTENTION = "opslore_packed"
"""Name of the attention below in transformers' registry."""

ROUND = 64
"""Row lengths are rounded up to this many tokens: oneDNN compiles a kernel per new shape."""


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, and where its completion (the part that is learned) starts."""

    ids: list[int]
    start: int


@dataclass(frozen=True)
class Row:
    """A packed batch.

    Attributes:
        ids: [1, T] token ids.
        positions: [1, T] position of each token inside its own example.
        lengths: length of each example, then of the filler; they sum to T.
        learn: [L] places in the row whose next token is learned.
        labels: [L] those next tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: list[int]
    learn: torch.Tensor
    labels: torch.Tensor


def tokenize(tokenizer: Any, example: Example, max_length: int) -> Tokens:
    """Render an example with the tokenizer's own chat template and find its completion.

    The completion includes the end-of-turn token: a model that never learns to stop, never stops.

    Raises:
        DataError: the template does not extend the prompt, never ends the turn, or the example is
            longer than `max_length` tokens.
    """
    turns = [m.model_dump() for m in example.messages]
    prompt = _render(tokenizer, turns[:-1], ask=True)
    whole = _render(tokenizer, turns, ask=False)
    if whole[: len(prompt)] != prompt:
        raise DataError(
            f"example {example.id}: the chat template does not extend the prompt by the answer",
            hint="choose a base model whose template appends the assistant turn",
        )
    ends = set(turn_ends(tokenizer))
    last = next((i for i in range(len(whole) - 1, len(prompt), -1) if whole[i] in ends), None)
    if last is None:
        raise DataError(
            f"example {example.id}: the chat template writes no end of turn after the answer",
            hint="choose an instruct model, or give the tokenizer an eos_token its template uses",
        )
    if last + 1 > max_length:
        raise DataError(
            f"example {example.id}: {last + 1} tokens, train.max_length is {max_length}",
            hint="raise train.max_length or lower prepare.entries",
        )
    return Tokens(whole[: last + 1], len(prompt))


def turn_ends(tokenizer: Any) -> list[int]:
    """Token ids that end a turn: the eos token, and Gemma's and ChatML's markers if known."""
    names = ["<end_of_turn>", "<|im_end|>", "<|eot_id|>"]
    known = tokenizer.get_vocab()
    ids = [known[name] for name in names if name in known]
    return ids or ([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else [])


def _render(tokenizer: Any, turns: list[dict[str, str]], ask: bool) -> list[int]:
    out = tokenizer.apply_chat_template(
        turns, add_generation_prompt=ask, tokenize=True, return_dict=False
    )
    return list(out)


def pack(batch: Sequence[Tokens], filler: int) -> Row:
    """Lay examples end to end and fill the row up to a multiple of 64 tokens."""
    ids: list[int] = []
    positions: list[int] = []
    learn: list[int] = []
    labels: list[int] = []
    lengths: list[int] = []
    for tokens in batch:
        offset = len(ids)
        ids += tokens.ids
        positions += range(len(tokens.ids))
        lengths.append(len(tokens.ids))
        learn += range(offset + tokens.start - 1, offset + len(tokens.ids) - 1)
        labels += tokens.ids[tokens.start :]
    if rest := -len(ids) % ROUND:
        ids += [filler] * rest
        positions += range(rest)
        lengths.append(rest)
    return Row(
        torch.tensor([ids]),
        torch.tensor([positions]),
        lengths,
        torch.tensor(learn),
        torch.tensor(labels),
    )


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lengths: Sequence[int] = (),
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each example of a packed row.

    Args:
        module: the attention layer (unused, part of transformers' interface).
        query: [1, heads, T, d]; key and value: [1, key heads, T, d].
        key: see query.
        value: see query.
        attention_mask: always None here; `lengths` says which tokens see each other.
        scaling: factor on the scores, 1/sqrt(d) if None.
        sliding_window: tokens that a query looks back over, itself included; None is all.
        lengths: tokens per example, summing to T.

    Returns:
        [1, T, heads, d], and no weights.
    """
    groups = query.shape[1] // key.shape[1]
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    out = []
    for q, k, v in zip(*(x.split(list(lengths), dim=2) for x in (query, key, value)), strict=True):
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        # Explicit matmuls: on CPUs the backward of the fused kernel is the slower one (docs/LOG.md).
        scores = torch.matmul(q, k.transpose(2, 3)) * scale
        scores = scores.masked_fill(_hidden(q.shape[2], sliding_window, q.device), float("-inf"))
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        out.append(torch.matmul(weights, v))
    return torch.cat(out, dim=2).transpose(1, 2), None


def _hidden(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """[length, length], True where a query may not look."""
    place = torch.arange(length, device=device)
    behind = place[:, None] - place[None, :]
    hidden = behind < 0
    return hidden if window is None else hidden | (behind >= window)


AttentionInterface.register(ATTENTION, attention)
