"""A real chart, a real helm, a real API server; only the Deployment controller is played."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opslore import config_deploy
from opslore.errors import ConfigError, MissingExtra, ServerError
from opslore.release import helm as helms
from opslore.release.targets import Staged, switch
from opslore.release.values import Values

pytest_plugins = ["real.fixtures"]

VERSION, BAD = "v20260131-0123abcd", "v20260214-0000dead"

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: 1
  selector: {matchLabels: {app: todea}}
  template:
    metadata: {labels: {app: todea}}
    spec:
      containers:
        - name: agent
          image: {{ .Values.image }}
          env:
            - name: AGENT_MODEL_OLLAMA
              value: {{ .Values.ollamaHub.agentModel | quote }}
            {{- range .Values.env }}
            - name: {{ .name }}
              value: {{ .value | quote }}
            {{- end }}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-login}
stringData: {password: "do-not-print-me"}
"""

VALUES = """\
# what people set
image: "agent@sha256:1"   # pinned
env:
    - {name: LOG,   value: 'debug'}
ollamaHub:
    agentModel: "old:1"  # the model
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return made_chart(tmp_path)


def made_chart(room: Path) -> Path:
    folder = room / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: todea\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text("env: []\nollamaHub: {url: x, agentModel: chart:0}\n")
    (folder / "templates" / "all.yaml").write_text(DEPLOYMENT)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_text(VALUES)
    return path


@pytest.fixture(autouse=True)
def _on_the_path(helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(helm.parent), prepend=":")
    for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


class World:
    """A namespace, helm and kubectl in it, and a Deployment controller that is played.

    A Deployment becomes ready, unless its model's name has `dead` in it, or what that is set to.
    """

    def __init__(self, kubeconfig: Path, helm: Path, namespace: str) -> None:
        from kubernetes import config

        self.kubeconfig, self.helm, self.namespace = kubeconfig, helm, namespace
        self.api = config.new_client_from_config(str(kubeconfig))
        self.stopped = threading.Event()
        self.dead = "dead"

    def run(self, *words: object) -> str:
        command = [self.helm, *map(str, words), "-n", self.namespace]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def model(self) -> str:
        """What the pods of the Deployment would see, asked of the API server."""
        from kubernetes.client import AppsV1Api

        found = AppsV1Api(self.api).read_namespaced_deployment("todea", self.namespace)
        (container,) = found.spec.template.spec.containers
        (value,) = [e.value for e in container.env if e.name == "AGENT_MODEL_OLLAMA"]
        return str(value)

    def history(self) -> list[str]:
        return [entry["status"] for entry in json.loads(self.run("history", "todea", "-o", "json"))]

    def control(self) -> None:
        from kubernetes.client import AppsV1Api

        apps = AppsV1Api(self.api)
        while not self.stopped.wait(0.1):
            for found in apps.list_namespaced_deployment(self.namespace).items:
                generation = found.metadata.generation
                dead = self.dead in str(found.spec.template.spec.containers[0].env)
                if dead or (found.status and found.status.observed_generation == generation):
                    continue
                self._pods(apps, found)
                conditions = [
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
                ]
                counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
                status = {"observedGeneration": generation, "conditions": conditions}
                body = {"status": {**status, **dict.fromkeys(counts, 1)}}
                apps.patch_namespaced_deployment_status("todea", self.namespace, body)

    def _pods(self, apps: Any, deployment: Any) -> None:
        """The ReplicaSet of this template, ready; the one before stays."""
        name = f"todea-{deployment.metadata.generation}"
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "todea"}
        owner |= {"uid": deployment.metadata.uid, "controller": True}
        raw = self.api.sanitize_for_serialization(deployment.spec)
        body = {
            "metadata": {"name": name, "labels": {"app": "todea"}, "ownerReferences": [owner]},
            "spec": {"replicas": 1, "selector": raw["selector"], "template": raw["template"]},
        }
        apps.create_namespaced_replica_set(self.namespace, body)
        counts = ("replicas", "readyReplicas", "availableReplicas", "observedGeneration")
        ready = dict.fromkeys(counts, 1)
        apps.patch_namespaced_replica_set_status(name, self.namespace, {"status": ready})


@pytest.fixture
def world(
    kube_cluster: Path,
    helm: Path,
    chart: Path,
    file: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    monkeypatch.setenv("KUBECONFIG", str(kube_cluster))
    world = World(kube_cluster, helm, f"h{abs(hash(request.node.name)) % 10**8}")
    controller = threading.Thread(target=world.control, daemon=True)
    controller.start()
    world.run("install", "todea", chart, "-f", file, "--create-namespace")
    yield world
    world.stopped.set()
    controller.join(10)


def target(file: Path, chart: Path, world: World | None = None, **more: Any) -> Values:
    told = {"release": "todea", "chart": str(chart), "timeout": 10, **more}
    if world is not None:
        told["namespace"] = world.namespace
    section = config_deploy.Values(
        file=str(file), key="ollamaHub.agentModel", helm=config_deploy.Helm(**told)
    )
    return Values(section, "sre")


def staged(version: str = VERSION) -> Staged:
    return Staged("sre", version, Path(), "s3://bucket/key.tar.gz", "0" * 64)


def test_the_file_and_the_release_move_together(world: World, file: Path, chart: Path) -> None:
    values = target(file, chart, world)
    before = values.now()
    assert before == '"old:1"'
    values.stage(staged())
    assert (file.read_text(), world.model()) == (VALUES, "old:1")
    assert world.history() == ["deployed"]
    assert switch([values], "sre", VERSION) == [values.name]
    assert file.read_text() == VALUES.replace("old:1", f"sre:{VERSION}")
    assert world.model() == f"sre:{VERSION}"
    assert switch([values], "sre", VERSION) == []
    assert world.history() == ["superseded", "deployed"]
    values.move(before)
    assert file.read_text() == VALUES
    assert world.model() == "old:1"


def test_an_upgrade_that_does_not_become_ready_is_undone(
    world: World, file: Path, chart: Path
) -> None:
    values = target(file, chart, world)
    values.stage(staged(BAD))
    with pytest.raises(ServerError, match="`helm upgrade todea`") as caught:
        switch([values], "sre", BAD)
    assert "do-not-print-me" not in str(caught.value)
    assert any("was rolled back" in note for note in caught.value.__notes__)
    assert file.read_text() == VALUES
    assert world.model() == "old:1"
    assert values.now() == '"old:1"'
    assert switch([values], "sre", VERSION) == [values.name]
    assert world.model() == f"sre:{VERSION}"


def test_a_switch_cut_short_between_file_and_release_is_completed(
    world: World, file: Path, chart: Path
) -> None:
    values = target(file, chart, world)
    file.write_text(VALUES.replace("old:1", f"sre:{VERSION}"))
    assert json.loads(values.now()) == {"file": f'"sre:{VERSION}"', "helm_revision": 1}
    assert switch([values], "sre", VERSION) == [values.name]
    assert world.model() == f"sre:{VERSION}"
    assert switch([values], "sre", VERSION) == []


def test_a_later_target_that_refuses_brings_back_file_and_release(
    world: World, file: Path, chart: Path
) -> None:
    class Refuses(Values):
        def move(self, state: str | None) -> None:
            assert world.model() == f"sre:{VERSION}"
            raise ServerError("the last one refuses")

    file.write_text(VALUES.replace("old:1", "drifted:2"))
    other = file.with_name("other.yaml")
    other.write_text("a: 1\n")
    last = Refuses(config_deploy.Values(file=str(other), key="a"), "sre")
    with pytest.raises(ServerError, match="the last one refuses"):
        switch([target(file, chart, world), last], "sre", VERSION)
    assert file.read_text() == VALUES.replace("old:1", "drifted:2")
    assert world.model() == "old:1"


def test_a_commit_and_a_release_move_together(
    world: World, file: Path, chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{key}_NAME", "A Person")
        monkeypatch.setenv(f"{key}_EMAIL", "person@example.com")
    for words in (["init", "-q", "-b", "main"], ["add", "values.yaml"], ["commit", "-qm", "a"]):
        subprocess.run(["git", "-C", file.parent, *words], check=True)
    values = target(file, chart, world)
    section = values.section.model_copy(update={"commit": config_deploy.Commit(branch="live")})
    values = Values(section, "sre")
    values.stage(staged())
    switch([values], "sre", VERSION)
    assert file.read_text() == VALUES
    assert world.model() == f"sre:{VERSION}"
    shown = subprocess.run(
        ["git", "-C", file.parent, "show", "live:values.yaml"], capture_output=True, check=True
    )
    assert shown.stdout.decode() == VALUES.replace("old:1", f"sre:{VERSION}")


def test_values_that_an_upgrade_would_lose_are_named(world: World, file: Path, chart: Path) -> None:
    world.run("upgrade", "todea", chart, "-f", file, "--set", "debug.level=3")
    with pytest.raises(ConfigError, match=r"values that .* does not: debug\.level") as caught:
        target(file, chart, world).stage(staged())
    assert "helm get values todea" in caught.value.hint


def test_what_the_dry_run_refuses_moves_nothing(world: World, file: Path, chart: Path) -> None:
    text = DEPLOYMENT.replace("kind: Secret", "kind: Secrets")
    (chart / "templates" / "all.yaml").write_text(text)
    with pytest.raises(ServerError, match='no matches for kind "Secrets"') as caught:
        target(file, chart, world).stage(staged())
    assert "do-not-print-me" not in str(caught.value)
    assert (file.read_text(), world.model()) == (VALUES, "old:1")
    assert world.history() == ["deployed"]


def test_what_only_the_upgrade_refuses_is_put_back(world: World, file: Path, chart: Path) -> None:
    """Helm's dry-run asks the server for its kinds, and does not send it the objects."""
    text = DEPLOYMENT.replace("replicas: 1", "replicas: -1")
    (chart / "templates" / "all.yaml").write_text(text)
    values = target(file, chart, world)
    values.stage(staged())
    with pytest.raises(ServerError, match="replicas") as caught:
        switch([values], "sre", VERSION)
    assert "do-not-print-me" not in str(caught.value)
    assert (file.read_text(), world.model()) == (VALUES, "old:1")
    assert values.now() == '"old:1"'


def test_a_release_that_is_not_there_is_explained(world: World, file: Path, chart: Path) -> None:
    with pytest.raises(ConfigError, match="no Helm release nobody") as caught:
        target(file, chart, world, release="nobody").stage(staged())
    assert "helm install nobody" in caught.value.hint


def test_an_operation_that_is_going_on_is_waited_for_by_people(
    world: World, file: Path, chart: Path
) -> None:
    """A helm that was killed leaves its record pending; the record is edited to say so."""
    from kubernetes.client import CoreV1Api

    core, name = CoreV1Api(world.api), "sh.helm.release.v1.todea.v1"
    import base64
    import gzip

    secret = core.read_namespaced_secret(name, world.namespace)
    data = secret.data["release"]
    raw = data if isinstance(data, bytes) else data.encode()
    for _ in range(2):
        raw = base64.b64decode(raw)
    record = json.loads(gzip.decompress(raw))
    record["info"]["status"] = "pending-upgrade"
    packed = gzip.compress(json.dumps(record).encode())
    for _ in range(2):
        packed = base64.b64encode(packed)
    body = {
        "data": {"release": packed.decode()},
        "metadata": {"labels": {"status": "pending-upgrade"}},
    }
    core.patch_namespaced_secret(name, world.namespace, body)
    with pytest.raises(ServerError, match="pending-upgrade since") as caught:
        target(file, chart, world).stage(staged())
    assert "helm rollback todea" in caught.value.hint


def test_a_variable_that_the_chart_renders_already_is_refused(
    chart: Path, file: Path, helm: Path
) -> None:
    file.write_text(
        VALUES.replace(
            "name: LOG,   value: 'debug'", f"name: AGENT_MODEL_OLLAMA, value: sre:{VERSION}"
        )
    )
    words = [helm, "template", "todea", chart, "-f", file]
    rendered = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    with pytest.raises(ConfigError) as caught:
        helms.refuse_twice(rendered, str(chart), str(file), "ollamaHub.agentModel")
    said = caught.value.message
    assert "the chart already renders the variable AGENT_MODEL_OLLAMA" in said
    assert "container agent of Deployment todea" in said
    assert "ollamaHub.agentModel sets it" in caught.value.hint


def test_a_variable_twice_is_refused_at_stage(world: World, file: Path, chart: Path) -> None:
    file.write_text(VALUES.replace("name: LOG", "name: AGENT_MODEL_OLLAMA"))
    with pytest.raises(ConfigError, match="already renders the variable AGENT_MODEL_OLLAMA"):
        target(file, chart, world).stage(staged())


def test_no_helm_and_an_old_helm_are_explained(
    file: Path, chart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="needs the program helm"):
        target(file, chart).stage(staged())
    (tmp_path / "helm").write_text("#!/bin/sh\necho v3.9.0+g1\n")
    (tmp_path / "helm").chmod(0o755)
    with pytest.raises(MissingExtra, match=r"helm is v3\.9\.0; deploy needs 3\.13"):
        target(file, chart).stage(staged())


@pytest.mark.parametrize(
    ("version", "wait"),
    [("v3.13.0+g1", "--wait"), ("v3.19.2", "--wait"), ("v4.0.0", "--wait=legacy")],
)
def test_every_helm_waits_as_helm_3_does(
    version: str, wait: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Helm 3 knows no `--wait=legacy`; only what the program says of its version is played."""
    (tmp_path / "helm").write_text(f"#!/bin/sh\necho {version}\n")
    (tmp_path / "helm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    section = config_deploy.Helm(release="todea", chart="x", timeout=10)
    assert helms.Helm(section)._until_ready() == [wait, "--timeout", "10s"]
