"""Manifests that name the model, in a file and in a real API server."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opslore import config_deploy
from opslore.errors import ConfigError
from opslore.release import manifestenv, resource
from opslore.release.cluster import Conflict
from opslore.release.targets import Staged, switch

pytest_plugins = ["real.fixtures"]

VERSION = "v20260131-0123abcd"
AIM = f"sre:{VERSION}"

MANIFESTS = """\
# two documents, in somebody's hand
apiVersion: ai.example.com/v1
kind: LambdaAgent
metadata: {name: other}
spec: {ai: {model: 'keep'}}
---
apiVersion: ai.example.com/v1
kind: LambdaAgent   # the agent
metadata:
    name: sre
spec:
    ai:
        provider: ollama
        model:   "old"      # <- here
    template:
      spec:
        containers:
        - name: agent
          env:
          - {name: A, value: x}
          - name: MODEL_NAME     # and here
            value:   old
        - name: helper
          env:
          - value: 'old'
            name: MODEL_NAME
    env:
    - name: MODEL_NAME
      value: untouched
...
"""


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return Staged("sre", VERSION, tmp_path, "s3://bucket/key.tar.gz", "0" * 64)


def of(path: Path, **more: Any) -> resource.ResourceFile:
    section = config_deploy.Resource(file=str(path), **{"env": "MODEL_NAME", **more})
    found = resource.target(section, "sre", "sre")
    assert isinstance(found, resource.ResourceFile)
    return found


def test_every_place_of_one_document_is_written_in_one_step(tmp_path: Path, staged: Staged) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(MANIFESTS)
    target = of(path)
    target.stage(staged)
    assert path.read_text() == MANIFESTS
    before = target.now()
    assert switch([target], "sre", VERSION) == [target.name]
    assert path.read_text() == (
        MANIFESTS.replace('model:   "old"', f'model:   "{AIM}"')
        .replace("value:   old", f"value:   {AIM}")
        .replace("value: 'old'", f"value: '{AIM}'")
    )
    assert switch([target], "sre", VERSION) == []
    target.move(before)
    assert path.read_text() == MANIFESTS


@pytest.mark.parametrize(
    ("more", "old", "new"),
    [
        ({"env": ""}, '"old"', f'"{AIM}"'),
        ({"key": "", "env_key": "spec.env"}, "untouched", AIM),
        ({"key": "", "env_key": "spec.template.spec.containers[1].env"}, "'old'", f"'{AIM}'"),
        ({"name": "other", "env": ""}, "'keep'", f"'{AIM}'"),
        ({"env": "", "value": "hub/{agent}-{model}"}, '"old"', '"hub/sre-sre"'),
    ],
)
def test_the_section_says_where(tmp_path: Path, more: dict[str, str], old: str, new: str) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(MANIFESTS)
    target = of(path, **more)
    target.move(target.aim("sre", VERSION))
    assert MANIFESTS.count(old) == 1
    assert path.read_text() == MANIFESTS.replace(old, new)


@pytest.mark.parametrize(
    ("edit", "more", "says", "hint"),
    [
        (("name: sre", "name: web"), {}, "no LambdaAgent sre; it has LambdaAgent other", "name"),
        (("name: other", "name: sre"), {}, "has 2 LambdaAgent sre", "namespace"),
        (
            ("    - name: MODEL_NAME\n", "    - name: X\n"),
            {"env_key": "spec.env"},
            "no MODEL",
            "- {n",
        ),
        (
            ("- {name: A, value: x}", "- {name: MODEL_NAME, value: x}"),
            {},
            "variable MODEL_NAME twice ([0] and [1])",
            "if a chart already renders MODEL_NAME",
        ),
        (
            ("value:   old", "valueFrom: {configMapKeyRef: {name: c, key: k}}"),
            {},
            "MODEL_NAME comes from configMapKeyRef",
            "replace valueFrom",
        ),
        (("containers:", "boxes:"), {}, "has no containers", "deploy[].env_key"),
        (("", ""), {"key": "spec.ai"}, "is no text but a map", "inside it"),
        (("", ""), {"key": "spec.io.model"}, "has no spec.io", "deploy[].key"),
        (("", ""), {"key": "spec.ai.modle", "env": ""}, "no spec.ai.modle", "mean spec.ai.model?"),
        (("", ""), {"api_version": "ai.example.com/v2"}, "no LambdaAgent sre", "api_version"),
    ],
)
def test_what_cannot_be_set_is_explained(
    tmp_path: Path,
    staged: Staged,
    edit: tuple[str, str],
    more: dict[str, str],
    says: str,
    hint: str,
) -> None:
    path = tmp_path / "manifests.yaml"
    text = MANIFESTS.replace(*edit, 1) if edit[0] else MANIFESTS
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        of(path, **more).stage(staged)
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert path.read_text() == text


def test_the_patch_is_what_rfc_6902_says() -> None:
    """The operations are carried out here by hand on what they were made from."""
    section = config_deploy.Resource(
        api_version="v1", key='metadata.annotations["a.b/c~d"]', env="M", env_key="spec.env"
    )
    before = yaml.safe_load("{metadata: {annotations: {}}, spec: {env: [{name: X, value: y}]}}")
    places = manifestenv.places(before, section, "it")
    assert [place.value for place in places] == [None, None]
    assert manifestenv.operations(places, ["m", "m"]) == [
        {"op": "add", "path": "/metadata/annotations/a.b~1c~0d", "value": "m"},
        {"op": "add", "path": "/spec/env/-", "value": {"name": "M", "value": "m"}},
    ]
    assert manifestenv.operations(places, [None, None]) == []


CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lambdaagents.ai.example.com}
spec:
  group: ai.example.com
  scope: Namespaced
  names: {plural: lambdaagents, singular: lambdaagent, kind: LambdaAgent, listKind: LambdaAgentList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
          spec:
            type: object
            properties:
              ai:
                type: object
                properties:
                  provider: {type: string}
                  model: {type: string, maxLength: 40}
                  limits: {type: object, properties: {cpu: {type: string}}}
              env:
                type: array
                items:
                  type: object
                  properties: {name: {type: string}, value: {type: string}}
              containers:
                type: array
                items:
                  type: object
                  properties:
                    name: {type: string}
                    env:
                      type: array
                      items:
                        type: object
                        properties: {name: {type: string}, value: {type: string}}
"""

AGENT = """\
apiVersion: ai.example.com/v1
kind: LambdaAgent
metadata: {name: sre, namespace: default}
spec:
  ai: {provider: ollama, model: "old:1", limits: {cpu: "1"}}
  containers:
  - {name: agent, env: [{name: A, value: x}, {name: MODEL_NAME, value: "old:1"}]}
  - {name: helper}
"""


class World:
    """A kubectl that looks at what the code did."""

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        self.kubectl, self.kubeconfig = kubectl, kubeconfig

    def run(self, *words: str, text: str = "") -> str:
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def agent(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", "lambdaagent", "sre", "-o", "json"))
        return found


@pytest.fixture
def world(kube_cluster: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("KUBECONFIG", str(kube_cluster))
    world = World(kubectl, kube_cluster)
    world.run("apply", "-f", "-", text=CRD)
    name = "crd/lambdaagents.ai.example.com"
    world.run("wait", "--for=condition=Established", "--timeout=30s", name)
    world.run("create", "-f", "-", text=AGENT)
    yield world
    world.run("delete", "lambdaagent", "sre", "--wait=false")


def live(**more: Any) -> resource.ResourceObject:
    told = {"api_version": "ai.example.com/v1", **more}
    found = resource.target(config_deploy.Resource(**told), "sre", "sre")
    assert isinstance(found, resource.ResourceObject)
    return found


def test_an_object_is_patched_and_patched_back(world: World, staged: Staged) -> None:
    target = live(env="MODEL_NAME")
    before, spec = target.now(), world.agent()["spec"]
    target.stage(staged)
    assert world.agent()["spec"] == spec
    assert switch([target], "sre", VERSION) == [target.name]
    after = world.agent()
    expected = json.loads(json.dumps(spec).replace("old:1", AIM))
    expected["containers"][1]["env"] = [{"name": "MODEL_NAME", "value": AIM}]
    assert after["spec"] == expected
    shown = world.run("get", "lambdaagent", "sre", "-o", "json", "--show-managed-fields")
    managers = {entry["manager"] for entry in json.loads(shown)["metadata"]["managedFields"]}
    assert "opslore" in managers
    assert switch([target], "sre", VERSION) == []
    assert world.agent()["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    target.move(before)
    spec["containers"][1]["env"] = []
    assert world.agent()["spec"] == spec


def test_a_field_that_was_not_set_is_taken_away_again(world: World) -> None:
    target = live(key="spec.ai.limits.cpu")
    world.run(
        "patch",
        "lambdaagent",
        "sre",
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/spec/ai/limits/cpu"}]',
    )
    assert target.now() is None
    target.move("2")
    assert world.agent()["spec"]["ai"]["limits"] == {"cpu": "2"}
    target.move(None)
    assert world.agent()["spec"]["ai"]["limits"] == {}


def test_a_deployment_s_variable_is_set_in_every_container(world: World, staged: Staged) -> None:
    containers = "[{name: a, image: i}, {name: b, image: i, env: [{name: X, value: z}]}]"
    world.run("apply", "-f", "-", text=(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: sre}, spec: {selector: "
        "{matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: "
        + containers + "}}}}"
    ))  # fmt: skip
    target = live(api_version="apps/v1", resource="Deployment", key="", env="MODEL_NAME")
    target.stage(staged)
    assert switch([target], "sre", VERSION) == [target.name]
    found = json.loads(world.run("get", "deployment", "sre", "-o", "json"))
    variable = {"name": "MODEL_NAME", "value": AIM}
    spec = found["spec"]["template"]["spec"]["containers"]
    assert spec[0]["env"] == [variable]
    assert spec[1]["env"] == [{"name": "X", "value": "z"}, variable]
    world.run("delete", "deployment", "sre")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key": "spec.ai.modle"}, r"unknown field .*spec\.ai\.modle"),
        ({"value": "x" * 41}, "Too long|at most 40|longer than 40"),
        ({"key": "spec.ai"}, "is no text but a map"),
        ({"key": "spec.io.model"}, r"has no spec\.io"),
        ({"name": "nobody"}, "has no LambdaAgent default/nobody"),
        ({"api_version": "ai.example.com/v9"}, r"has no kind LambdaAgent in ai\.example\.com/v9"),
        ({"resource": "Lambda"}, "has no kind Lambda in"),
        ({"key": "", "env": "M", "env_key": "spec.nothing.env"}, r"has no spec\.nothing"),
    ],
)
def test_what_the_object_cannot_take_is_refused_at_stage(
    world: World, staged: Staged, more: dict[str, str], says: str
) -> None:
    before = world.agent()
    with pytest.raises(ConfigError, match=says) as caught:
        live(**more).stage(staged)
    assert caught.value.hint
    assert "managedFields" not in caught.value.message
    assert world.agent() == before


def test_a_status_written_meanwhile_is_no_conflict(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = live()
    real, races = target.cluster.patch, iter([True, True, False])

    def racing(*arguments: Any, **more: Any) -> Any:
        if next(races):
            world.run("annotate", "--overwrite", "lambdaagent", "sre", f"a=x{id(arguments)}")
        return real(*arguments, **more)

    monkeypatch.setattr(target.cluster, "patch", racing)
    target.move(AIM)
    assert world.agent()["spec"]["ai"]["model"] == AIM


def test_another_model_set_meanwhile_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = live()
    real = target.cluster.patch

    def racing(*arguments: Any, **more: Any) -> Any:
        theirs = '{"spec": {"ai": {"model": "theirs"}}}'
        world.run("patch", "lambdaagent", "sre", "--type=merge", "-p", theirs)
        return real(*arguments, **more)

    monkeypatch.setattr(target.cluster, "patch", racing)
    with pytest.raises(Conflict, match="changed by somebody else") as caught:
        target.move(AIM)
    assert caught.value.retryable
    assert world.agent()["spec"]["ai"]["model"] == "theirs"


def test_a_reader_sees_every_place_old_or_every_place_new(world: World, kube_cluster: Path) -> None:
    from kubernetes import config
    from kubernetes.client import CustomObjectsApi

    api = CustomObjectsApi(config.new_client_from_config(str(kube_cluster)))
    target = live(env="MODEL_NAME", env_key="spec.containers[0].env")
    seen, done = set(), threading.Event()

    def read() -> None:
        where = ("ai.example.com", "v1", "default", "lambdaagents", "sre")
        while not done.is_set():
            spec = api.get_namespaced_custom_object(*where)["spec"]
            seen.add((spec["ai"]["model"], spec["containers"][0]["env"][1]["value"]))

    reader = threading.Thread(target=read)
    reader.start()
    versions = [VERSION, "v20260214-89abcdef"]
    for number in range(10):
        target.move(target.aim("sre", versions[number % 2]))
    done.set()
    reader.join()
    names = {"old:1", *(f"sre:{version}" for version in versions)}
    assert seen <= {(name, name) for name in names}
    assert len(seen) > 1
