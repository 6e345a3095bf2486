"""Two real runbooks as datasets: the repository's own example, and the shared OpenShift one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

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


@cache
def _write(path: Path) -> Written:
    documents = runbook.collect(RunbookSource(path=str(path)), path.parent).documents
    settings = Prepare()
    return Written(documents, *examples.write(settings, SYSTEM, documents), settings)


@pytest.fixture(scope="session")
def example() -> Written:
    return _write(EXAMPLE)


@pytest.fixture(scope="session", params=["example", "openshift"])
def written(request: pytest.FixtureRequest) -> Written:
    if request.param == "example":
        return _write(EXAMPLE)
    shared: Path = request.getfixturevalue("shared_data")
    return _write(shared / "runbooks" / "openshift-RUNBOOK.md")
