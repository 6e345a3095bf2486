"""Two real releases and every kind of pointer that needs no server: all of them move, or none."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import test_steps
from base_models import model_cache  # noqa: F401
from test_steps import blessed, ran, settings  # noqa: F401

from opslore import steps, whereabouts
from opslore.cards import Adapter, Bundle, Evaluation, Release
from opslore.config import Agent
from opslore.errors import GateFailed, IntegrityError, MissingInput, ServerError
from opslore.release import issue, rollout
from opslore.release.current import History, history
from opslore.release.targets import Target
from opslore.store import Store

VALUES = "bot:\n  model: llama3:8b   # moved by opslore\n"
DEPLOY = [
    {"kind": "folder", "path": "served"},
    {"kind": "values", "file": "values.yaml", "key": "bot.model"},
]


@dataclass(frozen=True)
class Releases:
    """A folder with two published releases, none of them deployed."""

    agent: Agent
    home: Store
    first: Release
    second: Release

    def targets(self) -> list[Target]:
        return rollout.targets(self.agent, self.home)

    def states(self) -> list[str | None]:
        return [target.now() for target in self.targets()]


@pytest.fixture(scope="module")
def published(ran: test_steps.World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "world"
    shutil.copytree(ran.folder, folder)
    (folder / "values.yaml").write_text(VALUES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluation = blessed(ran.card(Evaluation))
        steps.publish(settings(), ran.card(Bundle), evaluation)
        other = settings(export={"num_ctx": 1024})
        bundle = steps.export(other, ran.card(Adapter))
        steps.publish(other, bundle, evaluation)
    return folder


@pytest.fixture
def world(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    shutil.copytree(published, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    agent = settings(deploy=DEPLOY)
    home = steps.store_of(agent)
    first, second = home.cards(Release)
    return Releases(agent, home, first, second)


def test_every_pointer_moves_and_back(world: Releases) -> None:
    assert whereabouts_of(world) == ["empty"] * 4 + ["ok"]  # the candidate is published
    steps.deploy(world.agent, world.first)
    said = Path("values.yaml").read_text()
    assert said == VALUES.replace("llama3:8b", f"tiny:{world.first.version}")
    assert Path("served/current").resolve().name == world.first.version
    steps.deploy(world.agent, world.second)
    assert whereabouts_of(world) == ["ok"] * 5
    assert history(world.home) == History(
        version=world.second.version, before=[world.first.version]
    )
    assert len(steps.rollback(world.agent)) == 4
    assert Path("served/current").resolve().name == world.first.version
    assert whereabouts_of(world) == ["ok"] * 5
    assert history(world.home) == History(
        version=world.first.version, withdrawn=[world.second.version]
    )
    with pytest.raises(MissingInput, match="nothing was before it"):
        steps.rollback(world.agent)


def whereabouts_of(world: Releases) -> list[str]:
    return [place.state for place in whereabouts.places(world.agent)]


def test_what_was_rolled_back_comes_again_only_when_asked_for(world: Releases) -> None:
    steps.deploy(world.agent, world.first)
    steps.deploy(world.agent, world.second)
    steps.rollback(world.agent)
    states = world.states()
    with pytest.raises(GateFailed, match=f"{world.second.version} was rolled back"):
        steps.deploy(world.agent, world.second)
    assert world.states() == states
    steps.deploy(world.agent, world.second, again=True)
    assert history(world.home).version == world.second.version
    assert history(world.home).withdrawn == []


def test_an_older_release_is_no_update(world: Releases) -> None:
    """A replay: signed and whole, but older than what is deployed."""
    steps.deploy(world.agent, world.second)
    states = world.states()
    with pytest.raises(IntegrityError, match="older than"):
        steps.deploy(world.agent, world.first)
    assert world.states() == states


@pytest.mark.parametrize("late", [False, True], ids=["before it moved", "after it moved"])
@pytest.mark.parametrize("which", range(4), ids=["folder", "values", "champion", "current"])
def test_a_refusal_at_any_pointer_leaves_all_on_the_old_release(
    world: Releases, monkeypatch: pytest.MonkeyPatch, which: int, late: bool
) -> None:
    steps.deploy(world.agent, world.first)
    states = world.states()
    broken = type(world.targets()[which])
    real, calls = broken.move, []

    def move(self: Target, state: str | None) -> None:
        calls.append(state)
        if len(calls) == 1 and not late:
            raise ServerError("the server went away")
        real(self, state)
        if len(calls) == 1:
            raise ServerError("the answer was lost")

    monkeypatch.setattr(broken, "move", move)
    with pytest.raises(ServerError, match=r"went away|was lost"):
        steps.deploy(world.agent, world.second)
    assert world.states() == states
    assert history(world.home).version == world.first.version
    # It was only this once: the next try goes through.
    steps.deploy(world.agent, world.second)
    assert history(world.home).version == world.second.version


@pytest.mark.parametrize("which", range(2), ids=["folder", "values"])
def test_a_refusal_while_staging_moves_nothing(
    world: Releases, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    steps.deploy(world.agent, world.first)
    states = world.states()

    def stage(self: Target, release: object) -> None:
        raise ServerError("no space left")

    monkeypatch.setattr(type(world.targets()[which]), "stage", stage)
    with pytest.raises(ServerError, match="no space left"):
        steps.deploy(world.agent, world.second)
    assert world.states() == states


@pytest.mark.parametrize("name", [issue.MODEL, "evaluation.json", "model.sig", "release.json"])
def test_a_tampered_release_is_not_deployed(world: Releases, name: str) -> None:
    steps.deploy(world.agent, world.first)
    states = world.states()
    file = issue.folder(world.home, world.second.version) / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    with pytest.raises(IntegrityError):
        steps.deploy(world.agent, world.second)
    assert world.states() == states


def test_deploying_the_same_again_writes_nothing(world: Releases) -> None:
    steps.deploy(world.agent, world.first)
    before = test_steps.state(Path.cwd())
    steps.deploy(world.agent, world.first)
    assert test_steps.state(Path.cwd()) == before


def test_a_lost_place_is_marked_with_what_mends_it(world: Releases) -> None:
    steps.deploy(world.agent, world.first)
    text = Path("values.yaml").read_text()
    Path("values.yaml").write_text(text.replace(world.first.version, "v20200101-00000000"))
    found = {place.name: place for place in whereabouts.places(world.agent)}
    assert [p.name for p in found.values() if p.state == "differs"] == [
        "values values.yaml bot.model"
    ]
    assert found["values values.yaml bot.model"].mend == "opslore deploy AGENT.yaml --again"
    steps.deploy(world.agent, world.first, again=True)
    assert Path("values.yaml").read_text() == text
