"""LoRA fine-tuning with MLX: Apple's GPU, or a Linux CPU (right there, not fast).

The loop, its optimiser and its checkpoints are every trainer's (loop.py, docs/decisions/0026); here
a loss and its gradient are computed with mlx-lm's model and mlx-lm's LoRA, one example after the
other: its models take no packed rows, and without padding nothing is computed in vain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# First of all, so that a missing package is told by the name of the one that brings the other.
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model

# isort: split
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten

from opslore.config import Train
from opslore.errors import ConfigError
from opslore.models import Base
from opslore.trainers import adapter, loop
from opslore.trainers.adapter import flat
from opslore.trainers.adapter import merge as merge
from opslore.trainers.packing import Tokens
from opslore.trainers.parallel import Team

MATRICES = {"lora_A.default.weight": "lora_a", "lora_B.default.weight": "lora_b"}
"""PEFT's names of the two matrices, and mlx-lm's, which holds each the other way round."""


def fit(
    train: Train, base: Base, dataset: Path, work: Path, progress: Any = None
) -> dict[str, Any]:
    """Fit a LoRA adapter to `dataset/train.jsonl`; a killed run goes on from its checkpoint.

    Leaves `adapter/` (PEFT folder, safetensors), `loss.jsonl` and `merged/` in `work`; takes,
    returns and raises what `loop.fit` does.
    """

    def team(mean: float, filler: int) -> Team:
        return Team(lambda: Learner(train, base))

    found = loop.fit(train, base, dataset, work, progress, team)
    merge(base, work / "adapter", work / "merged")
    return found


class Learner:
    """mlx-lm's model of the base with its own LoRA; what `parallel.Learner` says of it."""

    def __init__(self, train: Train, base: Base) -> None:
        """Load the base model and give it fresh adapter matrices.

        Args:
            train: hyper-parameters.
            base: the model to adapt.

        Raises:
            ConfigError: mlx-lm has no such model, or lays it out unlike transformers.
        """
        self.device = torch.device("cpu")  # of the sums and the optimiser
        self.blocks, matrices = adapter.matrices(train, base)
        self._model = _adapted(train, base)
        self._chosen = _Chosen(self._model.model.norm)
        self._model.model.norm = self._chosen
        self._lora = [m for m in self._model.modules() if "lora_a" in m]
        self._gradients = nn.value_and_grad(self._model, self._losses)
        self.names = list(matrices)
        self._own = [_own_name(name) for name in self.names]
        found = dict(tree_flatten(self._model.trainable_parameters()))
        told = {name: found[name].shape[::-1] for name in self._own if name in found}
        if set(told) != set(found) or list(told.values()) != list(matrices.values()):
            raise _unlike(base, f"{len(found)} matrices for {len(matrices)} of PEFT's")
        self.used = [_to_torch(found[name]) for name in self._own]

    def take(self, weights: Sequence[torch.Tensor]) -> None:
        """Use these values of the adapter's matrices."""
        arrays = [mx.array(w.detach().float().cpu().numpy().T) for w in weights]
        self._model.load_weights(list(zip(self._own, arrays, strict=True)), strict=False)

    def loss(self, examples: Sequence[Tokens]) -> float:
        """Sum of the cross-entropy over the completions' tokens, in nats; nothing is learned."""
        self._model.eval()
        return sum(float(self._learned(tokens)) for tokens in examples if not tokens.kept)

    def gradients(self, examples: Sequence[Tokens], tokens: int) -> tuple[float, torch.Tensor]:
        """The same sum, and the gradient of it and of what was forgotten, divided by `tokens`.

        Returns:
            The sum in nats, and one flat fp32 row on the CPU, in the order of `used`.
        """
        self._model.train()
        loss, total = 0.0, torch.zeros(sum(w.numel() for w in self.used))
        for example in examples:
            value, tree = self._gradients(example, tokens)
            found = dict(tree_flatten(tree))
            mx.eval(value, found)
            total += flat([_to_torch(found[name]) for name in self._own])
            loss += 0.0 if example.kept else float(value) * tokens
        # Examples of other lengths need other buffers: those of these would only pile up.
        mx.clear_cache()
        return loss, total

    def _losses(self, example: Tokens, tokens: int) -> mx.array:
        """What one example adds to the loss of a batch in which `tokens` are learned."""
        return mx.divide(
            self._forgotten(example) if example.kept else self._learned(example), tokens
        )

    def _logits(self, tokens: Tokens) -> mx.array:
        """[completion, words] in fp32; the head costs vocabulary x tokens, so others are left out.

        The causal mask, and the sliding one where a model has it, are mlx-lm's own.
        """
        self._chosen.start = tokens.start - 1
        logits: mx.array = self._model(mx.array([tokens.ids[:-1]]))[0]
        return logits.astype(mx.float32)

    def _learned(self, tokens: Tokens) -> mx.array:
        labels = mx.array(tokens.ids[tokens.start :])
        loss: mx.array = nn.losses.cross_entropy(self._logits(tokens), labels, reduction="sum")
        return loss

    def _forgotten(self, tokens: Tokens) -> mx.array:
        """KL(base || adapted) over the kept tokens in nats, as in learner.py."""
        scale = self._lora[0].scale
        self._scale(0.0)
        before = mx.stop_gradient(nn.log_softmax(self._logits(tokens), axis=-1))
        self._scale(scale)
        now = nn.log_softmax(self._logits(tokens), axis=-1)
        far: mx.array = (mx.exp(before) * (before - now)).sum()
        return far

    def _scale(self, scale: float) -> None:
        for layer in self._lora:
            layer.scale = scale


class _Chosen(nn.Module):  # type: ignore[misc]
    """A model's last norm, for the tokens from `start` on: the head then reads only these."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.start = 0

    def __call__(self, hidden: mx.array) -> mx.array:
        normed: mx.array = self.norm(hidden[:, self.start :])
        return normed


def _adapted(train: Train, base: Base) -> Any:
    """The base model with fresh LoRA matrices on its last `lora_layers` blocks."""
    gpu = mx.default_device().type == mx.DeviceType.gpu
    if not gpu:
        mx.disable_compile()  # on a CPU it would call a C++ compiler, where there is one
    try:
        model, _ = load_model(base.folder, model_config=_earlier(base.folder))
    except ValueError as error:
        raise _unlike(base, str(error).splitlines()[0]) from error
    if not hasattr(getattr(model, "model", None), "norm"):
        raise _unlike(base, f"its {type(model).__module__} is not laid out like Llama's")
    # A CPU multiplies fp32 as fast, and right; a GPU takes the model's own half precision.
    model.set_dtype(_half(base.folder) if gpu else mx.float32)
    model.freeze()
    mx.random.seed(train.seed)
    last = {
        name
        for layer in model.layers
        for name, module in layer.named_modules()
        if name.rpartition(".")[2] in adapter.PROJECTIONS and hasattr(module, "weight")
    }
    scale = train.lora_alpha / train.lora_rank
    settings = {"rank": train.lora_rank, "scale": scale, "dropout": 0.0, "keys": last}
    linear_to_lora_layers(model, train.lora_layers, settings)
    mx.eval(model.parameters())
    return model


def _half(folder: Path) -> Any:
    """The half precision a model was made in; bf16 where it does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    told = config.get("dtype") or config.get("torch_dtype")
    return mx.float16 if told == "float16" else mx.bfloat16


def _earlier(folder: Path) -> dict[str, Any]:
    """What transformers 5 writes under new names, under those that mlx-lm reads.

    Without them mlx-lm takes its defaults and computes another model, silently.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ropes = config.get("rope_parameters") or {}
    whole = ropes.get("full_attention", ropes)
    named = {
        "rope_theta": whole.get("rope_theta"),
        "rope_scaling": whole if whole.get("rope_type", "default") != "default" else None,
        "rope_local_base_freq": ropes.get("sliding_attention", {}).get("rope_theta"),
        "partial_rotary_factor": whole.get("partial_rotary_factor"),
        "sliding_window_pattern": config.get("_sliding_window_pattern"),
    }
    return {key: value for key, value in named.items() if value is not None and key not in config}


def _own_name(name: str) -> str:
    """mlx-lm's name for one of PEFT's matrices."""
    place = name.removeprefix("base_model.model.")
    for theirs, own in MATRICES.items():
        place = place.replace(theirs, own)
    return place


def _to_torch(matrix: mx.array) -> torch.Tensor:
    """A matrix of mlx-lm's LoRA as PEFT holds it, in fp32."""
    return torch.from_numpy(np.array(matrix.astype(mx.float32)).T.copy())


def _unlike(base: Base, why: str) -> ConfigError:
    return ConfigError(
        f"base_model {base.name}: mlx-lm cannot train it: {why}", hint="set train.backend: torch"
    )
