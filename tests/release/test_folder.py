from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opslore.errors import ConfigError, DataError, IntegrityError, MissingInput, ServerError
from opslore.release import folder

OLD = "v20260131-0123abcd"
NEW = "v20260214-89abcdef"


def release(path: Path, text: str) -> Path:
    (path / "index").mkdir(parents=True)
    (path / "model.gguf").write_bytes(text.encode() * 100_000)
    (path / "Modelfile").write_text(f"# {text}\n")
    (path / "index" / "entries.jsonl").write_text("{}\n")
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return release(tmp_path / "old", "old")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return release(tmp_path / "new", "new")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "srv" / "models"


def everything(path: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file, folder and link below a path."""
    return {str(p): (p.lstat().st_ino, p.lstat().st_ctime_ns) for p in [path, *path.rglob("*")]}


def served(target: Path) -> str:
    return (target / "current" / "Modelfile").read_text()


@contextmanager
def nobody() -> Iterator[None]:
    """Not root for a while, because root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_install_and_replace(old: Path, new: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    assert (served(target), folder.current(target)) == ("# old\n", OLD)
    folder.install(new, target, NEW)
    assert (served(target), folder.current(target)) == ("# new\n", NEW)
    assert (target / "versions" / OLD / "Modelfile").read_text() == "# old\n"
    assert (target / "current" / "index" / "entries.jsonl").read_text() == "{}\n"
    assert sorted(p.name for p in (target / "versions").iterdir()) == [OLD, NEW]


def test_the_whole_target_can_be_moved(old: Path, target: Path, tmp_path: Path) -> None:
    folder.install(old, target, OLD)
    target.rename(tmp_path / "elsewhere")
    assert served(tmp_path / "elsewhere") == "# old\n"


def test_the_second_time_writes_nothing(old: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    before = everything(target)
    folder.install(old, target, OLD)
    assert everything(target) == before


def test_back_to_an_earlier_version(old: Path, new: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    folder.install(new, target, NEW)
    kept = everything(target / "versions")
    folder.install(old, target, OLD)
    assert served(target) == "# old\n"
    assert everything(target / "versions") == kept


def test_a_try_that_was_killed_is_done_again(old: Path, new: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    torn = target / "versions" / f".{NEW}.tmp"
    torn.mkdir()
    (torn / "model.gguf").write_bytes(b"ne")
    (torn / "stray").write_bytes(b"x")
    (target / ".current.tmp").symlink_to("nowhere")
    assert served(target) == "# old\n"
    folder.install(new, target, NEW)
    assert served(target) == "# new\n"
    assert sorted(p.name for p in (target / "versions").iterdir()) == [OLD, NEW]
    assert not (target / ".current.tmp").is_symlink()


def test_killed_at_any_moment(old: Path, new: Path, target: Path) -> None:
    """SIGKILL after growing delays: every time `current` is whole, and the next try finishes."""
    folder.install(old, target, OLD)
    seen = set()
    for delay in range(0, 24, 2):
        shutil.rmtree(target / "versions" / NEW, ignore_errors=True)
        folder.install(old, target, OLD)
        pid = os.fork()
        if pid == 0:
            folder.install(new, target, NEW)
            os._exit(0)
        deadline = os.times().elapsed + delay / 1000
        while os.times().elapsed < deadline:
            pass
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        version = folder.current(target)
        seen.add(version)
        assert served(target) == {OLD: "# old\n", NEW: "# new\n"}[version]
        assert len((target / "current" / "model.gguf").read_bytes()) == 300_000
    folder.install(new, target, NEW)
    assert served(target) == "# new\n"
    assert OLD in seen


def test_many_at_once(old: Path, new: Path, target: Path) -> None:
    children = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            source, name = (old, OLD) if number % 2 else (new, NEW)
            folder.install(source, target, name)
            os._exit(0)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert served(target) in ("# old\n", "# new\n")
    assert sorted(p.name for p in (target / "versions").iterdir()) == [OLD, NEW]


@pytest.mark.parametrize("name", ["model.gguf", "index/entries.jsonl"])
def test_an_installed_file_that_was_changed(old: Path, target: Path, name: str) -> None:
    folder.install(old, target, OLD)
    (target / "versions" / OLD / name).write_bytes(b"tampered")
    with pytest.raises(IntegrityError, match=f"{name} is not the file of release {OLD}"):
        folder.install(old, target, OLD)


def test_an_installed_file_that_was_added(old: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    (target / "versions" / OLD / "extra").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=f"extra is no file of release {OLD}"):
        folder.install(old, target, OLD)


def test_the_target_is_a_file(old: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="file is a file, not a folder"):
        folder.install(old, tmp_path / "file", OLD)
    with pytest.raises(ServerError, match="Not a directory"):
        folder.install(old, tmp_path / "file" / "below", OLD)
    assert (tmp_path / "file").read_text() == "mine"


def test_current_is_somebody_elses_folder(old: Path, target: Path) -> None:
    (target / "current").mkdir(parents=True)
    (target / "current" / "theirs").write_text("x")
    with pytest.raises(ConfigError, match="current is no link, so something else lives in"):
        folder.install(old, target, OLD)
    assert [p.name for p in target.iterdir()] == ["current"]


def test_no_release(tmp_path: Path, target: Path) -> None:
    with pytest.raises(MissingInput, match="no release in"):
        folder.install(tmp_path / "nothing", target, OLD)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="has no files in it"):
        folder.install(tmp_path / "empty", target, OLD)
    assert not target.exists()


def test_a_link_in_the_release(old: Path, target: Path) -> None:
    (old / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(IntegrityError, match="passwd is a link"):
        folder.install(old, target, OLD)
    assert not target.exists()


def test_a_version_that_is_a_path(old: Path, target: Path) -> None:
    with pytest.raises(DataError, match="is not a release version"):
        folder.install(old, target, "../../etc")


def test_no_space(old: Path, new: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    free = shutil.disk_usage(target).free
    with (new / "model.gguf").open("wb") as file:  # sparse: takes no room itself
        file.truncate(free + (1 << 30))
    with pytest.raises(ServerError, match=r"has \d+ MiB free; the release needs \d+ MiB") as caught:
        folder.install(new, target, NEW)
    assert caught.value.retryable
    assert served(target) == "# old\n"


def test_the_disk_fails_in_the_middle(old: Path, new: Path, target: Path) -> None:
    folder.install(old, target, OLD)
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            folder.install(new, target, NEW)
        except ServerError as error:
            os._exit(7 if "File too large" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert served(target) == "# old\n"
    assert [p.name for p in (target / "versions").iterdir()] == [OLD]


def test_read_only() -> None:
    # tmp_path is closed to other users, so that another user cannot even look at it.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        source = release(Path(place) / "release", "old")
        target = Path(place) / "target"
        target.mkdir(mode=0o555)
        with nobody(), pytest.raises(ServerError, match="Permission denied") as caught:
            folder.install(source, target, OLD)
        assert f"make {target} writable for this user" in caught.value.hint
        assert list(target.iterdir()) == []
