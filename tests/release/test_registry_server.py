"""The registry on a real MLflow server, behind a proxy that counts, kills and breaks."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from between import CUT, LOST, Answer, Between, Call, between

from opslore.errors import MissingInput, OpsloreError, ServerError
from opslore.release import connection, registry
from opslore.release.champion import Champion
from opslore.release.targets import Staged, switch

pytest_plugins = ["real.fixtures"]

V1 = "v20260131-0123abcd"
V2 = "v20260214-89abcdef"


@dataclass
class World:
    """A server behind a proxy, and an agent that nobody else uses."""

    proxy: Between
    agent: str
    card: Path

    def register(self, version: str = V1, **more: Any) -> str:
        release: dict[str, Any] = {
            "agent": self.agent,
            "version": version,
            "params": {f"train.p{n}": str(n) for n in range(120)},
            "metrics": {"S1": 0.925, "S1.low": 0.9, "S1.high": 0.95, "tuned/s1/exact:chat": 0.5},
            "tags": {"opslore.dataset": "ab" * 32, "opslore.runbook_commit": ""},
            "source": f"s3://ml-models/{self.agent}/{version}/ollama-model.tar.gz",
            "artifacts": [self.card],
        }
        return registry.register(self.proxy.url, **{**release, **more})

    def find(self, version: str = V1) -> registry.Registered:
        found = registry.find(self.proxy.url, self.agent, version)
        assert found is not None
        return found

    def point(self, version: str | None) -> None:
        registry.point(self.proxy.url, self.agent, "champion", version)

    def pointed(self) -> str | None:
        return registry.pointed(self.proxy.url, self.agent, "champion")

    def counts(self) -> tuple[int, int]:
        """Runs of the agent, and model versions."""
        with connection.connected(self.proxy.url, write=False) as client:
            experiment = client.get_experiment_by_name(self.agent)
            runs = client.search_runs([experiment.experiment_id])
            return len(runs), len(client.search_model_versions(f"name = '{self.agent}'"))

    def writes(self) -> list[str]:
        """What was asked of the server besides reading; its searches are POSTs too."""
        asked = self.proxy.methods("POST", "PUT", "PATCH", "DELETE")
        return [path for path in asked if not path.endswith("/search")]


@pytest.fixture
def world(mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    card = tmp_path / "evaluation.json"
    card.write_text('{"headline": "right"}')
    with between(mlflow_server) as proxy:
        yield World(proxy, f"sre-{secrets.token_hex(5)}", card)


def whole(world: World, run_id: str) -> None:
    """One run, one version, everything on it, `candidate` there."""
    found = world.find()
    assert found.run_id == run_id
    assert (found.finished, found.aliases, found.model_version) == (True, ["candidate"], "1")
    assert found.source == f"s3://ml-models/{world.agent}/{V1}/ollama-model.tar.gz"
    assert len(found.params) == 120
    assert found.metrics == {
        "S1": 0.925,
        "S1.low": 0.9,
        "S1.high": 0.95,
        "tuned/s1/exact:chat": 0.5,
    }
    assert found.tags["opslore.dataset"] == "ab" * 32
    with connection.connected(world.proxy.url, write=False) as client:
        assert [item.path for item in client.list_artifacts(run_id)] == ["evaluation.json"]
    assert world.counts() == (1, 1)


def test_a_release_is_registered_with_its_evaluation(world: World, tmp_path: Path) -> None:
    run_id = world.register()
    whole(world, run_id)
    with connection.connected(world.proxy.url, write=False) as client:
        kept = client.download_artifacts(run_id, "evaluation.json", str(tmp_path))
        assert Path(kept).read_text() == '{"headline": "right"}'
        version = client.get_model_version_by_alias(world.agent, "candidate")
        assert (version.run_id, version.tags) == (run_id, {"opslore.version": V1})


def test_the_second_time_nothing_is_written(world: World) -> None:
    first = world.register()
    assert len(world.writes()) >= 7
    for _ in range(2):
        world.proxy.forget()
        assert world.register() == first
        assert world.writes() == []


def test_an_archive_on_disk_has_a_source_that_the_server_takes(world: World) -> None:
    source = f"opslore://{world.agent}/{V1}/ollama-model.tar.gz"
    world.register(source=source)
    assert world.find().source == source


def test_a_server_that_keeps_files_elsewhere_is_told_in_a_tag(world: World) -> None:
    with connection.connected(world.proxy.url, write=True) as client:
        client.create_experiment(world.agent, artifact_location="s3://theirs/mlflow")
    first = world.register()
    found = world.find()
    assert found.finished
    assert found.tags[registry.NOT_KEPT] == "evaluation.json"
    world.proxy.forget()
    assert world.register() == first
    assert world.writes() == []


def _child(call: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            call()
            status = 0
        except OpsloreError:
            status = 1
        finally:
            os._exit(status)
    return pid


@pytest.mark.slow
def test_killed_between_any_two_calls_the_next_publish_completes(world: World) -> None:
    world.register()
    total, agent = len(world.proxy.calls), world.agent
    assert total >= 12
    for number in range(1, total + 1):
        world.agent = f"{agent}-{number}"
        world.proxy.forget()
        pids: list[int] = []

        def kill(call: Call, at: int = number, pids: list[int] = pids) -> Answer | None:
            if call.number != at:
                return None
            while not pids:
                pass
            os.kill(pids[0], signal.SIGKILL)
            return LOST if at % 2 else CUT

        world.proxy.rule = kill
        pids.append(_child(world.register))
        assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == -9, number
        world.proxy.forget()
        left = registry.find(world.proxy.url, world.agent, V1)
        if left is not None and not left.finished:
            with pytest.raises(MissingInput, match="half registered"):
                Champion(world.proxy.url, world.agent).stage(_staged(world.agent, V1))
        whole(world, world.register())


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [Answer(500), LOST, Answer(503, after=True)])
def test_a_call_that_fails_once_or_whose_answer_is_lost_makes_nothing_twice(
    world: World, breaks: Answer
) -> None:
    world.register()
    total, agent = len(world.proxy.calls), world.agent
    for number in range(1, total + 1):
        world.agent = f"{agent}-{number}"
        world.proxy.forget()
        world.proxy.rule = lambda call, at=number: breaks if call.number == at else None  # type: ignore[misc]
        refused: list[ServerError] = []
        try:
            run_id = world.register()
        except ServerError as error:
            refused.append(error)
            run_id = world.register()
        assert all(error.retryable for error in refused), number
        whole(world, run_id)


def test_a_server_that_fails_for_ever_says_so(world: World) -> None:
    world.proxy.rule = lambda call: Answer(500, b"oops")
    with pytest.raises(ServerError, match=r"MLflow registry http://127\.0\.0\.1:") as caught:
        world.register()
    assert caught.value.retryable
    assert "nothing is registered twice" in caught.value.hint
    assert len(world.proxy.calls) <= 8


def test_a_server_that_wants_a_password(world: World) -> None:
    world.proxy.rule = lambda call: Answer(401, b"You are not authenticated.")
    for call in (world.register, world.pointed, lambda: world.point(V1)):
        with pytest.raises(ServerError) as caught:
            call()
        assert "set MLFLOW_TRACKING_USERNAME" in caught.value.hint
        assert not caught.value.retryable


def test_champion_moves_at_deploy_and_not_at_publish(world: World) -> None:
    world.register(V1)
    world.register(V2)
    assert (world.find(V1).aliases, world.find(V2).aliases) == ([], ["candidate"])
    assert world.pointed() is None
    champion = Champion(world.proxy.url, world.agent)
    champion.stage(_staged(world.agent, V1))
    assert switch([champion], world.agent, V1) == [champion.name]
    assert switch([champion], world.agent, V2) == [champion.name]
    assert (world.find(V1).aliases, world.find(V2).aliases) == ([], ["candidate", "champion"])
    world.proxy.forget()
    assert switch([champion], world.agent, V2) == []
    assert world.writes() == []
    world.register(V1)
    assert (champion.now(), world.find(V1).aliases) == (V2, ["candidate"])
    champion.move(V1)
    assert world.pointed() == V1
    champion.move(None)
    assert world.pointed() is None


def test_a_reader_of_champion_never_sees_none_while_it_moves(world: World) -> None:
    world.register(V1)
    world.register(V2)
    world.point(V1)
    pid = _child(lambda: [world.point(v) for v in [V2, V1] * 5])
    seen = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        seen.add(world.pointed())
    assert seen <= {V1, V2}
    assert len(seen) >= 1


def test_an_agent_that_was_never_published(world: World) -> None:
    assert world.pointed() is None
    assert registry.find(world.proxy.url, world.agent, V1) is None
    with pytest.raises(MissingInput, match="not registered"):
        Champion(world.proxy.url, world.agent).stage(_staged(world.agent, V1))
    with pytest.raises(MissingInput, match="has no version"):
        world.point(V1)
    world.point(None)
    assert world.writes() == []


def _staged(agent: str, version: str) -> Staged:
    return Staged(agent, version, Path("files"), "s3://ml/x", "ab" * 32)
