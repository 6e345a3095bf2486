from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from opslore import store
from opslore.config import Agent
from opslore.errors import IntegrityError, ServerError
from opslore.release import counter
from opslore.release.signing import Verified

ONE, TWO, THREE = "v20260131-0123abcd", "v20260214-89abcdef", "v20260301-00000003"


def verified(number: int, version: str, agent: str = "sre") -> Verified:
    return Verified(agent=agent, version=version, counter=number, key="0" * 64, pem="", files={})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sre.json"


def deploy(state: Path, release: Verified, rollback: bool = False) -> None:
    with counter.accepted(state, release, rollback):
        pass


def release_json(home: Path, version: str, number: int) -> None:
    listing = counter.Listing(
        agent="sre",
        version=version,
        counter=number,
        created="",
        base_model="",
        licence="",
        bundle="",
        evaluation="",
        files={},
    )
    (home / version).mkdir(parents=True)
    (home / version / "release.json").write_text(listing.model_dump_json())


def test_numbers_grow_and_stay(tmp_path: Path) -> None:
    home = store.Store(tmp_path, "sre")
    assert counter.next(home, ONE) == 1
    assert counter.next(home, TWO) == 2
    path = tmp_path / "sre" / "counter"
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    assert counter.next(home, ONE) == 1
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    assert counter.next(home, THREE) == 3


def publish_shared(root: str, first: int) -> None:
    for n in range(first, first + 5):
        counter.next(store.Store(Path(root), "sre"), f"v20260101-{n:08x}")


def test_four_machines_and_one_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=publish_shared, args=(str(tmp_path), 5 * n)) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    before = (tmp_path / "sre" / "counter").stat().st_mtime_ns
    found = [counter.next(store.Store(tmp_path, "sre"), f"v20260101-{n:08x}") for n in range(20)]
    assert sorted(found) == list(range(1, 21))
    assert (tmp_path / "sre" / "counter").stat().st_mtime_ns == before, "a re-run writes nothing"


def test_a_shared_store_that_does_not_answer(tmp_path: Path) -> None:
    class Gone(store.Store):
        lost = 0

        def point(self, name: str, text: str | None, expected: str | None) -> None:
            self.lost += 1
            raise ServerError("503", retryable=True)

    gone = Gone(tmp_path, "sre")
    with pytest.raises(ServerError, match="503"):
        counter.next(gone, ONE)
    assert gone.lost == counter.RACES, "every wait is bounded"
    (tmp_path / "sre").mkdir()
    (tmp_path / "sre" / "counter").write_text("<html>")
    with pytest.raises(IntegrityError, match="no release numbers"):
        counter.next(store.Store(tmp_path, "sre"), ONE)


def test_newer_releases_are_accepted(state: Path) -> None:
    deploy(state, verified(1, ONE))
    deploy(state, verified(3, THREE))
    before = (state.stat().st_ino, state.stat().st_mtime_ns)
    deploy(state, verified(3, THREE))
    assert (state.stat().st_ino, state.stat().st_mtime_ns) == before, "a re-run writes nothing"


def test_a_replay_is_refused(state: Path) -> None:
    deploy(state, verified(1, ONE))
    deploy(state, verified(2, TWO))
    before = state.read_bytes()
    with pytest.raises(IntegrityError, match=f"{ONE} is release 1 of sre, older than") as caught:
        deploy(state, verified(1, ONE))
    assert caught.value.exit_code == 4
    assert "opslore rollback" in caught.value.hint
    assert state.read_bytes() == before


def test_a_rollback_is_no_replay(state: Path) -> None:
    for number, version in enumerate((ONE, TWO, THREE), 1):
        deploy(state, verified(number, version))
    deploy(state, verified(2, TWO), rollback=True)
    deploy(state, verified(2, TWO))  # a re-run of what is deployed now
    with pytest.raises(IntegrityError, match="older than"):
        deploy(state, verified(1, ONE))  # going back once opens no door
    deploy(state, verified(3, THREE))  # and forward again
    with pytest.raises(IntegrityError, match="older than"):
        deploy(state, verified(2, TWO))


def test_no_clock_is_asked(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1970, a day back, a day on: the versions' dates and the clock change nothing."""
    now = time.time()
    for number, moment in enumerate((now, 0.0, now - 86400, now + 86400, now - 1), 1):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: int(moment * 1e9))
        day = time.strftime("%Y%m%d", time.gmtime(moment))
        version = f"v{day}-{number:08x}"
        assert counter.next(store.Store(state.parent, "sre"), version) == number
        deploy(state, verified(number, version))
        if number > 1:
            with pytest.raises(IntegrityError, match="older than"):
                deploy(state, verified(number - 1, "v99991231-00000000"))


def test_a_deployment_that_fails_is_not_recorded(state: Path) -> None:
    deploy(state, verified(1, ONE))
    with (
        pytest.raises(OSError, match="the target is gone"),
        counter.accepted(state, verified(2, TWO)),
    ):
        raise OSError("the target is gone")
    deploy(state, verified(1, ONE))


def test_two_releases_of_one_number(state: Path) -> None:
    deploy(state, verified(2, TWO))
    with pytest.raises(IntegrityError, match=f"{THREE} and {TWO} are both release 2"):
        deploy(state, verified(2, THREE))
    with pytest.raises(IntegrityError, match="are both release 2"):
        deploy(state, verified(2, THREE), rollback=True)


def test_another_agent_and_a_damaged_state(state: Path) -> None:
    deploy(state, verified(2, TWO))
    with pytest.raises(IntegrityError, match="is of sre, not of dba"):
        deploy(state, verified(3, THREE, agent="dba"))
    state.write_text("{}")
    with pytest.raises(IntegrityError, match="is damaged") as caught:
        deploy(state, verified(3, THREE))
    assert f"mv {state}" in caught.value.hint


def test_where_the_state_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    agent = Agent.model_validate({"name": "sre", "collect": [{"path": "R.md"}]})
    here = counter.place(agent)
    assert here.parent == tmp_path / "opslore"
    other = agent.model_copy(update={"store": "s3://ml-models"})
    assert counter.place(other) != here
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert counter.place(agent) != here, "another ./runs is another store"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert counter.place(agent).parent == Path.home() / ".local" / "state" / "opslore"
