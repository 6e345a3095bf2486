"""Two real runbooks as datasets: the repository's own example, and the shared OpenShift one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from opslore import files, store
from opslore.cards import Document, Dropped, Example
from opslore.config import Prepare
from opslore.config_sources import RunbookSource
from opslore.dataset import examples
from opslore.index import Index
from opslore.sources import runbook

SYSTEM = "You are an SRE assistant. Answer with the exact command, or escalate_to_human."
EXAMPLE = Path(__file__).parents[2] / "agents" / "RUNBOOK.md"


@dataclass(frozen=True)
class Written:
    """What `prepare` makes of a runbook with the default settings."""

    documents: list[Document]
    index: Index
    examples: list[Example]
    dropped: list[Dropped]
    settings: Prepare

    def split(self, *names: str) -> list[Example]:
        return [e for e in self.examples if e.split in names]


def _write(path: Path, room: Path) -> Written:
    """The dataset of a runbook, made by whichever process of the test run asks first."""
    documents = runbook.collect(RunbookSource(path=str(path)), path.parent).documents
    settings = Prepare()
    folder = room / path.stem
    with files.alone(room / f"{path.stem}.lock", wait=900):
        if not (folder / "dropped.jsonl").is_file():
            index, rows, dropped = examples.write(settings, SYSTEM, documents)
            folder.mkdir(exist_ok=True)
            index.write(folder)
            store.write_rows(folder / "examples.jsonl", rows)
            store.write_rows(folder / "dropped.jsonl", dropped)
    return Written(
        documents,
        Index.read(folder),
        list(store.read_rows(folder / "examples.jsonl", Example)),
        list(store.read_rows(folder / "dropped.jsonl", Dropped)),
        settings,
    )


@pytest.fixture(scope="session")
def example(room: Path) -> Written:
    return _write(EXAMPLE, room)


@pytest.fixture(scope="session", params=["example", "openshift"])
def written(request: pytest.FixtureRequest, room: Path) -> Written:
    if request.param == "example":
        example: Written = request.getfixturevalue("example")
        return example
    shared: Path = request.getfixturevalue("shared_data")
    return _write(shared / "runbooks" / "openshift-RUNBOOK.md", room)
