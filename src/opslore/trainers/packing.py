"""Examples as one flat row of tokens: no padding between them, and attention that never mixes them.

A batch of prompts of 150 to 600 tokens wastes a third of its work when padded to the longest. Laid
end to end, each with its own positions, they cost what they hold (Krell et al. 2021,
arXiv 2107.02027).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any

import torch
from transformers import AttentionInterface

from opslore.cards import Example
from opslore.errors import DataError
from opslore.trainers import tricks

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
    shared: int = 0
    """Tokens at its start that every other example with such a start has too."""


@dataclass(frozen=True)
class Row:
    """A packed batch.

    Attributes:
        ids: [1, T] token ids.
        positions: [1, T] position of each token inside its own example.
        lines: T as a sum: what the examples share, then the rest of each, rounded up with filler.
        sharing: how many lines behind the first continue it; 0 where none does.
        learn: [L] places in the row whose next token is learned, rounded up.
        labels: [L] those next tokens; -100 where there is nothing to learn.
        keep: [K] places whose next token's probabilities are kept.
        read: the places of both, each once, in order; rounded up with others.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lines: list[int]
    sharing: int
    learn: torch.Tensor
    labels: torch.Tensor
    keep: torch.Tensor
    read: torch.Tensor


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


def sharing(examples: Sequence[Tokens]) -> list[Tokens]:
    """The same examples, which know how many tokens at their start all of them have."""
    columns = zip(*(tokens.ids[: max(0, tokens.start - 1)] for tokens in examples), strict=False)
    same = takewhile(lambda column: len(set(column)) == 1, columns)
    common = sum(1 for _ in same) if len(examples) > 1 else 0
    return [replace(tokens, shared=common) for tokens in examples]


def pack(batch: Sequence[Tokens], filler: int, grain: int = COMPILED) -> Row:
    """Lay examples end to end; every length is rounded up so that few shapes occur.

    Args:
        batch: the examples; those that share a start may stand anywhere among the others.
        filler: token id that fills lines up; it stands behind its example, where causality hides
            it, and is never learned.
        grain: what lengths are rounded up to a multiple of.
    """
    together = [t for t in batch if t.shared] if tricks.used("prefix") else []
    common = together[0].shared if len(together) > 1 else 0
    first = list(together[0].ids[:common]) if common else []
    others = [t for t in batch if not common or not t.shared]
    # (example, how many of its tokens stand in the first line)
    rows = [(t, common) for t in together if common] + [(t, 0) for t in others]
    ids, positions = list(first), list(range(common))
    learn: list[int] = []
    keep: list[int] = []
    labels: list[int] = []
    lines = [_up(len(tokens.ids) - done, grain) for tokens, done in rows]
    if not tricks.used("packing"):
        lines = [max(lines)] * len(lines)
    for width, (tokens, done) in zip(lines, rows, strict=True):
        offset, length = len(ids) - done, len(tokens.ids)
        ids += tokens.ids[done:] + [filler] * (width + done - length)
        positions += range(done, done + width)
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
        [common, *lines] if common else lines,
        len(together) if common else 0,
        torch.tensor(learn + [0] * idle),
        torch.tensor(labels + [-100] * idle),
        torch.tensor(keep, dtype=torch.long),
        _read(len(ids), {*learn, *keep, *([0] * bool(idle))}, grain),
    )


def _read(length: int, places: set[int], grain: int) -> torch.Tensor:
    """The places and as many others as a round number of them takes, in order."""
    wanted = min(length, _up(len(places), grain))
    others = (place for place in range(length) if place not in places)
    return torch.tensor(sorted(places | set(islice(others, wanted - len(places)))))


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
    sharing: int = 0,
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
        sharing: how many lines behind the first continue it.

    Returns:
        [1, T, heads, d], and no weights.
    """
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
    one = _matmuls if learns and tricks.used("attention") else _fused
    widths = list(lines) if lines is not None else [query.shape[2]]
    queries, keys, values = (torch.split(x, widths, dim=2) for x in (query, key, value))
    out = []
    for place, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
        if 0 < place <= sharing:
            k, v = torch.cat([keys[0], k], dim=2), torch.cat([values[0], v], dim=2)
        out.append(one(q, k, v, scale, sliding_window))
    return torch.cat(out, dim=2).transpose(1, 2), None


def _fused(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    plain = q.shape[2] == k.shape[2] and (window is None or window >= k.shape[2])
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=None if plain else _mask(q, k, window), is_causal=plain, scale=scale,
        enable_gqa=True,
    )  # fmt: skip


def _matmuls(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None
) -> torch.Tensor:
    mask, (heads, width, past) = _mask(q, k, window), (*q.shape[1:3], k.shape[2])
    # The query heads of a key head stand below each other: one matmul serves them all.
    q = (q * scale).reshape(1, k.shape[1], -1, q.shape[3])
    scores = torch.matmul(q, k.transpose(2, 3)).view(1, heads, width, past)
    weights = torch.softmax(scores + mask, dim=-1)
    return torch.matmul(weights.view(1, k.shape[1], -1, past), v).view(1, heads, width, -1)


def _mask(q: torch.Tensor, k: torch.Tensor, window: int | None) -> torch.Tensor:
    """[queries, keys], -inf where a query may not look, else 0; the last of both are one token."""
    place = torch.arange(k.shape[2], device=q.device)
    behind = place[-q.shape[2] :, None] - place[None, :]
    hidden = behind < 0 if window is None else (behind < 0) | (behind >= window)
    return torch.zeros_like(hidden, dtype=q.dtype).masked_fill_(hidden, float("-inf"))


AttentionInterface.register(ATTENTION, attention)
