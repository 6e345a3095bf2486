"""How much memory a training takes at its peak, and which setting saves most of it.

Read in this order: `memory` (bytes by what holds them), `savings` (what to lower).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opslore.cards import Record
from opslore.config import Train
from opslore.trainers.estimate import Lengths, Shape

if TYPE_CHECKING:
    from opslore.trainers.packing import Tokens

MIB, GIB = 1 << 20, 1 << 30

PROGRAM = 840 * MIB
"""Resident bytes of a process that has imported torch, transformers and peft (docs/LOG.md)."""

SLACK = 1.9
"""Bytes of the heap for each byte of it that is in use at the peak (docs/LOG.md): what is freed in
another order than it was taken leaves holes, and `machine.tune` keeps them."""

LEARNED_LOGITS, KEPT_LOGITS = 4, 8
"""Copies, of 4 bytes, of a token's logits that live at once: logits, log-probabilities and their
gradients; of a kept token the base model's too, and the terms of the divergence."""

TOKEN = 36
"""Bytes of a token of a dataset: a Python number and its place in a list."""

STORED = 2
"""Bytes of a weight in the base model's file, which stays mapped while the model is there."""

QUANTIZED = 0.52
"""Bytes of a weight in NF4, its scales included (Dettmers et al. 2023, section 3: 4.127 bits)."""

PARTS = 6
"""Copies, of 4 bytes, of the adapter beside its gradients: the sums, AdamW's two moments, and the
rows in which processes exchange them."""

SHORTER = "prepare.entries"
"""The key that shortens examples; `train.max_length` only refuses the long ones. Its saving is that
of prompts of half the length."""


@dataclass(frozen=True)
class Place:
    """Where a training is computed.

    Attributes:
        kind: cpu, cuda or mps.
        width: bytes of a weight, and of a number that is computed with it.
        grain: what lengths are rounded up to a multiple of.
        processes: how many there are; on a CPU they share the base model's weights.
        mapped: whether the base model's file stays mapped while the model is there: one that was
            written from a GGUF does, as its norms are used as they lie in the file.
    """

    kind: str = "cpu"
    width: int = 4
    grain: int = 8
    processes: int = 1
    mapped: bool = True

    @property
    def host(self) -> bool:
        """Whether it computes in the memory in which its programs lie."""
        return self.kind != "cuda"


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak of a training, over all its processes."""

    program: int
    """Python and its libraries."""
    base: int
    """The base model, and its file where that stays mapped."""
    adapter: int
    """The adapter, its gradients and the optimiser."""
    activations: int
    """What the blocks with an adapter keep for the way down."""
    logits: int
    dataset: int
    loading: int
    """What reading the base model takes before, all in all."""
    merging: int
    """What adding the adapter to the base takes afterwards, all in all, in one process."""

    @property
    def training(self) -> int:
        """While it trains."""
        kept = self.program + self.base + self.adapter
        return kept + self.activations + self.logits + self.dataset

    @property
    def total(self) -> int:
        """The largest of loading, training and merging."""
        return max(self.loading, self.training, self.merging)


class Saving(Record):
    """A setting that needs less memory when it is lowered."""

    key: str
    value: int = 0
    """What it would be lowered to; 0 where that is not one number."""
    saved: int = 0
    """Bytes."""

    def told(self) -> str:
        """Such as `train.micro_batch to 1 (saves about 0.4 GiB)`."""
        value = f" to {self.value}" if self.value else ""
        return f"{self.key}{value} (saves about {self.saved / GIB:.1f} GiB)"


def memory(shape: Shape, train: Train, lengths: Lengths, place: Place) -> Memory:
    """Bytes at the peak, when every process has the longest part there can be.

    Args:
        shape: the base model's.
        train: hyper-parameters.
        lengths: the examples'.
        place: where it is computed.
    """
    parts = _parts(train, lengths, place)
    floats = [_activations(shape, train, part, place.grain) for part in parts]
    rows = [_logits(shape, part, place.grain) for part in parts]
    worst = max(range(len(parts)), key=lambda i: SLACK * floats[i] * place.width + rows[i] * 4)
    count, weights, several = shape.adapter(train), shape.parameters, place.processes
    program = PROGRAM if place.host else 0
    file = STORED * weights if place.host else 0
    base = weighs(shape, train, place)
    # One file of the type that is multiplied, whose pages all processes have (weights.py).
    shared = several > 1 and place.kind == "cpu" and not train.load_in_4bit
    copies = 1 if shared else several
    activations = round(SLACK * place.width * floats[worst])
    logits = 4 * rows[worst]
    adapter = count * (2 * place.width + 4)
    sums = 4 * count * (PARTS + len(parts))
    dataset = round(TOKEN * lengths.count * lengths.mean) if place.host else 0
    # The merged model is in fp32 and becomes fp16 matrix by matrix; what training took of the heap
    # is not given back, only large matrices are: the embedding.
    left = adapter + sums + activations + logits + dataset if place.host else 0
    merging = left + (4 + STORED) * weights + 2 * shape.words * shape.width
    return Memory(
        program=several * program,
        base=copies * (base + (file if place.mapped and not shared else 0)),
        adapter=several * adapter + sums,
        activations=several * activations,
        logits=several * logits,
        dataset=dataset,
        loading=several * program + copies * (file + base),
        merging=program + merging if place.host else 0,
    )


def weighs(shape: Shape, train: Train, place: Place) -> int:
    """Bytes of the base model's weights."""
    if not train.load_in_4bit:
        return place.width * shape.parameters
    blocks = shape.blocks * shape.block
    return place.width * (shape.parameters - blocks) + round(QUANTIZED * blocks)


def _parts(train: Train, lengths: Lengths, place: Place) -> list[list[Tokens]]:
    """The longest batch, divided as training divides it."""
    from opslore.trainers.parallel import divided

    each = _each(train, place) + train.general
    return divided(lengths.batch(train, longest=True), each)


def _each(train: Train, place: Place) -> int:
    import torch

    from opslore.trainers.loop import part

    return part(train, torch.device(place.kind))


def _up(length: int, grain: int) -> int:
    return length + -length % grain


def _activations(shape: Shape, train: Train, part: Sequence[Tokens], grain: int) -> float:
    """Numbers that the blocks with an adapter keep of a part for the way down.

    A block keeps of each token, when its own weights do not learn but an adapter's do: what goes
    into both norms and comes out of them, queries, keys, values and what attention makes of them,
    four rows of the feed-forward part, the adapters' inner rows, and the weights of attention.
    """
    lines = [_up(len(tokens.ids), grain) for tokens in part]
    asked, kept = shape.heads * shape.head, shape.key_heads * shape.head
    token = 4 * shape.width + 2 * asked + 2 * kept + 4 * shape.inner
    token += len(shape.matrices) * train.lora_rank
    if shape.normed:
        token += 2 * shape.width + asked + kept
    scores = shape.heads * sum(width**2 for width in lines)
    # Of one example's scores three are there at once: with and without the mask, and the weights.
    transient = 2 * shape.heads * max(lines) ** 2
    return shape.learned(train) * (token * sum(lines) + scores) + transient


def _logits(shape: Shape, part: Sequence[Tokens], grain: int) -> int:
    """Logits that are there at once, copies included."""
    learned = _up(sum(len(t.ids) - t.start for t in part if not t.kept), grain)
    kept = sum(len(t.ids) - t.start for t in part if t.kept)
    return shape.words * (LEARNED_LOGITS * learned + KEPT_LOGITS * kept)


def savings(shape: Shape, train: Train, lengths: Lengths, place: Place) -> list[Saving]:
    """What each setting would save when it is halved, the largest saving first."""
    now = memory(shape, train, lengths, place).total
    halved = {
        "micro_batch": max(1, _each(train, place) // 2),
        "batch_size": max(1, train.batch_size // 2),
        "lora_rank": max(1, train.lora_rank // 2),
        "lora_layers": max(1, shape.learned(train) // 2),
    }
    left = {
        Saving(key=f"train.{key}", value=value): memory(
            shape, train.model_copy(update={key: value}), lengths, place
        )
        for key, value in halved.items()
    }
    half = [(max(said + 1, tokens // 2), said) for tokens, said in lengths.lines]
    left[Saving(key=SHORTER)] = memory(shape, train, Lengths(half, lengths.count), place)
    if place.processes > 1:
        alone = replace(place, processes=1)
        left[Saving(key="OPSLORE_WORKERS", value=1)] = memory(shape, train, lengths, alone)
    told = [key.model_copy(update={"saved": now - less.total}) for key, less in left.items()]
    return sorted((one for one in told if one.saved > 0), key=lambda one: -one.saved)


def advice(found: Sequence[Saving]) -> str:
    """The settings to lower, the best two; a smaller model where none helps."""
    if not found:
        return "end other programs, or choose a smaller base_model"
    return f"lower {', or '.join(one.told() for one in found[:2])}"
