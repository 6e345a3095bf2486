"""The adapter: which matrices of a model get one, and the PEFT folder that holds them.

Every trainer leaves the same folder, so that merging has one road whoever trained.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from opslore import modelfolder
from opslore.config import Train
from opslore.models import Base

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""The matrices of a block that get an adapter (all of them: Dettmers et al. 2023, section 4)."""


def settings(train: Train, blocks: int) -> LoraConfig:
    """The adapter of a model with this many blocks: matrices on its last `lora_layers` ones."""
    return LoraConfig(
        r=train.lora_rank,
        lora_alpha=float(train.lora_alpha),  # 16 and 16.0 are other bytes in the adapter's file
        target_modules=PROJECTIONS,
        layers_to_transform=list(range(max(0, blocks - train.lora_layers), blocks)),
        task_type="CAUSAL_LM",
    )


def matrices(train: Train, base: Base) -> tuple[int, dict[str, tuple[int, ...]]]:
    """How many blocks a model has, and PEFT's names and shapes of its adapter's matrices."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base.folder))
        blocks = model.config.get_text_config().num_hidden_layers
        adapted = get_peft_model(model, settings(train, blocks))
    named = adapted.named_parameters()
    return blocks, {name: tuple(w.shape) for name, w in named if w.requires_grad}


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors of any shape as one fp32 row on the CPU."""
    return torch.cat([t.detach().float().reshape(-1) for t in tensors]).cpu()


def unflat(row: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What `flat` took, in the shapes and on the devices of `like`."""
    parts = torch.split(row, [t.numel() for t in like])
    return [p.view(t.shape).to(t.device) for p, t in zip(parts, like, strict=True)]


def save(
    folder: Path, train: Train, base: Base, blocks: int, weights: Mapping[str, torch.Tensor]
) -> None:
    """Write a PEFT folder: the settings, and the matrices as fp32 safetensors.

    Args:
        folder: where to.
        train: hyper-parameters.
        base: the model that is adapted.
        blocks: how many blocks it has.
        weights: the matrices by PEFT's names for them (A: [rank, in], B: [out, rank]).
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = settings(train, blocks)
    # PEFT would write a set in any order, and this machine's path.
    config.target_modules, config.base_model_name_or_path = sorted(PROJECTIONS), base.name
    config.inference_mode = True
    config.save_pretrained(str(folder))
    # A file does not say which of a model's adapters it is.
    plain = {name.replace(".default.", "."): w.detach() for name, w in weights.items()}
    told = {name: weight.cpu().float().contiguous() for name, weight in plain.items()}
    save_file(told, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def merge(base: Base, adapter: Path, out: Path) -> None:
    """Add the adapter to the base weights in fp32 and save them as fp16 safetensors.

    Args:
        base: the model the adapter was trained on.
        adapter: PEFT folder.
        out: Hugging Face folder to write (config, tokenizer, model.safetensors).
    """
    # What trained is not needed any more: half a gigabyte for each 135 M parameters.
    gc.collect()
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    # 11 bits of mantissa against bf16's 8: the merged weights are no longer bf16 numbers.
    merged.to(torch.float16).save_pretrained(out, safe_serialization=True)
    AutoTokenizer.from_pretrained(base.folder).save_pretrained(out)
    modelfolder.keep_tokenizer(base.folder, out)
