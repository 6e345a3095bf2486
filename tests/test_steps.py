"""All seven steps on a small runbook with a tiny real model: once, twice, changed, and killed."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from base_models import model_cache  # noqa: F401
from flow_world import environment, runbook

from opslore import steps, store
from opslore.cards import (
    Adapter,
    Bundle,
    Card,
    Corpus,
    Dataset,
    Document,
    Evaluation,
    Release,
)
from opslore.config import Agent
from opslore.errors import GateFailed, IntegrityError, MissingInput
from opslore.release import issue, rollout

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "base_model": "tiny.gguf",
    "collect": [{"path": "RUNBOOK.md"}],
    "prepare": {"s1": 10, "s2": 3, "s3": 6, "s4": 3, "phrasings": 2, "calibrate": 30},
    "train": {"iters": 4, "lora_layers": 1, "batch_size": 2, "save_every": 1},
    "export": {"quantization": "f16", "num_ctx": 2048},
    "evaluate": {
        "max_tokens": 8,
        "general": 20,
        "parity": 2,
        "base": 4,
        "closed": 2,
        "resamples": 100,
        "gate": {
            "recall": 0,
            "unsafe": 1000,
            "unsafe_freely": 1,
            "abstention": 1,
            "false_escalation": 1,
            "parity": 0,
            "min_s1": 1,
            "min_s3": 1,
            "min_s4": 1,
        },
    },
    "publish": {"registry": "sqlite:///runs/mlflow.db"},
}
KINDS: list[type[Card]] = [Corpus, Dataset, Adapter, Bundle, Evaluation]


def settings(**changed: dict[str, Any] | list[Any] | str) -> Agent:
    """The agent above; a section that is given as a mapping keeps its other keys."""
    merged = {
        key: {**SETTINGS[key], **value} if isinstance(value, dict) else value
        for key, value in changed.items()
    }
    return Agent.model_validate({**SETTINGS, **merged})


@dataclass(frozen=True)
class World:
    """A folder in which the flow ran until its gate refused."""

    folder: Path
    refused: list[str]

    def card(self, kind: type[Any]) -> Any:
        return store.Store(self.folder / "runs", "tiny").latest(kind)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> World:
    folder = tmp_path_factory.mktemp("world")
    (folder / "RUNBOOK.md").write_text(runbook())
    tiny_models.llama(folder / "tiny.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(GateFailed) as caught:
            steps.run(settings())
    return World(folder, caught.value.reasons)


@pytest.fixture
def here(ran: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of that folder, as the working folder."""
    folder = tmp_path / "world"
    shutil.copytree(ran.folder, folder)
    monkeypatch.chdir(folder)
    return World(folder, ran.refused)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and its time of change."""
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def blessed(evaluation: Evaluation) -> Evaluation:
    """The same evaluation with every gate passed: what publish is given after a good training."""
    gates = [gate.model_copy(update={"passed": True}) for gate in evaluation.gates]
    return evaluation.model_copy(update={"passed": True, "gates": gates})


def test_untrained_weights_are_refused_with_one_line_per_gate(ran: World) -> None:
    assert ran.refused
    for line in ran.refused:
        assert re.fullmatch(r"G\d \w+: .+, needs .+", line), line
    assert any(line.startswith("G4 gain: ") for line in ran.refused)
    assert ran.card(Evaluation).passed is False
    with pytest.raises(MissingInput):
        ran.card(Release)


def test_every_card_names_its_parents_and_its_folder(ran: World) -> None:
    corpus, dataset, adapter, bundle, evaluation = (ran.card(kind) for kind in KINDS)
    assert dataset.parents == [corpus.id]
    assert adapter.parents == [dataset.id]
    assert bundle.parents == [adapter.id]
    assert evaluation.parents == [dataset.id, bundle.id]
    home = store.Store(ran.folder / "runs", "tiny")
    for card in (corpus, dataset, adapter, bundle, evaluation):
        assert card.uri == f"tiny/{card.kind}/{card.id[:16]}"
        assert home.path(card) == ran.folder / "runs" / card.uri
        text = (home.path(card) / "card.json").read_text()
        assert str(ran.folder) not in text
    assert home.leftovers() == []
    assert store.sha256(home.path(bundle) / "model.gguf") == bundle.gguf_sha256
    assert sorted(p.name for p in home.path(bundle).iterdir()) == sorted(
        ["card.json", *issue.SHIPPED, *issue.MEANING]
    )
    assert "PARAMETER num_predict 8" in (home.path(bundle) / "Modelfile").read_text()


def test_a_second_run_makes_nothing_anew(here: World) -> None:
    before = state(here.folder)
    began = time.process_time()
    with pytest.raises(GateFailed) as caught:
        steps.run(settings())
    assert caught.value.reasons == here.refused
    assert state(here.folder) == before
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"train": {"lora_rank": 4}}, [Corpus, Dataset]),
        ({"export": {"num_ctx": 1024}}, [Corpus, Dataset, Adapter]),
        ({"evaluate": {"resamples": 101}}, [Corpus, Dataset, Adapter, Bundle]),
        # The Modelfile carries it: Ollama must stop where the evaluation stopped.
        ({"evaluate": {"max_tokens": 9}}, [Corpus, Dataset, Adapter]),
        ({"prepare": {"seed": 1}}, [Corpus]),
        ({"system_prompt": "Other."}, [Corpus]),
        ({"deploy": [{"kind": "folder", "path": "out"}]}, KINDS),
        ({"publish": {"registry": "sqlite:///other.db"}}, KINDS),
    ],
    ids=["train", "export", "evaluate", "max_tokens", "prepare", "system", "deploy", "publish"],
)
def test_a_changed_key_keeps_what_does_not_read_it(
    ran: World,
    changed: dict[str, Any],
    kept: list[type[Card]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ran.folder)
    agent = settings(**changed)
    found: list[Card] = []
    with store.finding():
        try:
            found.append(corpus := steps.collect(agent))
            found.append(dataset := steps.prepare(agent, corpus))
            found.append(adapter := steps.train(agent, dataset))
            found.append(bundle := steps.export(agent, adapter))
            found.append(steps.evaluate(agent, dataset, bundle))
        except store.NotMade:
            pass
    assert [type(card) for card in found] == kept
    assert [card.id for card in found] == [ran.card(kind).id for kind in kept]


def test_another_commit_around_the_same_runbook_is_the_same_corpus(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *name, *arguments], check=True, capture_output=True)

    def commit() -> str:
        shutil.rmtree("runs")
        corpus = steps.collect(settings())
        assert corpus.id == known
        return corpus.commit

    known = here.card(Corpus).id
    assert here.card(Corpus).commit == ""
    git("init", "--initial-branch=main")
    git("add", "RUNBOOK.md")
    git("commit", "--message=one")
    first = commit()
    git("commit", "--amend", "--message=two")
    second = commit()
    assert first
    assert second
    assert first != second
    rows = store.read_rows(
        store.Store(Path("runs"), "tiny").folder(Corpus, known) / "documents.jsonl", Document
    )
    assert {row.span.commit for row in rows} == {second}
    text = Path("RUNBOOK.md").read_text()
    Path("RUNBOOK.md").write_text(text.replace("uptime -p", "uptime --pretty"))
    assert steps.collect(settings()).id != known


def _names(agent: Agent) -> list[str]:
    """What names the release: the agent file's targets, the registry, the store."""
    return [target.name for target in rollout.targets(agent, steps.store_of(agent))]


@pytest.fixture(scope="module")
def released(ran: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("released") / "world"
    shutil.copytree(ran.folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluation = blessed(ran.card(Evaluation))
        release = steps.publish(settings(), ran.card(Bundle), evaluation)
        assert release.blessed
        yield World(folder, [])


class TestRelease:
    def test_what_the_gate_refuses_is_not_published(self, here: World) -> None:
        before = state(here.folder)
        with pytest.raises(GateFailed) as caught:
            steps.publish(settings(), here.card(Bundle), here.card(Evaluation))
        assert caught.value.reasons == here.refused
        assert caught.value.hint.startswith("`opslore report AGENT.yaml` shows every wrong answer")
        assert state(here.folder) == before

    def test_the_archives_are_what_the_card_says(self, released: World) -> None:
        release, bundle = released.card(Release), released.card(Bundle)
        assert re.fullmatch(r"v\d{8}-[0-9a-f]{8}", release.version)
        assert release.version.endswith(bundle.id[:8])
        folder = released.folder / "runs" / "tiny" / release.version
        assert store.sha256(folder / issue.ADAPTERS) == release.adapters_sha256
        assert store.sha256(folder / issue.MODEL) == release.model_sha256

    def test_publishing_again_writes_nothing(self, released: World) -> None:
        before = state(released.folder)
        again = steps.publish(settings(), released.card(Bundle), blessed(released.card(Evaluation)))
        assert again == released.card(Release)
        assert state(released.folder) == before

    def test_a_lost_release_is_packed_to_the_same_bytes(self, released: World) -> None:
        lost = released.card(Release)
        home = store.Store(released.folder / "runs", "tiny")
        shutil.rmtree(home.home / "release")
        shutil.rmtree(home.home / lost.version)
        again = steps.publish(settings(), released.card(Bundle), blessed(released.card(Evaluation)))
        assert (again.id, again.version) == (lost.id, lost.version)
        assert again.adapters_sha256 == lost.adapters_sha256
        assert again.model_sha256 == lost.model_sha256

    def test_a_folder_gets_the_release_once(self, released: World) -> None:
        agent = settings(deploy=[{"kind": "folder", "path": "served"}])
        release = released.card(Release)
        first = steps.deploy(agent, release)
        assert first.targets == _names(agent)
        current = released.folder / "served" / "current"
        names = sorted(p.name for p in current.iterdir())
        assert {*issue.SHIPPED, *issue.MEANING} <= set(names)
        bundle = released.card(Bundle)
        assert store.sha256(current / "model.gguf") == bundle.gguf_sha256
        before = state(released.folder)
        assert steps.deploy(agent, release) == first
        assert state(released.folder) == before

    def test_without_targets_nothing_leaves_the_store(self, released: World) -> None:
        before = set(state(released.folder))
        assert steps.deploy(settings(), released.card(Release)).targets == _names(settings())
        assert all(
            name.startswith(("runs/tiny/deploy", "runs/tiny/current", "runs/tiny/.current"))
            for name in set(state(released.folder)) - before
        )

    def test_a_tampered_archive_is_not_deployed(self, released: World) -> None:
        release = released.card(Release)
        packed = released.folder / "runs" / "tiny" / release.version / issue.MODEL
        whole = packed.read_bytes()
        try:
            packed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(IntegrityError, match=issue.MODEL):
                steps.deploy(settings(deploy=[{"kind": "folder", "path": "elsewhere"}]), release)
        finally:
            packed.write_bytes(whole)
        assert not (released.folder / "elsewhere").exists()


def test_a_lost_parent_is_named_with_what_makes_it_again(here: World) -> None:
    shutil.rmtree(store.Store(here.folder / "runs", "tiny").path(here.card(Dataset)))
    with pytest.raises(MissingInput) as caught:
        steps.export(settings(), here.card(Adapter))
    uri = here.card(Adapter).uri
    assert caught.value.message == f"the dataset that {uri} was made from is gone"
    assert caught.value.hint == "run `opslore prepare AGENT.yaml` again"


@pytest.mark.slow
def test_killed_at_any_step_it_ends_where_an_undisturbed_run_ends(
    tmp_path: Path,
    model_cache: Path,
) -> None:
    """SIGKILL in each of five steps; measured: 55 s on two cores."""
    rng = random.Random(time.time_ns())
    whole, killed = (begun(tmp_path / name) for name in ("whole", "killed"))
    assert start(whole).wait(300) == 3
    for kind in KINDS:
        process = start(killed)
        wait_for(killed, kind, process)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(killed).wait(300) == 3
    for kind in KINDS:
        one, two = (store.Store(room / "runs", "tiny").latest(kind) for room in (whole, killed))
        assert one.id == two.id
    for name in ("train.jsonl", "s1.jsonl", "index.jsonl"):
        assert digest(whole, Dataset, name) == digest(killed, Dataset, name)
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert digest(whole, Adapter, name) == digest(killed, Adapter, name)
    for name in ("model.gguf", "Modelfile", "catalogue.json"):
        assert digest(whole, Bundle, name) == digest(killed, Bundle, name)
    assert not list((killed / "runs" / "tiny" / ".work").glob("*"))


def begun(folder: Path) -> Path:
    """A folder with everything the command line needs."""
    folder.mkdir()
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "tiny.yaml").write_text(settings().model_dump_json())
    tiny_models.llama(folder / "tiny.gguf")
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    """One thread, because the order of a sum decides its last bits."""
    return subprocess.Popen(
        [sys.executable, "-m", "opslore", "run", "tiny.yaml"],
        cwd=folder,
        env={**environment(), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(folder: Path, kind: type[Card], process: subprocess.Popen[bytes]) -> None:
    """Until the step has begun, or is over."""
    home = folder / "runs" / "tiny"
    for _ in range(30_000):
        begun = list((home / ".work").glob(f"{kind.kind}-*"))
        if begun or list((home / kind.kind).glob("*/card.json")) or process.poll() is not None:
            return
        time.sleep(0.01)
    pytest.fail(f"{kind.kind} never began")


def digest(folder: Path, kind: type[Card], name: str) -> str:
    home = store.Store(folder / "runs", "tiny")
    return store.sha256(home.path(home.latest(kind)) / name)
