"""The champion answers the same prompts: from its own evaluation, or asked anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opslore import champions, store
from opslore.cards import Adapter, Bundle, Dataset, Evaluation, Example, Release, Result
from opslore.config import Agent
from opslore.evaluation import champion as rival
from opslore.evaluation import run as evaluation
from opslore.evaluation.champion import Champion
from opslore.evaluation.columns import Run
from opslore.evaluation.replies import Log
from opslore.index import Index
from opslore.release.current import History
from opslore.store import Store

Whole = tuple[dict[str, Any], Path, list[tuple[str, int, int]]]


@pytest.fixture
def run(agent: Agent, dataset: Path, tmp_path: Path) -> Iterator[Run]:
    with Log(tmp_path / "results.jsonl") as log:
        yield Run(agent, evaluation.read(dataset), Index.read(dataset), log, lambda *now: None)


@pytest.fixture
def champion(whole: Whole, dataset: Path, made: tuple[Path, Path]) -> Champion:
    return Champion("v1", made[0], dataset, whole[1], whole[0]["settings"])


def never(gguf: Path) -> Any:
    raise AssertionError("the champion was asked")


def test_equal_prompts_are_not_asked_again(run: Run, champion: Champion, whole: Whole) -> None:
    rival.ask(run, champion, never)
    among = rival.asked(run, champion)
    assert {e.split for e in among} == {"s1", "s2"}
    rows = store.read_rows(whole[1] / "results.jsonl", Result)
    theirs = {row.example: row.reply for row in rows if row.column == "tuned"}
    assert [run.log.found["champion", e.id].reply for e in among] == [theirs[e.id] for e in among]


def test_other_prompts_are_asked_of_its_gguf(run: Run, champion: Champion) -> None:
    changed = [_reworded(e) if e.split == "s2" else e for e in run.examples]
    asked: list[Path] = []

    def load(gguf: Path) -> Any:
        asked.append(gguf)
        return evaluation.server(run.agent, gguf)

    other = replace(run, examples=changed)
    rival.ask(other, champion, load)
    assert asked == [champion.bundle / "model.gguf"]
    assert all(run.log.get("champion", e.id) for e in rival.asked(other, champion))


def _reworded(example: Example) -> Example:
    turns = list(example.messages)
    turns[-2] = turns[-2].model_copy(update={"content": f"{turns[-2].content} please"})
    return example.model_copy(update={"messages": turns})


@pytest.mark.parametrize("key", ["max_tokens", "server"])
def test_other_settings_are_other_replies(run: Run, champion: Champion, key: str) -> None:
    with pytest.raises(AssertionError, match="was asked"):
        rival.ask(run, replace(champion, settings={**champion.settings, key: "9"}), never)


def test_without_its_weights_nothing_is_answered(
    run: Run, champion: Champion, tmp_path: Path
) -> None:
    gone = replace(champion, bundle=tmp_path, evaluation=None)
    rival.ask(run, gone, never)
    assert not [key for key in run.log.found if key[0] == "champion"]


def test_no_champion_is_asked_nothing(run: Run) -> None:
    assert rival.asked(run, None) == []


BASE = {"headline": "h", "scores": [], "gates": [], "settings": {"max_tokens": "8"}}


class Releases:
    """A store with bundles, their evaluations and releases; nothing in the folders."""

    def __init__(self, home: Store) -> None:
        self.home = home

    def bundle(self, seed: str) -> Bundle:
        splits = {"splits": {}, "dropped": 0, "digest": seed}
        dataset = self.home.made(Dataset, seed, [], lambda work: splits)
        numbers = {"steps": 1, "loss": 1.0, "valid_loss": None, "seconds": 1.0}
        origin = {"base_model": "b", "base_digest": "d"}
        adapter = self.home.made(Adapter, seed, [dataset], lambda work: {**numbers, **origin})
        digests = {"gguf_sha256": "a", "template_sha256": "b", "commands": 1}
        made = {"base_model": "b", "quantization": "f16", **digests}
        return self.home.made(Bundle, seed, [adapter], lambda work: made)

    def evaluation(self, bundle: Bundle, passed: bool = True) -> Evaluation:
        fields = {**BASE, "passed": passed}
        return self.home.made(Evaluation, passed, [bundle], lambda work: fields)

    def release(self, bundle: Bundle, version: str) -> Release:
        found = self.evaluation(bundle)
        digests = {"adapters_sha256": "a", "model_sha256": "b"}
        names = {"version": version, "agent": "a", "registry": "", "run_id": "", "blessed": True}
        return self.home.made(Release, version, [bundle, found], lambda work: {**names, **digests})

    def current(self, version: str, before: list[str]) -> None:
        text = History(version=version, before=before).model_dump_json()
        self.home.point("current", text, self.home.pointer("current"))


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(Store(tmp_path / "runs", "a"))


def test_nothing_was_released_yet(releases: Releases) -> None:
    first = releases.bundle("first")
    assert champions.champion(releases.home, first) is None
    releases.evaluation(releases.bundle("refused"), passed=False)
    releases.evaluation(first)
    assert champions.champion(releases.home, first) is None


def test_without_a_release_the_last_that_passed(releases: Releases) -> None:
    passed = releases.evaluation(releases.bundle("first"))
    found = champions.champion(releases.home, releases.bundle("second"))
    assert found is not None
    assert found.version == f"evaluation {passed.id[:12]}"
    assert found.evaluation == releases.home.path(passed)
    assert found.settings == {"max_tokens": "8"}


def test_the_deployed_release_and_never_itself(releases: Releases) -> None:
    one, two, three = (releases.bundle(name) for name in ("one", "two", "three"))
    releases.release(one, "v1")
    releases.release(two, "v2")
    releases.current("v2", before=["v1"])
    versions = [champions.champion(releases.home, bundle) for bundle in (one, two, three)]
    assert [found.version for found in versions if found] == ["v2", "v1", "v2"]
    last = versions[-1]
    assert last is not None
    assert last.bundle == releases.home.path(two)
    assert last.dataset is not None
    shutil.rmtree(last.bundle)
    assert champions.champion(releases.home, three) is None
