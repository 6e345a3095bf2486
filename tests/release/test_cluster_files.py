"""deploy/cluster and deploy/flyte: objects that a real API server takes, of programs that start."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from real import mlflow, s3
from real.process import free_port, plain_environment, running

from opslore import config
from opslore.config_deploy import Ollama

pytest_plugins = ["real.fixtures"]

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted((DEPLOY / "cluster").glob("*.yaml"))
OBJECTS = [one for file in FILES for one in yaml.safe_load_all(file.read_text())]
NAMESPACE = "opslore"
"""Where docs/cluster.md puts them."""


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in OBJECTS if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> list[tuple[str, dict[str, Any]]]:
    return [
        (o["metadata"]["name"], o["spec"]["template"]["spec"])
        for o in OBJECTS
        if o["kind"] in ("Deployment", "StatefulSet")
    ]


def variables() -> dict[str, str]:
    """What flyte.env sets."""
    lines = (DEPLOY / "flyte" / "flyte.env").read_text().splitlines()
    pairs = [shlex.split(line)[0].split("=", 1) for line in lines if line and line[0] != "#"]
    return {name: value for name, value in pairs}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_server_takes_every_object(file: Path, kube_cluster: Path, kubectl: Path) -> None:
    words = ["apply", "--dry-run=server", "--validate=strict", "-f", str(file)]
    done = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kube_cluster), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(("name", "spec"), pods(), ids=lambda value: str(value)[:12])
def test_a_pod_has_few_rights_and_says_what_it_needs(name: str, spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        assert own["capabilities"]["drop"] == ["ALL"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert container["resources"]["limits"]["memory"]
        for one in container.get("env", []):
            if re.search("KEY|SECRET|PASSWORD|TOKEN", one["name"]):
                assert "value" not in one  # by reference alone


def test_the_agent_and_the_flow_name_services_that_are_there() -> None:
    agent = config.load(DEPLOY / "flyte" / "agent.yaml")
    (target,) = agent.deploy
    assert isinstance(target, Ollama)
    told = variables()
    assert agent.publish.registry == told["MLFLOW_TRACKING_URI"]
    for url in (target.url, told["MLFLOW_TRACKING_URI"], told["AWS_ENDPOINT_URL"]):
        there = urlsplit(url)
        name, _, space = (there.hostname or "").partition(".")
        assert space == f"{NAMESPACE}.svc"
        assert there.port in [port["port"] for port in named("Service", name)["spec"]["ports"]]


def test_the_flow_reads_every_variable_of_its_file() -> None:
    text = (DEPLOY.parent / "src" / "opslore" / "flowing.py").read_text()
    file = (DEPLOY / "flyte" / "flyte.env").read_text()
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", file, re.MULTILINE))
    assert len(names) > 6
    assert {name for name in names if f'"{name}"' not in text} == set()


@contextmanager
def started(name: str, program: Path, port: int, room: Path, **env: str) -> Iterator[str]:
    """The container's own program and arguments, on loopback, in a folder instead of its volume."""
    (container,) = dict(pods())[name]["containers"]
    given = {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}
    words = [str(program)]
    for word in container.get("args", []):
        at = word.replace("/data", str(room)).replace("0.0.0.0", "127.0.0.1")
        old = str(container["ports"][0]["containerPort"])
        if not at.startswith("--allowed"):
            at = re.sub(rf"\b{old}\b", f"127.0.0.1:{port}" if at[0] == ":" else str(port), at)
        words.append(at.replace(":127", "127"))
    path = container["readinessProbe"]["httpGet"]["path"]
    environment = plain_environment(room, PATH=f"{program.parent}:/usr/bin:/bin", **given, **env)
    environment["HOME"] = str(room)
    url = f"http://127.0.0.1:{port}"
    with running(name, words, room=room, env=environment, health=f"{url}{path}"):
        yield url


def test_mlflow_starts_with_these_arguments_and_answers_to_its_service(tmp_path: Path) -> None:
    program = mlflow.MLFLOW.need("venv/bin/mlflow")
    with started("mlflow", program, free_port(), tmp_path) as url:
        path = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"

        def status(host: str) -> int:
            return httpx.get(path, headers={"Host": host}, timeout=30).status_code

        there = urlsplit(variables()["MLFLOW_TRACKING_URI"]).netloc
        hosts = (there, "mlflow:5000", "mlflow", f"mlflow.{NAMESPACE}.svc.cluster.local:5000")
        assert {host: status(host) for host in hosts} == dict.fromkeys(hosts, 200)
        assert status("elsewhere.example") == 403


def test_the_s3_server_starts_with_these_arguments(tmp_path: Path) -> None:
    program = s3.VERSITYGW.need("bin/versitygw")
    for folder in ("objects", "metadata"):
        (tmp_path / folder).mkdir()
    account = {"ROOT_ACCESS_KEY": "a" * 20, "ROOT_SECRET_KEY": "b" * 40}
    with started("s3", program, free_port(), tmp_path, **account) as url:
        assert httpx.get(f"{url}/", timeout=30).status_code == 403  # nobody without a signature
