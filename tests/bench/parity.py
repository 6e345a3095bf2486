"""`make parity`: the example's model as trained, in llama.cpp, and in a live Ollama.

The first two answered when the example was evaluated; only Ollama is asked anew. It is the one that
OLLAMA_HOST names, or one that is started here. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from opslore import config, config_deploy, progress, steps
from opslore.evaluation import parity
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged
from opslore.release.version import version
from opslore.store import sha256

ROOT = Path(__file__).parents[2]


@contextmanager
def ollama() -> Iterator[str]:
    """The Ollama of OLLAMA_HOST, or a fresh one that ends with the block."""
    if named := os.environ.get("OLLAMA_HOST", ""):
        yield named
        return
    from tests.real import ollama as real

    with real.serving() as url:
        yield url


def measured(agent: config.Agent, url: str) -> parity.Parity:
    """Install the example's newest bundle in an Ollama, and ask it."""
    dataset = steps.prepare(agent, steps.collect(agent))
    bundle = steps.export(agent, steps.train(agent, dataset))
    evaluation = steps.evaluate(agent, dataset, bundle)
    home = steps.store_of(agent)
    files, name = home.path(bundle), version(bundle.id, bundle.created)
    target = OllamaTarget(config_deploy.Ollama(url=url), agent.name)
    started = time.monotonic()
    target.stage(Staged(agent.name, name, files, str(files), sha256(files / "model.gguf")))
    console().print(f"installed and proved in {time.monotonic() - started:.1f} s")
    results = home.path(evaluation) / "results.jsonl"
    model = f"{target.model}:{name}"

    def told(column: str, done: int, total: int) -> None:
        progress.report("parity", done, total, column)

    return parity.parity(agent, home.path(dataset), files, results, url, model, told)


def console() -> Console:
    return Console(stderr=True, highlight=False)


def main() -> None:
    """Print what differs, then one line of JSON; exit code 1 when a gate would say no."""
    out = console()

    def show(what: str, done: int, total: int, note: str) -> None:
        out.print(f"{what} {done}/{total} {note}", end="\r")

    os.chdir(ROOT)
    with progress.listening(show), ollama() as url:
        found = measured(config.load(ROOT / "agents" / "sre.yaml"), url)
    out.print()
    for line in found.differ:
        out.print(line, markup=False)
    out.print(
        f"{found.model}: {found.prompts} prompts; as trained: llama.cpp {found.gguf}, Ollama"
        f" {found.ollama}; Ollama as llama.cpp {found.between}; prompts equal byte by byte"
        f" {found.rendered}; stopped {found.stops}; median {found.seconds} s"
    )
    print(json.dumps(found.line()))
    if not found.passed():
        sys.exit(1)


if __name__ == "__main__":
    main()
