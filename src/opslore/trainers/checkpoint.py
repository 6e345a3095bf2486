"""What survives a kill: the adapter, the optimiser and how far the run got."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from opslore import store

if TYPE_CHECKING:
    from opslore.trainers.loop import Run


def save(run: Run) -> None:
    """Keep adapter, optimiser and position; safetensors and JSON only, renamed into place."""
    tensors = dict(_state(run))
    folder = run.work / "scratch" / f"checkpoint-{run.step:06d}"
    temporary = folder.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / "state.safetensors")
    progress = {
        "step": run.step,
        "seconds": run.seconds,
        "best": None if math.isinf(run.best) else run.best,
        "worse": run.worse,
        "valid_loss": None if math.isnan(run.valid_loss) else run.valid_loss,
        "log": run.log,
    }
    (temporary / "progress.json").write_text(json.dumps(progress))
    for file in temporary.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    temporary.rename(folder)
    store.sync(folder.parent)
    for old in sorted(folder.parent.glob("checkpoint-*"))[:-2]:
        shutil.rmtree(old)


def _state(run: Run) -> Iterator[tuple[str, torch.Tensor]]:
    for name, weight in zip(run.names, run.master, strict=True):
        yield f"weight/{name}", weight.detach()
        for key, value in run.optimiser.state[weight].items():
            yield f"{key}/{name}", value


def load(run: Run) -> bool:
    """Take up the newest whole checkpoint; False if there is none."""
    found = sorted((run.work / "scratch").glob("checkpoint-??????"))
    if not found:
        return False
    tensors = load_file(found[-1] / "state.safetensors")
    progress = json.loads((found[-1] / "progress.json").read_text())
    with torch.no_grad():
        for name, weight in zip(run.names, run.master, strict=True):
            weight.copy_(tensors[f"weight/{name}"])
            run.optimiser.state[weight] = {
                key: tensors[f"{key}/{name}"].to("cpu" if key == "step" else run.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
    run.step = progress["step"]
    run.seconds = progress["seconds"]
    run.best = math.inf if progress["best"] is None else progress["best"]
    run.worse = progress["worse"]
    run.valid_loss = math.nan if progress["valid_loss"] is None else progress["valid_loss"]
    run.log = progress["log"]
    return True
