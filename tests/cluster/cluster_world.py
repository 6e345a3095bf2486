"""Releases in a bucket, and somebody who may deploy them to a cluster, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ollama_world
import pytest
import tiny_models
from between import Between
from flow_world import environment, runbook
from real.node import Node
from real.s3 import S3
from release import release_world

from opslore import steps, store
from opslore.cards import Adapter, Bundle
from opslore.config import Agent

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "import.yaml"
NAMESPACE, SECRET = "models", "s3-login"
IMAGE = "localhost/opslore:dev"
SAYS = {"df -h": ollama_world.SAYS, "uptime -p": ["up", "time", "Ġ-", "p"]}
"""What the model of each release answers, whatever it is asked."""


@dataclass(frozen=True)
class World:
    """A folder with an agent file, and the servers around it."""

    folder: Path
    environment: Mapping[str, str]
    kubectl: Path
    node: Node
    s3: S3
    bucket: Between
    """How the pods reach the bucket."""
    ollama: Between
    """How the pods reach Ollama."""

    def call(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Call opslore as a user does."""
        done = subprocess.run(
            [sys.executable, "-m", "opslore", *arguments, "--json"],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stderr[-6000:]
        return done

    def kube(self, *arguments: str | Path, body: Any = None) -> str:
        """Call kubectl as the cluster's administrator, in the namespace of the Jobs."""
        words = [self.kubectl, "--kubeconfig", self.node.kubeconfig, "-n", NAMESPACE]
        given = None if body is None else json.dumps(body)
        done = subprocess.run(
            [*words, *arguments], input=given, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind in the namespace of the Jobs, the oldest first."""
        found = self.kube("get", kind, "-o", "json", "--sort-by=.metadata.creationTimestamp")
        return list(json.loads(found)["items"])

    def tell_secret(self, secret_key: str) -> None:
        """Give the Jobs their login for the bucket."""
        login = {**self.s3.environment(), "AWS_ENDPOINT_URL": self.bucket.url}
        login["AWS_SECRET_ACCESS_KEY"] = secret_key
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
        self.kube("apply", "-f", "-", body={**body, "stringData": login})

    def publish(self, says: str) -> str:
        """Publish a release whose model says one thing; its version.

        The model is a parrot and its evaluation is made up: what is tried here comes after both.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return _published(agent(self.ollama.url, self.folder), says)

    def places(self) -> list[dict[str, str]]:
        """What `opslore status` says of every place."""
        return list(json.loads(self.call("status", "tiny.yaml").stdout)["places"])


def agent(ollama: str, folder: Path) -> Agent:
    """An agent whose Ollama only the cluster reaches."""
    job = {
        "image": IMAGE,
        "pull_policy": "Never",
        "namespace": NAMESPACE,
        "secret": SECRET,
        "deadline": 300,
    }
    return Agent.model_validate(
        {
            "name": "tiny",
            "base_model": str(folder / "tiny.gguf"),
            "store": "s3://ml-models",
            "collect": [{"path": str(folder / "RUNBOOK.md")}],
            "prepare": {"phrasings": 2, "s1": 10, "s2": 3, "s3": 6},
            "publish": {"registry": f"sqlite:///{folder}/mlflow.db"},
            "deploy": [{"kind": "ollama", "via": "job", "url": ollama, "job": job}],
        }
    )


def settled(folder: Path, s3: S3) -> dict[str, str]:
    """The environment of whoever publishes and deploys."""
    return {
        **environment(),
        **s3.environment(),
        "OPSLORE_CACHE": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        "KUBECONFIG": str(folder / "kubeconfig"),
    }


def _published(settings: Agent, says: str) -> str:
    home = steps.store_of(settings)
    dataset = steps.prepare(settings, steps.collect(settings))

    def train(work: Path) -> dict[str, Any]:
        (work / "adapter").mkdir()
        (work / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        return {"base_model": "tiny", "base_digest": "0" * 64, "steps": 7, "loss": 0.5,
                "valid_loss": None, "seconds": 3.0}  # fmt: skip

    def export(work: Path) -> dict[str, Any]:
        ollama_world.bundle(work, SAYS[says])
        digest = store.sha256(work / "model.gguf")
        return {"base_model": "tiny", "quantization": "f16", "gguf_sha256": digest,
                "template_sha256": "0" * 64, "commands": 2}  # fmt: skip

    adapter = home.made(Adapter, {}, [dataset], train)
    bundle = home.made(Bundle, {"says": says}, [adapter], export)
    return steps.publish(settings, bundle, release_world.cards()[4]).version


def install(world: World) -> None:
    """What a team does once: namespace, manifests, login, and an account that may deploy."""
    words = [world.kubectl, "--kubeconfig", world.node.kubeconfig]
    subprocess.run([*words, "create", "namespace", NAMESPACE], check=True, timeout=60)
    world.kube("apply", "-f", MANIFESTS)
    world.kube("create", "serviceaccount", "deployer")
    bound = f"--serviceaccount={NAMESPACE}:deployer"
    world.kube("create", "rolebinding", "deployer", "--role=opslore-deploy", bound)
    config = json.loads(world.node.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = world.kube("create", "token", "deployer").strip()
    path = Path(world.environment["KUBECONFIG"])
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))


def made(
    folder: Path, kubectl: Path, node: Node, s3: S3, bucket: Between, ollama: Between
) -> World:
    """The whole world, with nothing published."""
    world = World(folder, settled(folder, s3), kubectl, node, s3, bucket, ollama)
    (folder / "RUNBOOK.md").write_text(runbook())
    tiny_models.llama(folder / "tiny.gguf")
    settings = agent(ollama.url, folder)
    (folder / "tiny.yaml").write_text(json.dumps(settings.model_dump(mode="json")))
    install(world)
    return world
