"""The tensors of a merged Hugging Face folder, one at a time."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from opslore.errors import IntegrityError, MissingInput


def names(folder: Path) -> list[str]:
    """The names of all tensors, over all weight files."""
    return list(_places(folder, _stamp(folder)))


def shape(folder: Path, name: str) -> tuple[int, ...]:
    """A tensor's shape, rows last, without reading it."""
    return _places(folder, _stamp(folder))[name][1]


def values(folder: Path, name: str) -> Any:
    """A tensor as a float32 numpy array; bfloat16 and float16 are widened, which is exact."""
    import torch
    from safetensors import safe_open

    file = _places(folder, _stamp(folder))[name][0]
    with safe_open(file, framework="pt") as opened:
        return opened.get_tensor(name).to(torch.float32).numpy()


def _stamp(folder: Path) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in sorted(folder.glob("*.safetensors")))


@lru_cache(maxsize=4)
def _places(folder: Path, stamp: tuple[int, ...]) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Which file holds which tensor, and its shape; `stamp` makes a changed folder a new one."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    found[name] = file, tuple(opened.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise IntegrityError(f"{file}: {error}", hint="merge the adapter again") from error
    if not found:
        raise MissingInput(
            f"{folder}: no *.safetensors there", hint="run `opslore train AGENT.yaml` first"
        )
    return found
