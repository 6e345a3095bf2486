"""How the adapter is trained: the section `train` of the agent file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opslore.config_section import Section


class Train(Section):
    """LoRA fine-tuning."""

    backend: str = "torch"
    """`torch` (any machine), `mlx` (Apple's GPU; right but slow on a Linux CPU), `unsloth` (one
    NVIDIA card, the base in 4 bit), or a dotted path to a module of your own."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Peak learning rate of AdamW; cosine to a tenth after a short warm-up."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4
    """Examples per optimiser step."""
    micro_batch: Annotated[int, Field(ge=0)] = 0
    """Examples computed at once; the gradients of a batch are added up over such parts. Fewer take
    less memory and learn the same; 0: two on a CPU, an equal share of the batch on each GPU."""
    load_in_4bit: bool = False
    """Base weights in 4 bits while training (QLoRA): a third of the memory, for models that do not
    fit otherwise. What is shipped is made of the whole weights and the adapter."""
    general: Annotated[int, Field(ge=0, le=64)] = 2
    """Everyday replies of the base model and paragraphs of English, in turn, whose probabilities
    each step keeps; without any the model forgets everything but commands."""
    iters: Annotated[int, Field(ge=1)] = 300
    """Optimiser steps."""
    lora_layers: Annotated[int, Field(ge=1)] = 16
    """Transformer blocks that get an adapter, counted from the last."""
    lora_rank: Annotated[int, Field(ge=1, le=512)] = 8
    """Rank r of the update BA; parameters grow linearly with it (Hu et al. 2021, section 4)."""
    lora_alpha: Annotated[float, Field(gt=0)] = 16.0
    """Scale of the update is alpha / r (Hu et al. 2021, section 4.1)."""
    max_length: Annotated[int, Field(ge=64)] = 2048
    """Longest example in tokens; a longer one is an error, never cut."""
    warmup: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Share of the steps that warm the learning rate up."""
    save_every: Annotated[int, Field(ge=1)] = 50
    """Steps between checkpoints; a killed run goes on from the last one."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after so many validations without a better loss; 0 never stops early."""
    seed: int = 0
    """Seed of the adapter's first weights and of the order of the examples."""
