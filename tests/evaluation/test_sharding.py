"""Answers in prose asked in parts: the evaluation is the one that is made in one piece."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_models
from evaluation import prose_world

from opslore import sharding, steps, store
from opslore.cards import Adapter, Bundle, Evaluation, Result
from opslore.config import Agent
from opslore.errors import IntegrityError
from opslore.shard import Shard


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent whose store has everything, the evaluation in one piece included."""
    folder = tmp_path_factory.mktemp("ferry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(folder / "cache"))
        agent = prose_world.agent(tiny_models.llama(folder / "tiny.gguf"), folder / "runs")
        prose_world.evaluated(agent)
    return agent


@pytest.fixture
def other(ran: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The same store without an evaluation, and without what is kept of the base model."""
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ran.store, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "ferry" / "evaluation")
    return ran.model_copy(update={"store": str(tmp_path / "runs")})


def replies(agent: Agent) -> list[Result]:
    home = steps.store_of(agent)
    path = home.path(home.latest(Evaluation)) / "results.jsonl"
    return [row.model_copy(update={"seconds": 0.0}) for row in store.read_rows(path, Result)]


def test_in_parts_or_in_one_piece_it_is_the_same(ran: Agent, other: Agent) -> None:
    home = steps.store_of(other)
    dataset, bundle = prose_world.dataset(home), home.latest(Bundle)
    count = sharding.count(other, dataset, bundle, 2)
    assert count == 3  # five prompts with a reference, two a part
    shards = [sharding.ask(other, dataset, bundle, number, count) for number in range(count)]
    # A part that is there is found, whoever asks for it.
    assert sharding.ask(other, dataset, bundle, 0, count) == shards[0]
    for shard in shards:
        path = home.path(shard) / "results.jsonl"
        columns = {row.column for row in store.read_rows(path, Result)}
        assert columns == {"tuned", "base", "loss-tuned", "loss-base"}
    made = sharding.judge(other, dataset, bundle, shards)
    there = steps.store_of(ran).latest(Evaluation)
    assert made.id == there.id
    assert made.scores == there.scores
    assert made.gates == there.gates
    assert replies(other) == replies(ran)
    assert sharding.count(other, dataset, bundle, 2) == 0  # nobody need ask again


def test_a_small_set_is_asked_by_one(other: Agent) -> None:
    home = steps.store_of(other)
    assert sharding.count(other, prose_world.dataset(home), home.latest(Bundle), 300) == 0


def test_a_part_that_was_changed_is_refused(other: Agent) -> None:
    home = steps.store_of(other)
    dataset, bundle = prose_world.dataset(home), home.latest(Bundle)

    def made(work: Path) -> dict[str, object]:
        (work / "results.jsonl").write_text("{}\n")
        return {"number": 0, "count": 1, "replies": 1, "digest": "0" * 64}

    shard = home.made(Shard, {}, [dataset, bundle], made)
    with pytest.raises(IntegrityError, match="not what its card says"):
        sharding.judge(other, dataset, bundle, [shard])
    assert home.cards(Evaluation) == []
    assert home.latest(Adapter)
