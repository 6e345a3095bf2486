"""One agent file by `opslore run`, by Flyte 2 and by Flyte 1: the same cards, the same release."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flyte.errors
import pytest
from base_models import model_cache  # noqa: F401
from flow_world import call, environment
from flyte_world import SOURCE, let_pass, local, pod, started, world  # noqa: F401

from opslore import config, files, flowing, flows, harvesting, steps
from opslore.cards import (
    TESTS,
    Adapter,
    Bundle,
    Card,
    Corpus,
    Dataset,
    Deployment,
    Document,
    Evaluation,
    Release,
    Result,
)
from opslore.config import Agent
from opslore.harvest import Harvest
from opslore.lineage import KINDS
from opslore.release import issue
from opslore.release.version import version
from opslore.shard import Shard

pytest_plugins = ["real.fixtures"]
pytestmark = pytest.mark.slow

SHARD = 5
"""Prompts that one pod asks here; the set has some sixteen."""


@dataclass(frozen=True)
class Ran:
    """A folder in which the flow ran to its release, and what it said when the gate refused."""

    folder: Path
    refused: str

    def agent(self) -> Agent:
        return config.load(self.folder / "tiny.yaml")

    def card(self, kind: type[Card]) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            return steps.store_of(self.agent()).latest(kind)

    def file(self, kind: type[Card], name: str) -> bytes:
        return (self.folder / "runs" / self.card(kind).uri / name).read_bytes()


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Ran:
    folder = world(tmp_path_factory.mktemp("command") / "world")
    refused = call(folder, "run", "tiny.yaml")
    assert refused.code == 3, refused.err
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        let_pass()
    done = call(folder, "run", "tiny.yaml")
    assert done.code == 0, done.err
    return Ran(folder, refused.err)


@pytest.fixture(scope="module")
def by_flyte(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Ran:
    folder = world(tmp_path_factory.mktemp("flyte") / "world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(flowing, "SHARD", SHARD)
        agent = config.load(Path("tiny.yaml"))
        with pytest.raises(flyte.errors.RuntimeUserError) as caught:
            local(flows.run, agent)
        assert caught.value.code == "GateFailed"
        let_pass()
        deployed = local(flows.run, agent)
        assert deployed == steps.store_of(agent).latest(Deployment)
    return Ran(folder, str(caught.value))


def test_every_card_has_the_same_id(by_command: Ran, by_flyte: Ran) -> None:
    assert [by_flyte.card(kind).id for kind in KINDS] == [
        by_command.card(kind).id for kind in KINDS
    ]
    first, second = by_command.card(Release), by_flyte.card(Release)
    for ran, release in ((by_command, first), (by_flyte, second)):
        bundle = ran.card(Bundle)
        assert release.version == version(bundle.id, bundle.created)  # its date is the bundle's
    assert first.version.split("-")[1] == second.version.split("-")[1]


def test_the_corpus_has_the_same_bytes(by_command: Ran, by_flyte: Ran) -> None:
    for name in ("documents.jsonl", "dropped.jsonl", "coverage.json"):
        assert by_flyte.file(Corpus, name) == by_command.file(Corpus, name), name
    rows = files.read_rows(
        by_flyte.folder / "runs" / by_flyte.card(Corpus).uri / "documents.jsonl", Document
    )
    origins = list(dict.fromkeys(row.origin for row in rows))
    assert origins == ["runbook RUNBOOK.md", "docs pages", "corrections corrections.jsonl"]


def test_the_model_has_the_same_weights(by_command: Ran, by_flyte: Ran) -> None:
    assert by_flyte.card(Bundle).gguf_sha256 == by_command.card(Bundle).gguf_sha256


def test_shards_bring_the_replies_that_one_machine_would_have_asked_for(
    by_command: Ran, by_flyte: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(by_flyte.folder)
    shards = steps.store_of(by_flyte.agent()).cards(Shard)
    prompts = sum(by_flyte.card(Dataset).splits.get(split, 0) for split in TESTS)
    assert len(shards) == -(-prompts // SHARD) > 2
    assert sorted((one.number, one.count) for one in shards) == [
        (number, len(shards)) for number in range(len(shards))
    ]
    asked = [
        {(row.column, row.example) for row in files.read_rows(found, Result)}
        for found in (Path("runs") / one.uri / "results.jsonl" for one in shards)
    ]
    assert sum(map(len, asked)) == len(set.union(*asked))  # nobody asks twice

    def replies(ran: Ran) -> list[Result]:
        text = ran.file(Evaluation, "results.jsonl").splitlines()
        return [
            Result.model_validate_json(line).model_copy(update={"seconds": 0.0}) for line in text
        ]

    assert replies(by_flyte) == replies(by_command)


def test_sources_are_put_together_in_the_order_of_the_agent_file(
    by_flyte: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(by_flyte.folder)
    agent = by_flyte.agent()
    found = [harvesting.harvest(agent, number) for number in range(len(agent.collect))]
    kept = {card.id for card in steps.store_of(agent).cards(Harvest)}
    assert {card.id for card in found} == kept  # found again, not read into new folders
    known = harvesting.together(agent, found).id
    assert harvesting.together(agent, found[::-1]).id != known
    assert harvesting.together(agent, found).id == known == by_flyte.card(Dataset).parents[0]


def test_a_refusal_is_one_error_with_every_gate_and_its_hint(
    by_command: Ran, by_flyte: Ran
) -> None:
    evaluation = next(
        card
        for card in steps.store_of(
            by_flyte.agent().model_copy(update={"store": str(by_flyte.folder / "runs")})
        ).cards(Evaluation)
        if not card.overrides
    )
    failed = [gate.name for gate in evaluation.gates if not gate.passed]
    assert len(failed) > 1
    told = by_flyte.refused.splitlines()
    assert [line.split()[0] for line in told[:-1]] == failed
    assert told[-1].startswith("`opslore report AGENT.yaml` shows every wrong answer")
    for line in told[:-1]:
        assert line in by_command.refused


def test_every_step_has_a_page(by_flyte: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(by_flyte.folder)
    page = html.unescape(flowing.page(by_flyte.agent(), by_flyte.card(Release)))
    assert by_flyte.card(Release).version in page
    assert by_flyte.card(Evaluation).headline in page
    assert flowing.page(by_flyte.agent(), by_flyte.card(Harvest)) == ""


def test_the_lines_of_the_page_run_the_flow(by_flyte: Ran) -> None:
    (first, _) = re.findall(
        r"^```python\n(.+?)^```", (SOURCE.parent / "docs" / "flyte.md").read_text(), re.M | re.S
    )
    assert "agents/sre.yaml" in first
    done = subprocess.run(
        [sys.executable, "-c", first.replace("agents/sre.yaml", "tiny.yaml")],
        cwd=by_flyte.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert by_flyte.card(Deployment).id in done.stdout


WORKFLOW = """
import json, sys
from opslore import flows_v1
told = flows_v1.agent_training_pipeline(
    agent_name="tiny", model_name="tiny.gguf", runbook_path="RUNBOOK.md",
    batch_size=2, iters=1, lora_layers=1,
)
print("TOLD" + json.dumps(told._asdict()))
"""


def test_the_flyte_1_workflow_finds_the_same_release_and_tells_the_truth_about_it(
    by_command: Ran, flyte1_programs: Path, tmp_path: Path
) -> None:
    """Its parameters and the rest of the agent file give the ids that the file alone gives."""
    folder = tmp_path / "world"
    shutil.copytree(by_command.folder, folder)
    before = {path for path in folder.rglob("card.json")}
    (folder / "workflow.py").write_text(WORKFLOW)
    said = pod(folder, "python", "workflow.py", more={"OPSLORE_AGENT": "tiny.yaml"})
    told = json.loads(said.split("TOLD")[1].splitlines()[0])
    assert {path for path in folder.rglob("card.json")} == before

    release, bundle, adapter = (by_command.card(kind) for kind in (Release, Bundle, Adapter))
    assert told["model_version"] == release.version
    assert told["mlflow_uri"] == f"runs:/{release.run_id}"
    assert told["ollama_model_name"] == f"tiny:{release.version}"
    assert told["ollama_import_job"] == ""
    assert 0 <= told["accuracy"] <= 1
    there = {name: folder / told[name] for name in told if name.endswith("_path")}
    assert files.sha256(there["minio_path"]) == release.adapters_sha256
    assert files.sha256(there["ollama_minio_path"]) == release.model_sha256
    assert there["ollama_minio_path"].name == issue.MODEL
    assert (there["adapter_path"] / "adapter_model.safetensors").is_file()
    assert there["adapter_path"].parent.name == adapter.id[:16]
    assert there["ollama_modelfile_path"].read_text().startswith("FROM ")
    assert files.sha256(there["ollama_output_path"] / "model.gguf") == bundle.gguf_sha256
