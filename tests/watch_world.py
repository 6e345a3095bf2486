"""A watched agent: a tiny real model that has learned its runbook by heart, released by `watch`.

The model has random weights and 90 steps of training. With one entry in the prompt and replies
limited to it, it answers about nine in ten questions right; decoding freely it says nothing of use,
so a person lets the gates pass that ask for that (G4, G7).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from flow_world import environment, runbook

from opslore import cli, config, overriding, steps, store
from opslore.cards import Bundle, Evaluation, Example, Result

AGENT = """\
name: tiny
base_model: tiny.gguf
collect: [{path: RUNBOOK.md}]
prepare: {s1: 24, s2: 3, s3: 6, s4: 3, phrasings: 2, calibrate: 40, entries: 1, unknown: 0,
          traps: 0, closed_book: 0, embedder: none}
train: {iters: 90, lora_layers: 2, lora_rank: 64, batch_size: 4, learning_rate: 2e-2, general: 0}
export: {quantization: f16, num_ctx: 2048}
evaluate:
  {max_tokens: 32, general: 2, risk: 1, parity: 1, base: 1, closed: 1, resamples: 100,
   gate: {recall: 0, unsafe: 100, unsafe_freely: 1, abstention: 1, false_escalation: 1,
          min_s1: 5, min_s3: 2, min_s4: 3, champion: 1, family_alerts: 99,
          forgetting: 1, perplexity: 1000000}}
"""

OLD, NEW = "velero backup get", "velero backup describe --details"
"""The command of BackupTooOld, and what it becomes."""


@dataclass
class Said:
    """What one call said."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class World:
    """A folder with a watched agent, and what was said on the way there."""

    folder: Path
    said: dict[str, Said] = field(default_factory=dict)

    def watch(self, *arguments: str) -> Said:
        """`opslore watch tiny.yaml --once` in this process, in this folder."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main(["watch", "tiny.yaml", "--once", *arguments])
        return Said(code, out.getvalue(), err.getvalue())

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The same in a process of its own, which can be ended."""
        return subprocess.Popen(
            [sys.executable, "-m", "opslore", "watch", "tiny.yaml", *arguments],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip

    def let_pass(self) -> None:
        """Ada lets the newest evaluation's gates pass."""
        with contextlib.chdir(self.folder):
            home = self.home
            bundle = home.latest(Bundle)
            found = [e for e in home.cards(Evaluation) if bundle.id in e.parents][-1]
            for gate in [gate.name for gate in found.gates if not gate.passed]:
                found = overriding.override(home, found, gate, "Ada", "a tiny model")

    def copy(self, to: Path) -> World:
        """This world once more, for a test that changes it."""
        shutil.copytree(self.folder, to, symlinks=True)
        return World(to, self.said)

    def change(self, *pairs: tuple[str, str]) -> None:
        """Change words of the runbook, each of which stands there once."""
        path = self.folder / "RUNBOOK.md"
        text = path.read_text()
        for old, new in pairs:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)

    def set(self, old: str, new: str) -> None:
        """Change the agent file."""
        path = self.folder / "tiny.yaml"
        assert path.read_text().count(old) == 1, old
        path.write_text(path.read_text().replace(old, new))

    @property
    def agent(self) -> config.Agent:
        return config.load(self.folder / "tiny.yaml")

    @property
    def home(self) -> store.Store:
        return store.Store(self.folder / "runs", "tiny")

    def files(self) -> dict[str, int]:
        """Every file of the store with the moment of its last change."""
        runs = self.folder / "runs"
        return {
            str(path.relative_to(runs)): path.stat().st_mtime_ns
            for path in sorted(runs.rglob("*"))
            if path.is_file() and path.suffix != ".lock"
        }

    def replies(self, version: str) -> dict[str, tuple[Example, Result]]:
        """The test prompts of a release with the replies as shipped, read from its files."""
        from opslore.cards import Dataset, Release

        release = next(card for card in self.home.cards(Release) if card.version == version)
        evaluation = steps.parent(self.home, release, Evaluation)
        dataset = self.home.path(steps.parent(self.home, evaluation, Dataset))
        examples = {
            example.id: example
            for split in ("s1", "s2", "s3", "s4", "s6")
            for example in store.read_rows(dataset / f"{split}.jsonl", Example)
        }
        found = store.read_rows(self.home.path(evaluation) / "results.jsonl", Result)
        return {
            row.example: (examples[row.example], row)
            for row in found
            if row.column == "constrained"
        }


def killed_at(process: subprocess.Popen[str], word: str) -> str:
    """Kill a process as soon as a line of its stdout begins with a word; all that it said."""
    lines = []
    timer = threading.Timer(300, process.kill)
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if line.startswith(word):
            os.kill(process.pid, signal.SIGKILL)
            break
    timer.cancel()
    process.communicate()
    return "".join(lines)


@pytest.fixture(scope="session")
def watch_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What can be made again is made again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def refused(tmp_path_factory: pytest.TempPathFactory, watch_cache: None) -> World:
    """The first look, whose release the gate refuses."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "tiny.yaml").write_text(AGENT)
    tiny_models.llama(folder / "tiny.gguf")
    world = World(folder)
    world.said["first"] = world.watch()
    return world


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, refused: World) -> World:
    """A person lets it pass, and the next look releases it."""
    world = refused.copy(tmp_path_factory.mktemp("released") / "world")
    world.let_pass()
    world.said["released"] = world.watch()
    return world


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory, released: World) -> World:
    """A command changed; the try was killed after its training, and begun again."""
    world = released.copy(tmp_path_factory.mktemp("changed") / "world")
    world.change((OLD, NEW))
    killed = killed_at(world.begin("--once"), "train ")
    world.said["killed"] = Said(-signal.SIGKILL, killed, "")
    world.said["begun again"] = world.watch()
    world.let_pass()
    world.said["changed"] = world.watch("--json")
    return world


@pytest.fixture(scope="session")
def unlearned(tmp_path_factory: pytest.TempPathFactory, released: World) -> World:
    """A command changed, an alert came and one went, and the training was far too short."""
    world = released.copy(tmp_path_factory.mktemp("unlearned") / "world")
    book = (world.folder / "RUNBOOK.md").read_text()
    gone = book[book.index("### Alert: NodeLoadHigh") : book.index("## storage")]
    fresh = "### Alert: FluxPaused\n\n**Symptoms:**\n- somebody paused the sync\n\n"
    fresh += "**Resolution:**\n```bash\nflux resume kustomization <name>\n```\n\n"
    world.change((OLD, NEW), (gone, ""), ("### Alert: FluxSource", fresh + "### Alert: FluxSource"))
    world.set("iters: 90", "iters: 1")
    world.said["refused now"] = world.watch("--json")
    world.let_pass()
    world.said["unlearned"] = world.watch()
    return world
