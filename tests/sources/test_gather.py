"""Several sources as one corpus: read twice, written once, and without the network in `status`."""

from __future__ import annotations

from pathlib import Path

import pytest

from opslore import standing, steps, store
from opslore.cards import Corpus, Document, Dropped
from opslore.config import Agent
from opslore.sources.coverage import Coverage

RUNBOOK = (
    "### Alert: DiskFull\n\n**Symptoms:** no space\n\n**Resolution:**\n\n```bash\ndf -h\n```\n"
)
PAGE = "# Handbook\n\n" + "How the platform is run and who is called when it breaks at night. " * 5
REMOTE = [
    {"kind": "issues", "repositories": ["linkerd/linkerd2"]},
    {"kind": "docs", "path": "https://example.org/site.git"},
    {"kind": "docs", "path": "https://example.org/docs"},
    {"kind": "wiki", "repository": "linkerd/linkerd2"},
]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUNBOOK.md").write_text(RUNBOOK)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "handbook.md").write_text(PAGE)
    (tmp_path / "docs" / "LICENSE").write_text("words")
    sources = [
        {"path": "RUNBOOK.md"},
        {"kind": "docs", "path": "docs"},
        {"kind": "corrections", "path": "corrections.jsonl"},
    ]
    return Agent.model_validate({"name": "all", "collect": sources})


def test_every_row_knows_its_source_and_the_table_counts_them(agent: Agent) -> None:
    corpus = steps.collect(agent)
    folder = steps.store_of(agent).path(corpus)
    documents = list(store.read_rows(folder / "documents.jsonl", Document))
    assert [(d.kind, d.origin) for d in documents] == [
        ("alert", "runbook RUNBOOK.md"),
        ("page", "docs docs"),
    ]
    dropped = list(store.read_rows(folder / "dropped.jsonl", Dropped))
    assert {row.origin for row in dropped} == {"docs docs"}
    report = Coverage.model_validate_json((folder / "coverage.json").read_bytes())
    assert [(row.source, row.kinds) for row in report.sources] == [
        ("runbook RUNBOOK.md", {"alert": 1}),
        ("docs docs", {"page": 1}),
    ]
    assert (corpus.documents, corpus.dropped) == (2, len(dropped))


def test_the_same_world_gives_the_same_corpus_and_writes_nothing(
    agent: Agent, tmp_path: Path
) -> None:
    first = steps.collect(agent)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert steps.collect(agent) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (tmp_path / "docs" / "handbook.md").write_text(
        PAGE + "\nOne more sentence that says a thing.\n"
    )
    assert steps.collect(agent).id != first.id


@pytest.mark.parametrize("source", REMOTE, ids=lambda source: " ".join(map(str, source.values())))
def test_status_asks_no_network(source: dict[str, object], tmp_path: Path) -> None:
    agent = Agent.model_validate(
        {"name": "far", "store": str(tmp_path / "runs"), "collect": [source]}
    )
    rows = standing.status(agent)
    assert {row.state for row in rows} == {"to do"}
    assert not (tmp_path / "runs").exists()
    with store.finding(), pytest.raises(store.NotMade) as caught:
        steps.collect(agent)
    assert caught.value.kind == Corpus.kind
