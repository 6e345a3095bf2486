"""What a step of a training computes, from numbers alone: nothing is loaded.

The memory it takes is counted in footprint.py, the seconds in forecast.py; docs/decisions/0028 says
how exact they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opslore.config import Train

if TYPE_CHECKING:
    from opslore.trainers.packing import Tokens

REPLY, PARAGRAPH = (71, 34), (60, 59)
"""Tokens, and those of them that are kept, of an everyday reply and of a paragraph that ride beside
a batch: means of the 119 replies of SmolLM2 and of as many paragraphs."""


CHARACTERS, TURNS = 3.5, 24
"""Characters of a token of a prompt, and tokens of the chat template around the prompt and its
answer: the example's prompts have 3.56 in SmolLM2's tokens and 3.95 in Gemma 3's, who count 24."""


@dataclass(frozen=True)
class Shape:
    """What of a base model decides how much is computed.

    Attributes:
        width: numbers that stand for a token between blocks (hidden size).
        inner: the same inside a block's feed-forward part.
        blocks: transformer blocks.
        heads: query heads of a block.
        key_heads: key and value heads of a block.
        head: numbers of a head.
        words: vocabulary.
        tied: whether the output matrix is the embedding's.
        normed: whether queries, keys and what a part of a block adds are normalised too (Gemma 3).
    """

    width: int
    inner: int
    blocks: int
    heads: int
    key_heads: int
    head: int
    words: int
    tied: bool = True
    normed: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """The shape that a config.json tells."""
        text = config.get("text_config", config)
        heads = text["num_attention_heads"]
        return cls(
            width=text["hidden_size"],
            inner=text["intermediate_size"],
            blocks=text["num_hidden_layers"],
            heads=heads,
            key_heads=text.get("num_key_value_heads") or heads,
            head=text.get("head_dim") or text["hidden_size"] // heads,
            words=text["vocab_size"],
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
            normed=str(text.get("model_type", "")).startswith("gemma3"),
        )

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """(in, out) of a block's seven: query, key, value, output, gate, up, down."""
        asked, kept = self.heads * self.head, self.key_heads * self.head
        attention = [(self.width, asked), (self.width, kept), (self.width, kept)]
        feed = [(self.width, self.inner), (self.width, self.inner), (self.inner, self.width)]
        return [*attention, (asked, self.width), *feed]

    @property
    def block(self) -> int:
        """Weights of a block's matrices."""
        return sum(a * b for a, b in self.matrices)

    @property
    def parameters(self) -> int:
        """Weights of all matrices; the norms' are too few to count."""
        return self.blocks * self.block + (1 if self.tied else 2) * self.words * self.width

    def learned(self, train: Train) -> int:
        """Blocks that get an adapter."""
        return min(train.lora_layers, self.blocks)

    def adapter(self, train: Train) -> int:
        """Weights of the adapter."""
        return self.learned(train) * train.lora_rank * sum(a + b for a, b in self.matrices)


@dataclass(frozen=True)
class Lengths:
    """How long the examples are.

    Attributes:
        lines: (tokens, tokens of the completion) of each example, or of some of them.
        count: how many examples there are.
    """

    lines: list[tuple[int, int]]
    count: int

    @classmethod
    def guessed(cls, texts: Sequence[tuple[int, int]], count: int) -> Lengths:
        """From (characters of the prompt, of the answer), where no tokenizer is at hand."""
        said = [(asked, 1 + round(answer / CHARACTERS)) for asked, answer in texts]
        return cls([(TURNS + round(a / CHARACTERS) + s, s) for a, s in said], count)

    @property
    def mean(self) -> float:
        """Tokens of an example."""
        return sum(tokens for tokens, _ in self.lines) / len(self.lines)

    @property
    def said(self) -> float:
        """Tokens of a completion."""
        return sum(said for _, said in self.lines) / len(self.lines)

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(tokens for tokens, _ in self.lines)

    def batch(self, train: Train, longest: bool = False) -> list[Tokens]:
        """A batch as training draws it: one example of each length band, and what is beside it.

        Args:
            train: hyper-parameters.
            longest: of each band the longest example, else one of its mean length.
        """
        from opslore.trainers.packing import Tokens

        rows, size = sorted(self.lines), train.batch_size
        out = []
        for band in range(size):
            last = max(1, -(-(band + 1) * len(rows) // size))
            some = rows[min(band * len(rows) // size, last - 1) : last]
            tokens = some[-1][0] if longest else round(sum(t for t, _ in some) / len(some))
            said = max(s for _, s in some) if longest else sum(s for _, s in some) / len(some)
            out.append(Tokens([0] * tokens, max(1, tokens - round(said))))
        for place in range(train.general):
            tokens, said = PARAGRAPH if place % 2 else REPLY
            out.append(Tokens([0] * tokens, tokens - said, kept=True))
        return out


@dataclass(frozen=True)
class Work:
    """Multiplications and additions of a step, by what they are for."""

    frozen: float
    """Matrices below the first adapter, forward; and of all blocks, for what is kept."""
    learned: float
    """Matrices of the blocks with an adapter, forward and backward."""
    attention: float
    head: float
    """Logits of the completions, forward and backward."""
    lora: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.frozen + self.learned + self.attention + self.head + self.lora


def work(shape: Shape, train: Train, batch: Sequence[Tokens]) -> Work:
    """What a step cannot do without: no filler, no unread logits.

    A weight takes two for each token on the way up and two on the way down; a learned one two more.
    """
    blocks, learned = shape.blocks, shape.learned(train)
    kept = [t for t in batch if t.kept]
    tokens, again = (sum(len(t.ids) for t in some) for some in (batch, kept))
    said, twice = (sum(len(t.ids) - t.start for t in some) for some in (batch, kept))
    pairs, more = (
        sum(len(t.ids) ** 2 / 2 for t in some) * shape.heads * shape.head for some in (batch, kept)
    )
    return Work(
        frozen=2.0 * shape.block * ((blocks - learned) * tokens + blocks * again),
        learned=4.0 * shape.block * learned * tokens,
        attention=4.0 * (pairs * (blocks + 2 * learned) + more * blocks),
        head=2.0 * shape.words * shape.width * (2 * said + twice),
        lora=6.0 * shape.adapter(train) * tokens,
    )


def looking(shape: Shape, train: Train, batch: Sequence[Tokens]) -> float:
    """Multiplications and additions of the loss of examples from which nothing is learned."""
    tokens, said = sum(len(t.ids) for t in batch), sum(len(t.ids) - t.start for t in batch)
    pairs = sum(len(t.ids) ** 2 / 2 for t in batch) * shape.heads * shape.head
    matrices = shape.block * shape.blocks + shape.adapter(train)
    head = shape.words * shape.width * said
    return 2.0 * (matrices * tokens + head) + 4.0 * pairs * shape.blocks
