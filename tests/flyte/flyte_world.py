"""The small runbook of `flow_world` with two more sources, for both ways to Flyte."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import flow_world
import pytest
import tiny_models
from real import flyte1
from real.parts import tail

import opslore
from opslore import config, overriding, steps
from opslore.cards import Evaluation
from opslore.config import Agent

SOURCE = Path(opslore.__file__).parents[1]
AGENT = """\
name: tiny
base_model: tiny.gguf
collect:
  - {path: RUNBOOK.md}
  - {kind: docs, path: pages}
  - {kind: corrections, path: corrections.jsonl}
prepare: {s1: 6, s2: 2, s3: 4, s4: 3, phrasings: 1, calibrate: 0, embedder: none}
train: {iters: 1, lora_layers: 1, batch_size: 2, general: 0}
export: {quantization: f16, num_ctx: 2048}
evaluate:
  max_tokens: 8
  parity: 1
  base: 1
  closed: 1
  general: 2
  resamples: 100
  gate: {min_s1: 3, min_s3: 1, min_s4: 3, unsafe: 100, unsafe_freely: 1}
"""
PAGE = """\
# Disks

A disk that is almost full is first freed of old logs, then grown by a quarter of its size.

## Order

The node is drained before its disk is grown, and is let back when its pods can start again.
"""
QUESTION = "Who is called when the deploy key was refused?"
ANSWER = "The owner of the git server; the number is in the safe beside the door."
CORRECTION = {
    "conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]
}


def world(folder: Path) -> Path:
    """A folder with three sources, a tiny base model and an agent file."""
    (folder / "pages").mkdir(parents=True)
    (folder / "RUNBOOK.md").write_text(flow_world.runbook())
    (folder / "pages" / "disks.md").write_text(PAGE)
    (folder / "corrections.jsonl").write_text(json.dumps(CORRECTION) + "\n")
    (folder / "tiny.yaml").write_text(AGENT)
    tiny_models.llama(folder / "tiny.gguf")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a folder, as the working folder."""
    monkeypatch.chdir(world(tmp_path / "world"))
    return Path.cwd()


@dataclass
class Paraphraser:
    """An endpoint that answers every request with one status, and counts them."""

    status: int
    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def answering(status: int) -> Iterator[Paraphraser]:
    """Serve one on loopback."""
    it = Paraphraser(status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            it.asked.append(self.path)
            self.send_response(it.status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        it.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield it
        server.shutdown()


@pytest.fixture
def paraphraser(request: pytest.FixtureRequest) -> Iterator[Paraphraser]:
    """One that answers with the test's parameter."""
    with answering(request.param) as it:
        yield it


def rewording(it: Paraphraser) -> Agent:
    """The agent file with that endpoint."""
    given = config.load(Path("tiny.yaml")).model_dump()
    given["prepare"]["paraphraser"] = {"url": it.url, "model": "m"}
    return Agent.model_validate(given)


@pytest.fixture(scope="session", autouse=True)
def started() -> None:
    """Flyte 2 in this process, without a cluster."""
    import flyte

    flyte.init()


def local(task: Any, *values: Any) -> Any:
    """Run a Flyte 2 task here, as `flyte run --local` does; what it gives."""
    import flyte

    return flyte.with_runcontext(mode="local").run(task, *values).outputs()[0]


def pod(folder: Path, *words: str | Path, more: dict[str, str] | None = None) -> str:
    """Call one of Flyte 1's programs in a folder; what it said.

    Raises:
        AssertionError: it ended with another code than 0.
    """
    log = folder / "flyte1.log"
    with log.open("w") as file:
        done = subprocess.run(
            [str(flyte1.programs() / words[0]), *map(str, words[1:])],
            cwd=folder,
            env={**flyte1.environment(SOURCE), "HOME": str(folder), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, tail(log, 60)
    return log.read_text()


def let_pass() -> None:
    """Ada lets the tiny model of the working folder pass every gate that refuses it."""
    home = steps.store_of(config.load(Path("tiny.yaml")))
    evaluation = home.latest(Evaluation)
    for gate in [gate.name for gate in evaluation.gates if not gate.passed]:
        evaluation = overriding.override(home, evaluation, gate, "Ada", "a test of the flow")
