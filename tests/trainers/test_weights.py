"""The base's weights in the type that is multiplied: one file for every process."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_llama  # noqa: F401
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from opslore.models import Base
from opslore.trainers import weights

LOADED = (
    "import sys, torch; from transformers import AutoModelForCausalLM\n"
    "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)\n"
    "model(torch.tensor([[5, 6, 7]]))\n"
    "print(open('/proc/self/smaps').read())\n"
)


@pytest.fixture
def halves(tiny_llama: Base, tmp_path: Path) -> Base:
    """A base whose file is of another type than processors without bf16 multiply."""
    config = AutoConfig.from_pretrained(tiny_llama.folder)
    config.hidden_size, config.intermediate_size = 256, 8192
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.half().save_pretrained(tmp_path / "halves")
    return replace(tiny_llama, folder=tmp_path / "halves", digest=tmp_path.name)


def test_weights_of_another_type_are_written_once(halves: Base) -> None:
    found = weights.folder(halves, torch.float32)
    assert found != halves.folder
    file = found / "model.safetensors"
    before = file.stat().st_mtime_ns
    read, kept = load_file(halves.folder / "model.safetensors"), load_file(file)
    assert read.keys() == kept.keys()
    assert all(torch.equal(read[name].float(), kept[name]) for name in read)
    assert weights.folder(halves, torch.float32) == found
    assert file.stat().st_mtime_ns == before
    # What is of the type already, and what has no digest to be known by, stays where it is.
    assert weights.folder(halves, torch.float16) == halves.folder
    assert weights.folder(replace(halves, digest=""), torch.float32) == halves.folder


def kilobytes(field: str, part: str) -> int:
    found = re.search(rf"^{field}: +(\d+) kB", part, re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")
def test_processes_that_load_them_share_their_pages(halves: Base) -> None:
    shared = {}
    for folder in (halves.folder, weights.folder(halves, torch.float32)):
        maps = subprocess.run(
            [sys.executable, "-c", LOADED, str(folder)], capture_output=True, text=True, check=True
        ).stdout
        parts = re.split(r"^[0-9a-f]+-[0-9a-f]+ ", maps, flags=re.MULTILINE)
        named = [part for part in parts if str(folder / "model.safetensors") in part]
        shared[folder] = sum(kilobytes("Rss", p) - kilobytes("Anonymous", p) for p in named)
    copied, mapped = shared.values()
    size = (weights.folder(halves, torch.float32) / "model.safetensors").stat().st_size / 1024
    assert mapped > 0.8 * size
    assert copied < 0.1 * size
