"""The whole evaluation of answers in prose on a real, tiny model: losses, replies, the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
from evaluation import prose_world

from opslore import steps, store
from opslore.cards import Adapter, Bundle, Evaluation, Result
from opslore.config import Agent


@dataclass(frozen=True)
class Ran:
    """An evaluated agent."""

    agent: Agent
    adapter: Adapter
    bundle: Bundle
    evaluation: Evaluation

    @property
    def folder(self) -> Path:
        return steps.store_of(self.agent).path(self.evaluation)

    def rows(self, column: str) -> list[Result]:
        found = store.read_rows(self.folder / "results.jsonl", Result)
        return [row for row in found if row.column == column]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("ferry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(folder / "cache"))
        settings = prose_world.agent(tiny_models.llama(folder / "tiny.gguf"), folder / "runs")
        yield Ran(settings, *prose_world.evaluated(settings))


def test_every_column_is_asked_what_it_should_be(ran: Ran) -> None:
    counts = {c: len(ran.rows(c)) for c in ("tuned", "base", "trained", "loss-tuned", "loss-base")}
    assert counts == {"tuned": 6, "base": 6, "trained": 4, "loss-tuned": 6, "loss-base": 6}
