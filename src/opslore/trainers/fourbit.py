"""A base model in 4 bits (QLoRA): a third of the memory, for models that do not fit otherwise."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from opslore.errors import ConfigError, MissingExtra


def settings(device: torch.device, kind: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told to load weights as NF4 (Dettmers et al. 2023, section 3).

    Args:
        device: where the model computes; bitsandbytes has CUDA and CPU.
        kind: the type it multiplies in.

    Raises:
        ConfigError: Apple's GPU, which bitsandbytes does not know.
        MissingExtra: bitsandbytes is not installed.
    """
    if device.type == "mps":
        raise ConfigError(
            "train.load_in_4bit: bitsandbytes knows NVIDIA cards and CPUs, not Apple's GPU",
            hint="set train.load_in_4bit: false, or train.backend: mlx",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra(
            "train.load_in_4bit needs 'bitsandbytes'", hint="pip install 'opslore[4bit]'"
        )
    from transformers import BitsAndBytesConfig

    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=kind,
    )
    return {"quantization_config": quantized, "device_map": {"": device}}
