"""Manifests that name the model, in a file and in a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from opslore import config_deploy
from opslore.errors import ConfigError
from opslore.release import manifestenv, resource
from opslore.release.targets import Staged, switch

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
