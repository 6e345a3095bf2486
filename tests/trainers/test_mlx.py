"""MLX against plain transformers with PEFT, and against mlx-lm's own fuse()."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_gemma, tiny_llama  # noqa: F401
from safetensors.torch import load_file
from test_adapter import TINY, dataset, plain_gradients  # noqa: F401

from opslore.config import Train
from opslore.errors import ConfigError
from opslore.models import Base
from opslore.trainers import adapter, loop, parallel
from opslore.trainers.packing import Tokens

if os.environ.get("CI") != "true" or (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.importorskip("mlx_lm", reason="pip install 'opslore[mlx]'", exc_type=ImportError)

from opslore.trainers import mlx

WIDE = TINY.model_copy(update={"lora_layers": 7})


def a_run(train: Train, base: Base, dataset: Path, work: Path) -> loop.Run:
    """A training whose matrices hold something: B starts as zeros, and A then has no gradient."""

    def team(mean: float, filler: int) -> parallel.Team:
        return parallel.Team(lambda: mlx.Learner(train, base))

    run = loop.Run(train, base, dataset, work, team)
    rng = torch.Generator().manual_seed(4)
    for weight in run.used:
        weight.copy_(torch.randn(weight.shape, generator=rng) * 0.1)
    run.master = [weight.detach().clone() for weight in run.used]
    return run


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma"])
def test_gradients_are_those_of_peft(
    family: str, request: pytest.FixtureRequest, dataset: Path, tmp_path: Path
) -> None:
    base: Base = request.getfixturevalue(family)
    run = a_run(WIDE, base, dataset, tmp_path / "work")
    batch = [run.examples[i] for i in (1, 8)]
    # Of the kept tokens few, because the head reads all of them.
    kept = [Tokens(run.examples[2].ids[:24], 9, kept=True)]
    loss, found = run.team.gradients([[batch[0], kept[0]], [batch[1]]], run.master)
    assert loss == pytest.approx(run.team.loss([batch], run.master), rel=1e-5)
    expected = plain_gradients(run, base, batch, kept)
    assert set(expected) == set(run.names)
    for name, gradient in zip(run.names, found, strict=True):
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 1e-3, name


def test_the_merged_folder_is_what_mlx_lm_fuses(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    run = a_run(WIDE, tiny_llama, dataset, tmp_path / "work")
    run.team.learner.take(run.master)
    model = run.team.learner._model
    fused = [(n, m.fuse()) for n, m in model.named_modules() if hasattr(m, "fuse")]
    assert len(fused) == 14
    theirs = {name: mlx._to_torch(linear.weight).T for name, linear in fused}
    weights = dict(zip(run.names, run.master, strict=True))
    adapter.save(tmp_path / "adapter", WIDE, tiny_llama, 2, weights)
    mlx.merge(tiny_llama, tmp_path / "adapter", tmp_path / "merged")
    ours = load_file(tmp_path / "merged" / "model.safetensors")
    plain = load_file(tiny_llama.folder / "model.safetensors")
    changed = 0
    for name, _ in fused:
        merged = ours[f"{name}.weight"].float()
        assert torch.allclose(merged, theirs[name], rtol=2**-10, atol=1e-6), name
        changed += int(not torch.allclose(merged, plain[f"{name}.weight"].float(), atol=1e-2))
    assert changed == len(fused)


def test_a_model_that_mlx_lm_does_not_know_is_told_before_anything_long(
    tiny_llama: Base, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_llama.folder, folder)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "opt"}))
    with pytest.raises(ConfigError, match="base_model odd: mlx-lm cannot train it: ") as caught:
        mlx.Learner(TINY, Base("odd", folder, None, "", ""))
    assert caught.value.hint == "set train.backend: torch"
