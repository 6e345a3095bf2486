"""Flyte 1 as a cluster runs it: what is registered, and one task as its pod would run it."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from base_models import model_cache  # noqa: F401
from flyte_world import answering, pod, rewording, world

from opslore import config, steps
from opslore.cards import Corpus, Dataset
from opslore.config import Agent
from opslore.endpoint import TRIES

pytest_plugins = ["real.fixtures"]

WRITE = """
import json
from pathlib import Path
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap
from opslore import cards, config

context = FlyteContextManager.current_context()
for folder in Path().glob("pod-*"):
    given = {}
    for name, kind in (("agent", config.Agent), ("corpus", cards.Corpus)):
        value = kind.model_validate_json((folder / f"{name}.json").read_text())
        wanted = TypeEngine.to_literal_type(kind)
        given[name] = TypeEngine.to_literal(context, value, kind, wanted)
    wire = LiteralMap(given).to_flyte_idl().SerializeToString()
    (folder / "inputs.pb").write_bytes(wire)
"""
READ = """
import json
from pathlib import Path
from flyteidl.core.errors_pb2 import ErrorDocument
from flyteidl.core.literals_pb2 import LiteralMap as Wire
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap
from opslore import cards

context, told = FlyteContextManager.current_context(), {}
for file in Path().glob("pod-*/out/*.pb"):
    if file.name == "error.pb":
        error = ErrorDocument.FromString(file.read_bytes()).error
        told[str(file)] = {"message": error.message, "kind": error.kind}
    else:
        literal = LiteralMap.from_flyte_idl(Wire.FromString(file.read_bytes())).literals["o0"]
        card = TypeEngine.to_python_value(context, literal, cards.Dataset)
        told[str(file)] = json.loads(card.model_dump_json())
print("TOLD" + json.dumps(told))
"""
RECOVERABLE = 1
"""`ContainerError.Kind` that makes Flyte 1 try again."""
TASKS = {"configure", "collect", "prepare", "train", "export", "evaluate", "publish", "deploy"}
TASKS |= {"tell"}


@dataclass(frozen=True)
class Pods:
    """What three pods of `prepare` left: its server was busy, its corpus empty, all was well."""

    folder: Path
    agent: Agent
    corpus: Corpus
    asked: int
    """Requests that the busy server got."""
    told: dict[str, Any]
    """What each file of theirs says."""


def execute(folder: Path, name: str) -> None:
    """Run `prepare` as its pod would."""
    room = folder / name
    (room / "out").mkdir()
    words = ["--inputs", room / "inputs.pb", "--output-prefix", room / "out"]
    words += ["--raw-output-data-prefix", room / "raw"]
    words += ["--resolver", "flytekit.core.python_auto_container.default_task_resolver", "--"]
    pod(
        folder,
        "pyflyte-execute",
        *words,
        *("task-module", "opslore.flows_v1"),
        "task-name",
        "prepare",
    )


@pytest.fixture(scope="module")
def pods(
    tmp_path_factory: pytest.TempPathFactory, model_cache: Path, flyte1_programs: Path
) -> Pods:
    folder = world(tmp_path_factory.mktemp("pods") / "world")
    with pytest.MonkeyPatch.context() as patch, answering(503) as busy:
        patch.chdir(folder)
        agent = config.load(Path("tiny.yaml"))
        corpus = steps.collect(agent)
        for name, given in (("busy", rewording(busy)), ("empty", agent), ("good", agent)):
            room = folder / f"pod-{name}"
            room.mkdir()
            (room / "agent.json").write_text(given.model_dump_json())
            (room / "corpus.json").write_text(corpus.model_dump_json())
        (folder / "write.py").write_text(WRITE)
        (folder / "read.py").write_text(READ)
        pod(folder, "python", "write.py")
        execute(folder, "pod-busy")
        documents = steps.store_of(agent).path(corpus) / "documents.jsonl"
        whole = documents.read_text()
        documents.write_text("")
        execute(folder, "pod-empty")
        documents.write_text(whole)
        execute(folder, "pod-good")
        said = pod(folder, "python", "read.py").split("TOLD")[1].splitlines()[0]
    return Pods(folder, agent, corpus, len(busy.asked), json.loads(said))


@pytest.mark.slow
def test_the_package_has_every_task_and_the_workflow(flyte1_programs: Path, tmp_path: Path) -> None:
    pod(
        tmp_path,
        *("pyflyte", "--pkgs", "opslore.flows_v1", "package", "--image", "opslore:0.1.0"),
        *("--output", "flow.tgz"),
        more={
            "AWS_ENDPOINT_URL": "http://minio.example:9000",
            "AWS_SECRET_ACCESS_KEY": "hidden",
            "OPSLORE_FLYTE_SECRETS": "opslore-s3/AWS_SECRET_ACCESS_KEY",
        },
    )
    with tarfile.open(tmp_path / "flow.tgz") as archive:
        names = archive.getnames()
        content = b"".join(archive.extractfile(name).read() for name in names)  # type: ignore[union-attr]
    found = {re.sub(r"^(\./)?\d+_|_\d\.pb$", "", name) for name in names}
    assert {f"opslore.flows_v1.{task}" for task in TASKS} <= found
    flow = "opslore.flows_v1.agent_training_pipeline"
    assert sorted(name[-5:] for name in names if flow in name) == ["_2.pb", "_3.pb"]  # and its plan
    assert b"http://minio.example:9000" in content
    assert b"hidden" not in content
    assert b"opslore-s3" in content  # by reference: the Secret's name, the key, the variable


@pytest.mark.slow
def test_a_pod_leaves_the_card_that_the_step_makes(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pods.folder)
    found = Dataset.model_validate(pods.told["pod-good/out/outputs.pb"])
    assert found == steps.store_of(pods.agent).latest(Dataset)
    assert found == steps.prepare(pods.agent, pods.corpus)  # found, not made anew
    assert "opslore" in (pods.folder / "pod-good" / "out" / "deck.html").read_text()


@pytest.mark.slow
def test_a_pod_that_fails_says_so_in_a_file_and_by_no_exit_code(pods: Pods) -> None:
    """`pod` saw all three programs end with 0 (flyteorg/flyte#3457)."""
    assert sorted(pods.told) == [
        "pod-busy/out/error.pb",
        "pod-empty/out/error.pb",
        "pod-good/out/outputs.pb",
    ]
    later, never = pods.told["pod-busy/out/error.pb"], pods.told["pod-empty/out/error.pb"]
    assert "DataError" in never["message"]
    assert never["kind"] != RECOVERABLE
    assert "check prepare.paraphraser" in later["message"]
    assert later["kind"] == RECOVERABLE
    assert pods.asked == TRIES  # who tries again is Flyte, with another pod
