"""The base's weights as a file of the type that is multiplied, which processes share.

Read as another type, the weights are every process's own copy; read as they are, they are pages of
one file that the system maps into each of them, and may drop when memory is short.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from opslore import models
from opslore.models import Base


def folder(base: Base, kind: torch.dtype) -> Path:
    """A folder with the base's weights in this type: its own, or one made once in the cache."""
    name = str(kind).removeprefix("torch.")
    if not base.digest or _is(base.folder, kind):
        return base.folder
    found = models.cache() / "models" / f"{base.digest}-{name}"
    if not found.is_dir():
        with models.made(found) as temporary:
            model = AutoModelForCausalLM.from_pretrained(
                base.folder, dtype=kind, local_files_only=True
            )
            model.save_pretrained(temporary)
    return found


def _is(folder: Path, kind: torch.dtype) -> bool:
    """Whether all its weights are of this type already."""
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            if any(file.get_tensor(name).dtype != kind for name in file.keys()):  # noqa: SIM118
                return False
    return True
