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

ROUND_ROW, ROUND_LINE, ROUND_LEARN = 256, 128, 64
"""Row, line and target counts are rounded up to these: on CPUs oneDNN compiles every matmul of the
model anew for each new shape, which takes as long as several steps (docs/LOG.md)."""


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, and where its completion (the part that is learned) starts."""

    ids: list[int]
    start: int


@dataclass(frozen=True)
class Grid:
    """Where each token of a packed row stands when every example gets a line of its own.

    Attributes:
        lines: B, examples in the row.
        width: W, the longest example rounded up to a multiple of 128.
        gather: [B * W] place in the row of each cell (0 for an empty cell).
        back: [T] cell of each token of the row (0 for filler).
    """

    lines: int
    width: int
    gather: torch.Tensor
    back: torch.Tensor

    def to(self, device: torch.device) -> Grid:
        """The same grid on another device."""
        return Grid(self.lines, self.width, self.gather.to(device), self.back.to(device))


@dataclass(frozen=True)
class Row:
    """A packed batch.

    Attributes:
        ids: [1, T] token ids; T is a multiple of 256.
        positions: [1, T] position of each token inside its own example.
        grid: the same tokens line by line, for attention.
        learn: [L] places in the row whose next token is learned; L is a multiple of 64.
        labels: [L] those next tokens; -100 where there is nothing to learn.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    grid: Grid
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
    """Token ids that end a turn: Gemma's, ChatML's and Llama's markers if known, and eos."""
    names = ["<end_of_turn>", "<|im_end|>", "<|eot_id|>"]
    known = tokenizer.get_vocab()
    ids = [known[name] for name in names if name in known]
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


def pack(batch: Sequence[Tokens], filler: int, least: int = 0) -> Row:
    """Lay examples end to end; every length is rounded up so that few shapes occur.

    Args:
        batch: the examples.
        filler: token id that fills the row up; it is never learned and never attended to.
        least: tokens a row has at least.
    """
    width = _up(max(len(tokens.ids) for tokens in batch), ROUND_LINE)
    ids: list[int] = []
    positions: list[int] = []
    learn: list[int] = []
    labels: list[int] = []
    gather: list[int] = []
    back: list[int] = []
    for line, tokens in enumerate(batch):
        offset, length = len(ids), len(tokens.ids)
        ids += tokens.ids
        positions += range(length)
        learn += range(offset + tokens.start - 1, offset + length - 1)
        labels += tokens.ids[tokens.start :]
        gather += [*range(offset, offset + length), *[0] * (width - length)]
        back += range(line * width, line * width + length)
    rest = _up(max(len(ids), least), ROUND_ROW) - len(ids)
    idle = _up(len(learn), ROUND_LEARN) - len(learn)
    return Row(
        torch.tensor([ids + [filler] * rest]),
        torch.tensor([positions + [0] * rest]),
        Grid(len(batch), width, torch.tensor(gather), torch.tensor(back + [0] * rest)),
        torch.tensor(learn + [0] * idle),
        torch.tensor(labels + [-100] * idle),
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
    grid: Grid | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each example of a packed row.

    Explicit matmuls on lines of equal width: on CPUs the fused kernel has the slower backward, and
    a matmul per example length would be compiled anew for each (docs/LOG.md).

    Args:
        module: the attention layer (unused, part of transformers' interface).
        query: [1, heads, T, d].
        key: [1, key heads, T, d].
        value: [1, key heads, T, d].
        attention_mask: always None here; the grid says which tokens see each other.
        scaling: factor on the scores, 1/sqrt(d) if None.
        sliding_window: tokens that a query looks back over, itself included; None is all.
        grid: where each token stands; None takes the whole row as one example.

    Returns:
        [1, T, heads, d], and no weights.
    """
    if grid is None:
        place = torch.arange(query.shape[2], device=query.device)
        grid = Grid(1, query.shape[2], place, place)
    groups = query.shape[1] // key.shape[1]
    q, k, v = (_lines(x, grid) for x in (query, key, value))
    # An empty cell stands behind its line's tokens: causality alone hides it from them.
    q = q.reshape(grid.lines, key.shape[1], groups * grid.width, -1)
    scores = torch.matmul(q, k.transpose(2, 3))
    scores = scores.view(grid.lines, key.shape[1], groups, grid.width, grid.width)
    hidden = _hidden(grid.width, sliding_window, query.device)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    scores = torch.where(hidden, float("-inf"), scores * scale)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype)
    out = torch.matmul(weights.view(grid.lines, key.shape[1], groups * grid.width, -1), v)
    out = out.view(grid.lines, query.shape[1], grid.width, -1).transpose(1, 2)
    return out.reshape(grid.lines * grid.width, query.shape[1], -1)[grid.back][None], None


def _lines(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """[1, heads, T, d] to [B, heads, W, d]."""
    spread = x[0].index_select(1, grid.gather)
    return spread.view(x.shape[1], grid.lines, grid.width, -1).transpose(0, 1)


def _hidden(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """[length, length], True where a query may not look."""
    place = torch.arange(length, device=device)
    behind = place[:, None] - place[None, :]
    hidden = behind < 0
    return hidden if window is None else hidden | (behind >= window)


AttentionInterface.register(ATTENTION, attention)
