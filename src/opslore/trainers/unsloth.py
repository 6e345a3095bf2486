"""LoRA fine-tuning on one NVIDIA card, the base model in 4 bit, with Unsloth's kernels.

Unsloth replaces parts of transformers for every model of its process, so the training has one of
its own (unsloth_process.py); what comes after it sees transformers as it is.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, cast

import torch

from opslore.config import Train
from opslore.errors import ConfigError, OpsloreError, ServerError
from opslore.files import cache
from opslore.models import Base
from opslore.trainers import tricks
from opslore.trainers.adapter import merge as merge

if not torch.cuda.is_available():
    raise ConfigError(
        "trainer 'unsloth' needs an NVIDIA card, and PyTorch sees none",
        hint="set train.backend: torch, which trains on any machine; where there is a card:"
        " pip install 'opslore[unsloth]'",
    )
if importlib.util.find_spec("unsloth") is None:
    raise ModuleNotFoundError("No module named 'unsloth'", name="unsloth")


def fit(
    train: Train, base: Base, dataset: Path, work: Path, progress: Any = None
) -> dict[str, Any]:
    """Fit a LoRA adapter to `dataset/train.jsonl`; a killed run goes on from its checkpoint.

    Leaves `adapter/` (PEFT folder, safetensors), `loss.jsonl` and `merged/` in `work`; takes,
    returns and raises what `loop.fit` does, and ServerError when its process ends early.
    """
    ours, theirs = Pipe()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__name__}_process", str(theirs.fileno())],
            env={**os.environ, **_settings()},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        theirs.close()
        try:
            ours.send((train, base, dataset, work))
            while isinstance(told := ours.recv(), tuple):
                if progress is not None:
                    progress(*told)
        except (EOFError, OSError) as error:
            process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {process.returncode}"
            raise ServerError(
                f"train: the process of Unsloth ended: {why}",
                hint="run the same command again, it goes on from the last checkpoint; a lower"
                " train.micro_batch needs less memory",
                retryable=True,
            ) from error
        finally:
            ours.close()
            process.kill()
            process.wait()
    if isinstance(told, OpsloreError):
        raise told
    merge(base, work / "adapter", work / "merged")
    return cast(dict[str, Any], told)


def _settings() -> dict[str, str]:
    """One card, nothing from the network and nothing told to it, no files in this folder."""
    return {
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
        "HF_HUB_OFFLINE": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "UNSLOTH_COMPILE_LOCATION": str(cache() / "unsloth"),
        # Its attention takes one example at a time, its blocks are its own.
        tricks.VARIABLE: "prefix,last",
    }
