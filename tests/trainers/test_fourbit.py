"""A base model in 4 bits, by bitsandbytes' own kernels for CPUs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from base_models import model_cache, tiny_llama  # noqa: F401
from test_adapter import TINY, dataset  # noqa: F401
from transformers import AutoModelForCausalLM

from opslore.errors import ConfigError, MissingExtra
from opslore.models import Base
from opslore.trainers import fourbit, parallel
from opslore.trainers import torch as backend
from opslore.trainers.learner import Learner

QUANTIZED = TINY.model_copy(update={"load_in_4bit": True, "iters": 30})


def bytes_of(learner: Learner) -> int:
    blocks = learner.model.get_base_model().model.layers
    return sum(w.numel() * w.element_size() for w in blocks.parameters() if not w.requires_grad)


def test_the_base_is_small_and_learns_all_the_same(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    jobs = (parallel.Job(t, tiny_llama, 2, "cpu") for t in (TINY, QUANTIZED))
    whole, small = (Learner(job) for job in jobs)
    assert bytes_of(small) < bytes_of(whole) / 4
    assert all(w.dtype == torch.float32 for w in small.used)
    backend.fit(QUANTIZED, tiny_llama, dataset, tmp_path / "w")
    rows = [json.loads(line) for line in (tmp_path / "w" / "loss.jsonl").open()]
    assert sum(r["loss"] for r in rows[-5:]) < 0.8 * sum(r["loss"] for r in rows[:5])


def test_what_is_merged_are_the_whole_weights(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    backend.fit(QUANTIZED.model_copy(update={"iters": 1}), tiny_llama, dataset, tmp_path / "w")
    models = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for folder in (tiny_llama.folder, tmp_path / "w" / "merged")
    )
    plain, merged = (cast(dict[str, Any], model.state_dict()) for model in models)
    name = "model.embed_tokens.weight"
    assert torch.equal(plain[name].half(), merged[name].half())
    # One step at the start of the warm-up moves a matrix by less than 4 bits would.
    for name, weight in plain.items():
        assert float((merged[name] - weight).abs().max()) < 0.02, name


def test_apples_gpu_and_a_missing_package_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not Apple's GPU") as caught:
        fourbit.settings(torch.device("mps"), torch.float32)
    assert "train.backend: mlx" in caught.value.hint
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    with pytest.raises(MissingExtra, match="load_in_4bit needs 'bitsandbytes'") as missing:
        fourbit.settings(torch.device("cpu"), torch.float32)
    assert missing.value.hint == "pip install 'opslore[4bit]'"
