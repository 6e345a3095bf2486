"""Pointers move last and together: with real folders, and a failure at every step of the switch."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from opslore import progress
from opslore.errors import ConfigError, MissingInput, OpsloreError, ServerError
from opslore.release.foldertarget import FolderTarget
from opslore.release.targets import Staged, Target, switch

T = TypeVar("T")

OLD, NEW = "v20260131-0123abcd", "v20260214-89abcdef"


def staged(room: Path, version: str) -> Staged:
    files = room / version
    files.mkdir(parents=True)
    (files / "model.gguf").write_bytes(version.encode() * 5000)
    (files / "Modelfile").write_text(f"# {version}\n")
    return Staged("sre", version, files, str(files), "0" * 64)


@pytest.fixture
def places(tmp_path: Path) -> list[FolderTarget]:
    """Three folders that serve the old release, with the new one staged beside it."""
    found = [FolderTarget(tmp_path / f"target-{n}") for n in range(3)]
    for version in (OLD, NEW):
        release = staged(tmp_path / "room", version)
        for place in found:
            place.stage(release)
    assert switch(found, "sre", OLD) == [place.name for place in found]
    return found


def served(places: list[FolderTarget]) -> list[str]:
    """The version that a reader of each folder gets, from the files themselves."""
    return [(p.path / "current" / "Modelfile").read_text().strip("# \n") for p in places]


@dataclass
class Broken:
    """A real folder whose switch breaks at one step, before or after it has had its effect."""

    real: FolderTarget
    step: str
    error: BaseException
    after: bool = False
    times: int = 1

    @property
    def name(self) -> str:
        return self.real.name

    def stage(self, release: Staged) -> None:
        self.real.stage(release)

    def aim(self, agent: str, version: str) -> str:
        return self._call("aim", lambda: self.real.aim(agent, version))

    def now(self) -> str | None:
        return self._call("now", self.real.now)

    def move(self, state: str | None) -> None:
        return self._call("move", lambda: self.real.move(state))

    def _call(self, step: str, call: Callable[[], T]) -> T:
        breaks = step == self.step and self.times > 0
        self.times -= breaks
        if breaks and not self.after:
            raise self.error
        found = call()
        if breaks:
            raise self.error
        return found


@contextmanager
def reader(path: Path) -> Iterator[Callable[[], dict[str, int]]]:
    """Another process that reads `current` in a loop; ask it at the end what it saw."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        seen: dict[str, int] = {}
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        os.write(theirs, b"\n")
        while not stop:
            try:
                text = (path / "current" / "Modelfile").read_text().strip("# \n")
            except OSError as error:
                text = f"nothing: {error.strerror}"
            seen[text] = seen.get(text, 0) + 1
        os.write(theirs, json.dumps(seen).encode())
        os._exit(0)
    os.close(theirs)
    os.read(ours, 1)
    asked: list[dict[str, int]] = []

    def ask() -> dict[str, int]:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        asked.append(json.loads(os.read(ours, 1 << 16)))
        return asked[0]

    try:
        yield ask
    finally:
        if not asked:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(ours)


def test_all_move(places: list[FolderTarget]) -> None:
    assert switch(places, "sre", NEW) == [place.name for place in places]
    assert served(places) == [NEW] * 3
    assert switch(places, "sre", NEW) == [], "a second time nothing moves"
    assert switch(places, "sre", OLD) == [place.name for place in places], "and back"
    assert served(places) == [OLD] * 3


def test_only_those_that_differ_move(places: list[FolderTarget]) -> None:
    switch(places[1:2], "sre", NEW)
    assert switch(places, "sre", NEW) == [places[0].name, places[2].name]


ERRORS: list[BaseException] = [
    ServerError("the target is gone"),
    OSError(5, "Input/output error"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["now", "aim", "move"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_failure_anywhere_leaves_all_on_the_old_release(
    places: list[FolderTarget], number: int, step: str, after: bool, error: BaseException
) -> None:
    targets: list[Target] = list(places)
    targets[number] = Broken(places[number], step, error, after)
    with pytest.raises(type(error)) as caught:
        switch(targets, "sre", NEW)
    assert caught.value is error, "its own error is told"
    assert served(places) == [OLD] * 3
    assert switch(places, "sre", NEW) != [], "and the next try does it"
    assert served(places) == [NEW] * 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_stopped_between_two_pointers(places: list[FolderTarget], number: int) -> None:
    """Ctrl-C while the listener is told about a step."""

    def listen(what: str, done: int, total: int, note: str) -> None:
        if done == number:
            raise KeyboardInterrupt

    with progress.listening(listen), pytest.raises(KeyboardInterrupt):
        switch(places, "sre", NEW)
    assert served(places) == [OLD] * 3


def test_a_real_refusal(places: list[FolderTarget]) -> None:
    """No injection: the last folder has lost its staged version."""
    shutil.rmtree(places[2].path / "versions" / NEW)
    with pytest.raises(MissingInput, match="is not there"):
        switch(places, "sre", NEW)
    assert served(places) == [OLD] * 3


def test_a_pointer_that_was_not_there_is_gone_again(tmp_path: Path) -> None:
    release = staged(tmp_path / "room", NEW)
    places = [FolderTarget(tmp_path / f"target-{n}") for n in range(2)]
    for place in places:
        place.stage(release)
    broken = Broken(places[1], "move", ServerError("no"))
    with pytest.raises(ServerError, match="no"):
        switch([places[0], broken], "sre", NEW)
    assert [place.now() for place in places] == [None, None]
    assert not (places[0].path / "current").is_symlink()


def test_what_was_there_before_comes_back_letter_by_letter(
    places: list[FolderTarget], tmp_path: Path
) -> None:
    own = tmp_path / "by hand"
    shutil.copytree(places[0].path / "versions" / OLD, own)
    (places[0].path / "current").unlink()
    (places[0].path / "current").symlink_to(own)
    broken = Broken(places[1], "move", ServerError("no"))
    with pytest.raises(ServerError, match="no"):
        switch([places[0], broken], "sre", NEW)
    assert os.readlink(places[0].path / "current") == str(own)


def test_one_that_cannot_be_put_back_is_named(places: list[FolderTarget]) -> None:
    """The others are put back all the same."""
    refusing = Broken(places[2], "move", ServerError("the third says no"))

    class OnlyBack(Broken):
        def move(self, state: str | None) -> None:
            if state == self.real.aim("sre", OLD):
                raise ServerError("stuck here")
            self.real.move(state)

    with pytest.raises(OpsloreError) as caught:
        switch([places[0], OnlyBack(places[1], "", ServerError("")), refusing], "sre", NEW)
    assert "the third says no" in caught.value.message
    assert f"{places[1].name} could not be put back to versions/{OLD}" in caught.value.message
    assert "opslore status" in caught.value.hint
    assert served(places) == [OLD, NEW, OLD]


def test_a_reader_never_sees_none(places: list[FolderTarget]) -> None:
    """Forty switches, every other one broken in the middle and put back."""
    with reader(places[0].path) as ask:
        for number in range(40):
            version = NEW if number % 4 < 2 else OLD
            if number % 2:
                switch(places, "sre", version)
                continue
            broken = Broken(places[2], "move", ServerError("no"))
            with pytest.raises(ServerError, match="no"):
                switch([*places[:2], broken], "sre", version)
        seen = ask()
    assert set(seen) == {OLD, NEW}
    assert sum(seen.values()) > 40


def test_the_reader_would_see_it(places: list[FolderTarget]) -> None:
    """The test above can fail: a pointer that is taken away and set again is noticed."""
    with reader(places[0].path) as ask:
        for _ in range(200):
            before = places[0].now()
            places[0].move(None)
            places[0].move(before)
        seen = ask()
    assert any(text.startswith("nothing") for text in seen)


def test_staging_changes_nothing_that_readers_see(
    places: list[FolderTarget], tmp_path: Path
) -> None:
    release = staged(tmp_path / "later", "v20260301-00000003")
    with reader(places[0].path) as ask:
        places[0].stage(release)
        places[0].stage(release)
        assert set(ask()) == {OLD}
    (tmp_path / "theirs" / "current").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is no link"):
        FolderTarget(tmp_path / "theirs").stage(release)
