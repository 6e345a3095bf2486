"""Every kind of pointer at once: an Ollama fed by Jobs, a Helm release, a custom resource, a file.

S3, Ollama, Helm and the API server are real, and so is the program in a Job's pod: another process
with the container's own arguments and environment. The controllers and the kubelet are played.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ollama_world
import pytest
import yaml
from flow_world import environment
from real.s3 import S3
from release import release_world, test_helm
from release.job_player import Outcome, playing
from release.job_world import IMAGE, MANIFESTS

from opslore import steps
from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation, Message, Release
from opslore.cli import main
from opslore.config import Agent
from opslore.release import kubernetes
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client

pytest_plugins = ["real.fixtures"]

OBJECTS = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bots.joint.example.com}
spec:
  group: joint.example.com
  scope: Namespaced
  names: {plural: bots, singular: bot, kind: Bot, listKind: BotList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
BOT = """\
apiVersion: joint.example.com/v1
kind: Bot
metadata: {name: oncall}
spec: {ai: {model: "old:1"}}
"""
FILE = "bot:\n  model: old:1   # asked at night\n"


@dataclass
class Pod:
    """Runs a container of a Job as a kubelet would: its arguments, its environment, its scratch."""

    core: Any
    namespace: str
    room: Path
    refuses: str = ""
    """A word among the arguments of which a pod fails."""
    ran: list[list[str]] = field(default_factory=list)

    def __call__(self, container: dict[str, Any]) -> Outcome:
        words = container["args"]
        self.ran.append(words)
        if self.refuses and self.refuses in words:
            return Outcome(75, "error: Ollama does not answer\n")
        scratch = tempfile.mkdtemp(dir=self.room)
        found = {name: environment()[name] for name in ("PATH", "PYTHONPATH")}
        for source in container.get("envFrom", []):
            secret = self.core.read_namespaced_secret(source["secretRef"]["name"], self.namespace)
            found |= {name: base64.b64decode(raw).decode() for name, raw in secret.data.items()}
        found |= {e["name"]: e["value"].replace("/scratch", scratch) for e in container["env"]}
        command = [sys.executable, "-m", "opslore", *words]
        done = subprocess.run(command, env=found, capture_output=True, text=True, timeout=300)
        shutil.rmtree(scratch)
        return Outcome(done.returncode, done.stderr + done.stdout)


@dataclass
class World:
    """An agent file with four deploy targets, and everything that they name."""

    folder: Path
    helm: test_helm.World
    pod: Pod
    ollama: str
    agent: Agent
    capsys: pytest.CaptureFixture[str]

    def call(self, *words: str, code: int = 0) -> tuple[Any, str]:
        """Call opslore as a user does; what it prints as JSON, and what it says."""
        verb, *more = words
        found = main([verb, str(self.folder / "sre.yaml"), *more, "--json"])
        out, err = self.capsys.readouterr()
        assert found == code, err
        return json.loads(out) if out else None, err

    def names(self) -> dict[str, str]:
        """What every reader gets, asked without opslore's own code."""
        words = ["-n", self.helm.namespace, "get", "bot", "oncall", "-o", "json"]
        kubectl = self.helm.helm.with_name("kubectl")
        shown = subprocess.run([kubectl, *words], check=True, capture_output=True)
        values = yaml.safe_load((self.folder / "values.yaml").read_text())
        return {
            "file": yaml.safe_load((self.folder / "bot.yaml").read_text())["bot"]["model"],
            "object": json.loads(shown.stdout)["spec"]["ai"]["model"],
            "values": values["ollamaHub"]["agentModel"],
            "pods": self.helm.model(),
        }

    def all_name(self, version: str, says: str) -> None:
        """Every pointer names this version, for readers and for `opslore status`."""
        assert set(self.names().values()) == {f"sre:{version}"}
        assert self.says() == says
        places = self.call("status")[0]["places"]
        assert places[0]["names"] == version
        moving = [p for p in places if "@candidate" not in p["name"]]
        assert [p["state"] for p in moving] == ["ok"] * 6, moving

    def state(self) -> str:
        """What the pointer of the Ollama is now, in its own words."""
        with Client(self.ollama) as client:
            return client.tags()["sre:latest"]

    def says(self) -> str:
        with Server("sre:latest", url=self.ollama) as server:
            return server.chat([Message(role="user", content="disk?")]).text


def publish(agent: Agent, bundle: Path, number: int) -> str:
    """What the steps before leave, kept by the real store; then the real publish."""
    home = steps.store_of(agent)
    corpus, dataset, adapter, described, evaluation = release_world.cards(seed=str(number))
    common = {"id", "uri", "parents", "created", "made_with"}

    def adapted(work: Path) -> dict[str, Any]:
        (work / "adapter").mkdir()
        (work / "adapter" / "adapter_model.safetensors").write_bytes(os.urandom(20_000))
        return adapter.model_dump(exclude=common)

    def bundled(work: Path) -> dict[str, Any]:
        shutil.copytree(bundle, work, dirs_exist_ok=True)
        return described.model_dump(exclude=common)

    one = home.made(Corpus, number, [], lambda work: corpus.model_dump(exclude=common))
    two = home.made(Dataset, number, [one], lambda work: dataset.model_dump(exclude=common))
    three = home.made(Adapter, number, [two], adapted)
    four = home.made(Bundle, number, [three], bundled)
    judged = evaluation.model_dump(exclude=common)
    release = steps.publish(agent, four, home.made(Evaluation, number, [four], lambda work: judged))
    assert isinstance(release, Release)
    return release.version


def settings(folder: Path, namespace: str, ollama: str, chart: Path) -> Agent:
    upgrade = {"release": "todea", "chart": str(chart), "namespace": namespace, "timeout": 10}
    job = {"image": IMAGE, "namespace": namespace, "secret": "s3-login", "deadline": 120}
    return Agent(
        name="sre",
        base_model=str(release_world.model_folder(folder / "base", "apache-2.0")),
        collect=[{"path": str(folder / "RUNBOOK.md")}],
        store=f"s3://ml-{secrets.token_hex(6)}/team",
        publish={"registry": f"sqlite:///{folder}/mlflow.db"},
        deploy=[
            {"kind": "ollama", "url": ollama, "via": "job", "job": job},
            {"kind": "values", "file": str(folder / "bot.yaml"), "key": "bot.model"},
            {
                "kind": "resource",
                "api_version": "joint.example.com/v1",
                "resource": "Bot",
                "name": "oncall",
                "namespace": namespace,
            },
            {
                "kind": "values",
                "file": str(folder / "values.yaml"),
                "key": "ollamaHub.agentModel",
                "helm": upgrade,
            },
        ],
    )


@pytest.fixture
def world(
    kube_cluster: Path,
    helm: Path,
    kubectl: Path,
    s3_server: S3,
    ollama_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    from kubernetes.client import CoreV1Api

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kubernetes, "POLL", 0.1)
    homes = ("OPSLORE_CACHE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "HELM_CACHE_HOME")
    told = {name: str(tmp_path / name.lower()) for name in homes}
    for name, value in {**told, **s3_server.environment(), "KUBECONFIG": str(kube_cluster)}.items():
        monkeypatch.setenv(name, value)
    for name in ("OPSLORE_SIGNING_KEY", "OPSLORE_SIGNING_PASSWORD", "OPSLORE_TRUSTED_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPSLORE_OLLAMA_THREADS", "1")
    monkeypatch.setenv("PATH", str(helm.parent), prepend=":")

    namespace = f"j{secrets.token_hex(4)}"
    chart = test_helm.made_chart(tmp_path)
    (tmp_path / "values.yaml").write_text(test_helm.VALUES)
    (tmp_path / "bot.yaml").write_text(FILE)
    (tmp_path / "RUNBOOK.md").write_text("# Runbook\n")

    def apply(*words: object, text: str = "") -> None:
        command = [kubectl, *map(str, words)]
        subprocess.run(command, input=text, check=True, capture_output=True, text=True)

    apply("create", "namespace", namespace)
    apply("-n", namespace, "apply", "-f", MANIFESTS)
    login = [f"--from-literal={name}={value}" for name, value in s3_server.environment().items()]
    apply("-n", namespace, "create", "secret", "generic", "s3-login", *login)
    apply("apply", "-f", "-", text=OBJECTS)
    apply("wait", "--for=condition=Established", "crd/bots.joint.example.com", "--timeout=30s")
    apply("-n", namespace, "apply", "-f", "-", text=BOT)

    agent = settings(tmp_path, namespace, ollama_server, chart)
    (tmp_path / "sre.yaml").write_text(agent.model_dump_json())
    helms = test_helm.World(kube_cluster, helm, namespace)
    pod = Pod(CoreV1Api(helms.api), namespace, tmp_path)
    controller = threading.Thread(target=helms.control, daemon=True)
    controller.start()
    helms.run("install", "todea", chart, "-f", tmp_path / "values.yaml")
    with playing(kube_cluster, pod, tmp_path, namespace):
        yield World(tmp_path, helms, pod, ollama_server, agent, capsys)
    helms.stopped.set()
    controller.join(10)


@pytest.mark.slow
def test_two_releases_and_back_through_every_kind_of_pointer(world: World) -> None:
    assert set(world.names().values()) == {"old:1"}
    first = publish(world.agent, ollama_world.bundle(world.folder / "one"), 1)
    world.call("deploy")
    world.all_name(first, "df -h")
    uptime = ollama_world.bundle(world.folder / "two", ["up", "time", "Ġ-", "p"])
    second = publish(world.agent, uptime, 2)
    world.call("deploy")
    world.all_name(second, "uptime -p")
    assert sum(words[0] == "install" for words in world.pod.ran) == 2

    # One target fails while all go back: the pods of the first release do not become ready any
    # more. The others had moved already; all of them are put back, and it is said why.
    world.helm.dead = first
    _, said = world.call("rollback", code=75)
    assert "`helm upgrade todea`" in said
    assert "Helm release todea was rolled back" in said
    assert "could not be put back" not in said
    world.all_name(second, "uptime -p")

    # The same, and Ollama does not answer when its pointer is to be put back.
    world.pod.refuses = state = world.state()
    _, said = world.call("rollback", code=1)
    assert "`helm upgrade todea`" in said
    assert f"sre:latest (Job in {world.helm.namespace}) could not be put back to {state}" in said
    assert "error: Ollama does not answer" in said
    assert "opslore status" in said
    assert set(world.names().values()) == {f"sre:{second}"}
    assert world.says() == "df -h"
    found, _ = world.call("status")
    wrong = [place for place in found["places"] if place["state"] not in ("ok", "empty")]
    assert [place["should"] for place in wrong] == [state]
    assert wrong[0]["mend"] == "opslore deploy AGENT.yaml --again"
    (failed,) = [job for job in found["jobs"] if job["state"] == "failed"]
    assert "Ollama does not answer" in failed["reason"]

    # What status says mends it, does.
    world.pod.refuses = ""
    world.call("deploy", "--again")
    world.all_name(second, "uptime -p")

    # And when nothing fails, all go back together.
    world.helm.dead = "dead"
    back, _ = world.call("rollback")
    assert (back["from"], back["to"], len(back["moved"])) == (second, first, 6)
    world.all_name(first, "df -h")
    assert (world.folder / "bot.yaml").read_text() == FILE.replace("old:1", f"sre:{first}")
    world.call("deploy", code=3)  # what was taken back does not come again by itself
    world.all_name(first, "df -h")
