"""Examples as one flat row of tokens: no padding between them, and attention that never mixes them.

A batch of prompts of 150 to 600 tokens wastes a third of its work when padded to the longest. Laid
end to end, each with its own positions, they cost what they hold (Krell et al. 2021,
arXiv 2107.02027).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from opslore.cards import Example
from opslore.errors import DataError

ATTENTION = "opslore_packed"
"""Name of the attention below in transformers' registry."""

COMPILED, PLAIN = 64, 8
"""What counts of tokens and of targets are rounded up to. In bf16 on CPUs oneDNN compiles every
matmul of the model anew for each new shape, which takes as long as several steps; in fp32 nothing
is compiled, and what fills a row up is only work (docs/LOG.md)."""


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, and where its completion (the part that is learned) starts."""

    ids: list[int]
    start: int
    kept: bool = False
    """Nothing is learned here: the base model's probabilities of these tokens are to stay."""


@dataclass(frozen=True)
class Row:
    """A packed batch.

    Attributes:
        ids: [1, T] token ids.
        positions: [1, T] position of each token inside its own example.
        lines: T as a sum: the tokens of each example, rounded up with filler.
        learn: [L] places in the row whose next token is learned, rounded up.
        labels: [L] those next tokens; -100 where there is nothing to learn.
        keep: [K] places whose next token's probabilities are kept.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lines: list[int]
    learn: torch.Tensor
    labels: torch.Tensor
    keep: torch.Tensor


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
    """Token ids that end a turn: Gemma's, ChatML's and Llama's markers if known, and eos."""
    names = ["<end_of_turn>", "<|im_end|>", "<|eot_id|>"]
    # Not by get_vocab(): that copies the whole vocabulary, 25 ms for each example.
    found = [(name, tokenizer.convert_tokens_to_ids(name)) for name in names]
    ids = [i for name, i in found if i is not None and tokenizer.convert_ids_to_tokens(i) == name]
    return ids if tokenizer.eos_token_id is None else [*ids, tokenizer.eos_token_id]


def _render(tokenizer: Any, turns: list[dict[str, str]], ask: bool) -> list[int]:
    out = tokenizer.apply_chat_template(
        turns, add_generation_prompt=ask, tokenize=True, return_dict=False
    )
    return list(out)


def stratified(examples: Sequence[Tokens], size: int, rng: random.Random) -> list[list[Tokens]]:
    """Shuffled batches of nearly equal total length: each takes one example of every length band.

    What does not fill a last batch is left out of this epoch.
    """
    order = sorted(range(len(examples)), key=lambda i: (len(examples[i].ids), i))
    count = len(order) // size
    left_out = set(rng.sample(order, len(order) - count * size))
    order = [i for i in order if i not in left_out]
    bands = [order[band * count : (band + 1) * count] for band in range(size)]
    for band in bands:
        rng.shuffle(band)
    return [[examples[band[i]] for band in bands] for i in range(count)]


def pack(batch: Sequence[Tokens], filler: int, grain: int = COMPILED) -> Row:
    """Lay examples end to end; every length is rounded up so that few shapes occur.

    Args:
        batch: the examples.
        filler: token id that fills lines up; it stands behind its example, where causality hides
            it, and is never learned.
        grain: what lengths are rounded up to a multiple of.
    """
    ids: list[int] = []
    positions: list[int] = []
    learn: list[int] = []
    keep: list[int] = []
    labels: list[int] = []
    lines = [_up(len(tokens.ids), grain) for tokens in batch]
    for width, tokens in zip(lines, batch, strict=True):
        offset, length = len(ids), len(tokens.ids)
        ids += tokens.ids + [filler] * (width - length)
        positions += range(width)
        places = range(offset + tokens.start - 1, offset + length - 1)
        if tokens.kept:
            keep += places
        else:
            learn += places
            labels += tokens.ids[tokens.start :]
    idle = _up(len(learn), grain) - len(learn)
    return Row(
        torch.tensor([ids]),
        torch.tensor([positions]),
        lines,
        torch.tensor(learn + [0] * idle),
        torch.tensor(labels + [-100] * idle),
        torch.tensor(keep, dtype=torch.long),
    )


def _up(length: int, multiple: int) -> int:
    return length + -length % multiple


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lines: Sequence[int] | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each example of a packed row.

    Where nothing is learned below, the fused kernel; else explicit matmuls, because on CPUs the
    fused kernel's backward takes twice as long (docs/LOG.md).

    Args:
        module: the attention layer (unused, part of transformers' interface).
        query: [1, heads, T, d].
        key: [1, key heads, T, d].
        value: [1, key heads, T, d].
        attention_mask: always None here; the lines say which tokens see each other.
        scaling: factor on the scores, 1/sqrt(d) if None.
        sliding_window: tokens that a query looks back over, itself included; None is all.
        lines: T as a sum, one example each; None takes the whole row as one example.

    Returns:
        [1, T, heads, d], and no weights.
    """
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
    one = _matmuls if learns else _fused
    widths = list(lines) if lines is not None else [query.shape[2]]
    parts = (torch.split(x, widths, dim=2) for x in (query, key, value))
    out = [one(q, k, v, scale, sliding_window) for q, k, v in zip(*parts, strict=True)]
    return torch.cat(out, dim=2).transpose(1, 2), None


def _fused(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    windowed = window is not None and window < q.shape[2]
    mask = _mask(q.shape[2], window, q) if windowed else None
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=not windowed, scale=scale, enable_gqa=True
    )


def _matmuls(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    heads, width = q.shape[1], q.shape[2]
    # The query heads of a key head stand below each other: one matmul serves them all.
    q = (q * scale).reshape(1, k.shape[1], -1, q.shape[3])
    scores = torch.matmul(q, k.transpose(2, 3)).view(1, heads, width, width)
    weights = torch.softmax(scores + _mask(width, window, q), dim=-1)
    return torch.matmul(weights.view(1, k.shape[1], -1, width), v).view(1, heads, width, -1)


def _mask(length: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """[length, length], -inf where a query may not look, else 0."""
    place = torch.arange(length, device=like.device)
    behind = place[:, None] - place[None, :]
    hidden = behind < 0 if window is None else (behind < 0) | (behind >= window)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, float("-inf"))


AttentionInterface.register(ATTENTION, attention)
