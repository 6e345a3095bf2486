"""Flyte 1 as a cluster runs it: what is registered, and one task as its pod would run it."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from base_models import model_cache  # noqa: F401
from flyte_world import Paraphraser, here, paraphraser, pod, rewording  # noqa: F401

from opslore import config, steps
from opslore.cards import Corpus, Dataset
from opslore.config import Agent
from opslore.endpoint import TRIES

pytest_plugins = ["real.fixtures"]

WRITE = """
import sys
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap
from opslore import cards, config

context = FlyteContextManager.current_context()
values = {
    "agent": (config.Agent, config.Agent.model_validate_json(open("agent.json").read())),
    "corpus": (cards.Corpus, cards.Corpus.model_validate_json(open("corpus.json").read())),
}
given = {
    name: TypeEngine.to_literal(context, value, kind, TypeEngine.to_literal_type(kind))
    for name, (kind, value) in values.items()
}
open("inputs.pb", "wb").write(LiteralMap(given).to_flyte_idl().SerializeToString())
"""
READ = """
import sys
from flyteidl.core.literals_pb2 import LiteralMap as Wire
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap
from opslore import cards

wire = Wire.FromString(open(sys.argv[1], "rb").read())
found = LiteralMap.from_flyte_idl(wire).literals["o0"]
context = FlyteContextManager.current_context()
print("TOLD" + TypeEngine.to_python_value(context, found, cards.Dataset).model_dump_json())
"""
ERROR = """
import sys, json
from flyteidl.core.errors_pb2 import ErrorDocument
found = [ErrorDocument.FromString(open(path, "rb").read()).error for path in sys.argv[1:]]
print("TOLD" + json.dumps([{"message": one.message, "kind": one.kind} for one in found]))
"""
RECOVERABLE = 1
"""`ContainerError.Kind` that makes Flyte 1 try again."""
TASKS = {"configure", "collect", "prepare", "train", "export", "evaluate", "publish", "deploy"}
TASKS |= {"tell"}


def execute(folder: Path, step: str, agent: Agent, corpus: Corpus, name: str = "out") -> Path:
    """Run one task as its pod would; the folder of its outputs."""
    (folder / "agent.json").write_text(agent.model_dump_json())
    (folder / "corpus.json").write_text(corpus.model_dump_json())
    (folder / "write.py").write_text(WRITE)
    pod(folder, "python", "write.py")
    out = folder / name
    out.mkdir()
    words = ["--inputs", folder / "inputs.pb", "--output-prefix", out]
    words += ["--raw-output-data-prefix", folder / "raw"]
    words += ["--resolver", "flytekit.core.python_auto_container.default_task_resolver", "--"]
    words += ["task-module", "opslore.flows_v1", "task-name", step]
    pod(folder, "pyflyte-execute", *words)
    return out


def told(folder: Path, script: str, *results: Path) -> Any:
    (folder / "read.py").write_text(script)
    return json.loads(pod(folder, "python", "read.py", *results).split("TOLD")[1].splitlines()[0])


def test_the_package_has_every_task_and_the_workflow(flyte1_programs: Path, tmp_path: Path) -> None:
    pod(
        tmp_path,
        *("pyflyte", "--pkgs", "opslore.flows_v1", "package", "--image", "opslore:0.1.0"),
        *("--output", "flow.tgz"),
        more={"AWS_ENDPOINT_URL": "http://minio.example:9000", "AWS_SECRET_ACCESS_KEY": "hidden"},
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


@pytest.mark.slow
def test_a_pod_leaves_the_card_that_the_step_makes(
    here: Path, model_cache: Path, flyte1_programs: Path
) -> None:
    agent = config.load(Path("tiny.yaml"))
    corpus = steps.collect(agent)
    out = execute(here, "prepare", agent, corpus)
    assert [path.name for path in out.glob("*.pb")] == ["outputs.pb"]
    found = Dataset.model_validate(told(here, READ, out / "outputs.pb"))
    assert found == steps.store_of(agent).latest(Dataset)
    assert found == steps.prepare(agent, corpus)  # this process finds it and makes nothing anew
    assert "opslore" in (out / "deck.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("paraphraser", [503], indirect=True)
def test_a_pod_that_fails_says_so_in_a_file_and_by_no_exit_code(
    here: Path, paraphraser: Paraphraser, flyte1_programs: Path
) -> None:
    """`pod` sees that the program ends with 0 all the same (flyteorg/flyte#3457)."""
    agent = config.load(Path("tiny.yaml"))
    corpus = steps.collect(agent)
    busy = execute(here, "prepare", rewording(paraphraser), corpus, "busy")
    (steps.store_of(agent).path(corpus) / "documents.jsonl").write_text("")
    empty = execute(here, "prepare", agent, corpus, "empty")
    for out in (busy, empty):
        assert [path.name for path in out.glob("*.pb")] == ["error.pb"]
    later, never = told(here, ERROR, busy / "error.pb", empty / "error.pb")
    assert "DataError" in never["message"]
    assert never["kind"] != RECOVERABLE
    assert "check prepare.paraphraser" in later["message"]
    assert later["kind"] == RECOVERABLE
    assert len(paraphraser.asked) == TRIES  # who tries again is Flyte, with another pod
