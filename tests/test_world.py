"""From a runbook to a live answer in a real Ollama, through real S3 and MLflow servers, and back.

The model is the real one, trained on a small runbook. The second release differs in one command of
the runbook, so that the answer itself says which release is deployed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from flow_world import environment, runbook
from real.s3 import S3
from ruamel.yaml import YAML

pytest_plugins = ["real.fixtures"]

AGENT = """\
name: agent-sre
store: s3://ml-models
collect: [{{path: RUNBOOK.md}}]
prepare: {{phrasings: 8, s1: 24, s2: 3, s3: 8, s4: 6, calibrate: 30}}
train: {{learning_rate: 2e-3, iters: 48, lora_layers: 16, general: 0}}
evaluate:
  {{base: 12, closed: 2, general: 10, parity: 4, max_tokens: 48, resamples: 1000,
   gate: {{recall: 0, unsafe: 100, unsafe_freely: 1, abstention: 1, false_escalation: 1, parity: 0,
          min_s1: 10, min_s3: 2, min_s4: 6, champion: 1, family_alerts: 99,
          forgetting: 1, perplexity: 100}}}}
publish: {{registry: "{mlflow}"}}
deploy:
  - {{kind: ollama, url: "{ollama}"}}
  - {{kind: values, file: values.yaml, key: ollamaHub.agentModel}}
"""
VALUES = """\
# Which model the on-call bot asks.
ollamaHub:
  agentModel: llama3:8b   # moved by opslore
  replicas: 1
"""
QUESTION = "KubePodCrashLooping namespace=checkout pod=cart-6c9f7"
OLD = "kubectl logs <pod> -n <namespace> --previous"
NEW = "kubectl logs <pod> -n <namespace> --previous --tail=80"


@dataclass
class World:
    """A folder with an agent whose store, registry and model server are elsewhere."""

    folder: Path
    environment: dict[str, str]
    ollama: str
    said: list[str] = field(default_factory=list)

    def call(self, *arguments: str, code: int = 0) -> Any:
        """Call opslore as a user does; what it prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "opslore", *arguments, "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        self.said.append(done.stderr)
        assert done.returncode == code, done.stderr[-4000:]
        return json.loads(done.stdout)

    def values(self) -> str:
        return str(YAML().load(self.folder / "values.yaml")["ollamaHub"]["agentModel"])

    def latest(self) -> str:
        """What a plain client of Ollama gets when it asks for the model without a tag."""
        shown = httpx.post(f"{self.ollama}/api/show", json={"model": "agent-sre"}, timeout=30)
        shown.raise_for_status()
        return str(shown.json()["modelfile"])


class Reader:
    """Somebody who reads the values file and asks Ollama for the model all the time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: set[str] = set()
        self.missed: list[str] = []
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._end.is_set():
            try:
                self.seen.add(self.world.values())
                self.world.latest()
            except (httpx.HTTPError, OSError, KeyError, TypeError) as error:
                self.missed.append(repr(error))
            self.looks += 1
            self._end.wait(0.02)

    def stop(self) -> list[str]:
        """Every look that found nothing."""
        self._end.set()
        self._thread.join(60)
        return self.missed


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3, mlflow_server: str, ollama_server: str
) -> World:
    folder = tmp_path_factory.mktemp("world")
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "values.yaml").write_text(VALUES)
    (folder / "sre.yaml").write_text(AGENT.format(mlflow=mlflow_server, ollama=ollama_server))
    home = tmp_path_factory.mktemp("home")
    found = {
        **environment(),
        **s3_server.environment(),
        "OPSLORE_CACHE": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return World(folder, found, ollama_server)


def _everything_names(world: World, version: str) -> None:
    """Every place names this release, says `opslore status`."""
    found = world.call("status", "sre.yaml")["places"]
    assert found[0]["names"] == version
    assert [p["state"] for p in found if "@candidate" not in p["name"]] == ["ok"] * 5, found


@pytest.mark.slow
def test_from_a_runbook_to_a_live_answer_and_back(world: World) -> None:
    first = world.call("run", "sre.yaml")["release"]["version"]
    assert world.values() == f"agent-sre:{first}"
    answer = world.call("ask", "sre.yaml", "--server", "ollama", QUESTION)
    assert answer["command"] == "kubectl logs cart-6c9f7 -n checkout --previous"
    assert answer["alert"] == "KubePodCrashLooping"
    _everything_names(world, first)

    text = (world.folder / "RUNBOOK.md").read_text()
    assert text.count(OLD) == 1
    (world.folder / "RUNBOOK.md").write_text(text.replace(OLD, NEW))
    reader = Reader(world)
    second = world.call("run", "sre.yaml")["release"]["version"]
    assert second != first
    answer = world.call("ask", "sre.yaml", "--server", "ollama", QUESTION)
    assert answer["command"] == "kubectl logs cart-6c9f7 -n checkout --previous --tail=80"
    _everything_names(world, second)

    back = world.call("rollback", "sre.yaml")
    assert (back["from"], back["to"]) == (second, first)
    assert reader.stop() == []
    assert reader.seen == {f"agent-sre:{first}", f"agent-sre:{second}"}
    assert reader.looks > 100
    answer = world.call("ask", "sre.yaml", "--server", "ollama", QUESTION)
    assert answer["command"] == "kubectl logs cart-6c9f7 -n checkout --previous"
    _everything_names(world, first)
    assert "# moved by opslore" in (world.folder / "values.yaml").read_text()

    # What was taken back does not come again by itself.
    world.call("run", "sre.yaml", code=3)
    assert f"{second} was rolled back" in world.said[-1]
    _everything_names(world, first)
    secret = world.environment["AWS_SECRET_ACCESS_KEY"]
    assert all(secret not in said for said in world.said)
