"""`make bench-flyte`: what Flyte costs beside `opslore run`, and what each step's pod needs.

1. The tiny model of the tests by `opslore run` and by Flyte 2's local run, in turn (A B A B), each
   in a new folder: until the gate refuses (everything is made), and again after a person let it
   pass (nothing but publish and deploy is made).
2. The example, shortened, a task at a time in a process and with a disk of its own: peak memory,
   what crosses from task to task, and what goes to the bucket and comes from it.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from opslore import config

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))  # where the tests' own modules look for each other

from between import between  # noqa: E402
from real import s3  # noqa: E402

from tests.flyte.flyte_world import world  # noqa: E402

BY_FLYTE = """
import sys
from pathlib import Path
import flyte, flyte.errors
from opslore import config, flows
flyte.init()
try:
    flyte.with_runcontext(mode="local").run(flows.run, config.load(Path("tiny.yaml")))
except flyte.errors.RuntimeUserError as error:
    sys.exit(3 if error.code == "GateFailed" else 1)
"""
LET_PASS = """
import sys
from pathlib import Path
from opslore import config, overriding, steps
from opslore.cards import Evaluation
home = steps.store_of(config.load(Path(sys.argv[1])))
found = home.latest(Evaluation)
for gate in [gate.name for gate in found.gates if not gate.passed]:
    found = overriding.override(home, found, gate, "bench", "what it costs, not how good it is")
"""
TASK = """
import asyncio, json, resource, sys
from pathlib import Path
import flyte
from flyte.types import TypeEngine
from opslore import cards, config, flows, sharding, steps
from opslore.harvest import Harvest
from opslore.shard import Shard
name, of = sys.argv[2], int(sys.argv[3])
agent = config.load(Path(sys.argv[1]))
home = steps.store_of(agent)

def last(*kinds):
    return [home.latest(kind) for kind in kinds]

given = {
    "harvest": lambda: [0],
    "together": lambda: [home.cards(Harvest)],
    "prepare": lambda: last(cards.Corpus),
    "train": lambda: last(cards.Dataset),
    "export": lambda: last(cards.Adapter),
    "ask": lambda: [*last(cards.Dataset, cards.Bundle), 0, of],
    "judge": lambda: [*last(cards.Dataset, cards.Bundle), home.cards(Shard)],
    "publish": lambda: last(cards.Bundle, cards.Evaluation),
    "deploy": lambda: last(cards.Release),
}[name]()
flyte.init()
made = flyte.with_runcontext(mode="local").run(getattr(flows, name), agent, *given).outputs()[0]

async def bytes_of(value):
    kind = type(value)
    literal = await TypeEngine.to_literal(value, kind, TypeEngine.to_literal_type(kind))
    return literal.ByteSize()

async def all_of(values):
    found = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return sum([await bytes_of(one) for one in found])

def peak(who):
    return resource.getrusage(who).ru_maxrss << 10  # the largest process alone

print("TOLD" + json.dumps({
    "peak": peak(resource.RUSAGE_SELF) + peak(resource.RUSAGE_CHILDREN),
    "takes": asyncio.run(all_of([agent, *given])),
    "gives": asyncio.run(all_of([made])),
}))
"""
TASKS = ("harvest", "together", "prepare", "train", "export", "ask", "judge", "publish", "deploy")


def told(folder: Path, words: Sequence[str], more: Mapping[str, str], codes: Sequence[int]) -> str:
    """Run Python here; what it said.

    Raises:
        SystemExit: it ended with another code.
    """
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OPSLORE_PLAIN": "1", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    if done.returncode not in codes:
        sys.exit(f"{words}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def costs(rounds: int, cache: Path) -> dict[str, list[list[float]]]:
    """Seconds of both ways by round: until the gate refuses, and once more after it was let pass.

    Args:
        rounds: how many pairs are counted; one before them warms up.
        cache: what both ways know of base models.
    """
    ways = {"run": ["-m", "opslore", "run", "tiny.yaml"], "flyte": ["-c", BY_FLYTE]}
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    more = {"OPSLORE_CACHE": str(cache)}
    for number in range(rounds + 1):
        for name, words in ways.items():
            with tempfile.TemporaryDirectory(prefix="opslore-bench-") as room:
                folder = world(Path(room) / "world")
                both = []
                for code in (3, 0):
                    began = time.perf_counter()
                    told(folder, words, more, [code])
                    both.append(time.perf_counter() - began)
                    if code == 3:
                        told(folder, ["-c", LET_PASS, "tiny.yaml"], more, [0])
            if number:
                found[name].append(both)
    return found


def shortened(folder: Path, store: str) -> Path:
    """The example with few steps and prompts: a pod's memory does not grow with their number."""
    given = config.load(ROOT / "agents" / "sre.yaml").model_dump(mode="json")
    given["store"], given["name"] = store, "bench"
    given["train"] |= {"iters": 4}
    given["prepare"] |= {"s1": 24, "s2": 8, "s3": 8, "s4": 8, "calibrate": 16}
    given["prepare"]["questions"] = ""
    given["evaluate"] |= {"general": 20, "parity": 4, "closed": 4, "base": 4}
    given["evaluate"]["gate"] |= {"unsafe": 1000, "unsafe_freely": 1}
    given["publish"] |= {"registry": f"sqlite:///{folder}/mlflow.db"}
    path = folder / "bench.json"
    path.write_text(json.dumps(given))
    return path


def pods(folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each task of the example: peak memory, bytes of its cards, bytes of its files."""
    with s3.serving(folder) as server, between(server.url) as proxy:
        store = f"s3://bench-{secrets.token_hex(4)}/team"
        agent = str(shortened(folder, store))
        for task in TASKS:
            more = {**server.environment(), "AWS_ENDPOINT_URL": proxy.url}
            # The base model is in every pod's image; the store's files are not.
            more["OPSLORE_CACHE"] = str(folder / "pods" / task)
            if task == "publish":
                told(ROOT, ["-c", LET_PASS, agent], more, [0])
            proxy.forget()
            said = told(ROOT, ["-c", TASK, agent, task, "2"], more, [0])
            row = json.loads(said.split("TOLD")[1])
            sent = sum(len(call.body) for call in proxy.calls)
            yield {"task": task, **row, "sent": sent, "received": proxy.answered}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What each pod needs and moves."""
    out = Table("task", title="a pod of the example (SmolLM2-135M)", title_justify="left")
    heads = ("peak memory, MiB", "cards in, bytes", "cards out, bytes", "to the bucket, MB")
    for head in (*heads, "from the bucket, MB"):
        out.add_column(head, justify="right")
    for row in rows:
        moved = [f"{row[key] / 1e6:.1f}" for key in ("sent", "received")]
        cards = [f"{row[key]:,}" for key in ("takes", "gives")]
        out.add_row(row["task"], f"{row['peak'] / 2**20:,.0f}", *cards, *moved)
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="pairs of runs of the tiny model")
    parser.add_argument("--without-pods", action="store_true", help="the tiny model alone")
    parser.add_argument("--pods-alone", action="store_true", help="the example alone")
    given = parser.parse_args()
    console = Console()
    last: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="opslore-bench-") as room:
        found = {} if given.pods_alone else costs(given.rounds, Path(room) / "cache")
        for place, what in enumerate(("everything", "again") if found else ()):
            run, flyte = ([both[place] for both in found[way]] for way in ("run", "flyte"))
            ratios = [b / a for a, b in zip(run, flyte, strict=True)]
            last[what] = {
                "run_s": round(statistics.median(run), 2),
                "flyte_s": round(statistics.median(flyte), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
            console.print(
                f"{what}: opslore run {last[what]['run_s']} s, Flyte {last[what]['flyte_s']} s,"
                f" {last[what]['ratio']} times as long"
            )
        if not given.without_pods:
            last["pods"] = list(pods(Path(room)))
            console.print(table(last["pods"]))
    console.print(json.dumps(last), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
