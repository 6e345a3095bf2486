"""A namespace of a real API server with what import Jobs need, and somebody who plays the rest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from release.job_player import Ollama, Player, playing

from opslore import config_deploy
from opslore.release import kubernetes
from opslore.release.cluster import Cluster
from opslore.release.targets import Staged

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "import.yaml"
VERSION, NEXT = "v20260131-0123abcd", "v20260214-89abcdef"
IMAGE = "registry.example.com/opslore@sha256:" + "5" * 64
KEY = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
"""Stands for a public key; what the Job does with it is in test_inside.py."""


def section(**job: Any) -> config_deploy.Ollama:
    fields = {"image": IMAGE, "secret": "s3-login", "deadline": 30, **job}
    return config_deploy.Ollama(
        url="http://ollama.ai:11434", via="job", job=config_deploy.Job(**fields)
    )


def staged(version: str = VERSION, uri: str = "s3://models/sre/v/model.tar.gz") -> Staged:
    return Staged("sre", version, Path(), uri, version[-8:] * 8, signer=KEY)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig of a server that is not there."""
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {"token": "s3cret-token"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "here",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.fixture
def cluster(kube_cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(kube_cluster))
    monkeypatch.setattr(kubernetes, "POLL", 0.1)
    monkeypatch.setattr(kubernetes, "GRACE", 2)
    return Cluster()


@pytest.fixture
def namespace(cluster: Cluster, kubectl: Path, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own, with what deploy/kubernetes/ puts into one."""
    name = f"n{abs(hash(request.node.name)) % 10**8}"
    for words in (["create", "namespace", name], ["-n", name, "apply", "-f", str(MANIFESTS)]):
        subprocess.run([kubectl, *words], check=True, capture_output=True)
    return name


@pytest.fixture
def ollama() -> Ollama:
    return Ollama()


@pytest.fixture
def player(kube_cluster: Path, namespace: str, ollama: Ollama, tmp_path: Path) -> Iterator[Player]:
    with playing(kube_cluster, ollama, tmp_path, namespace) as player:
        yield player
