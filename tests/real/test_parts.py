"""What `make servers` promises: built once, found again, never half there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from real.__main__ import PARTS
from real.parts import Build, Missing, Part, build, check

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPSLORE_SERVERS", str(tmp_path / "servers"))
    return tmp_path / "servers"


def hello(build: Build) -> None:
    build.run(["sh", "-c", "echo made; echo hi > hello"])


def test_a_part_is_built_once_and_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    part = Part("hello", "1", hello)
    build([part])
    assert part.need("hello").read_text() == "hi\n"
    part.need("hello").write_text("kept\n")
    build([part])
    assert part.need("hello").read_text() == "kept\n"
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"hello 1: built in \d+ s", said[1])
    assert said[2] == f"hello 1: found in {part.folder}"


def test_another_version_and_another_recipe_are_other_parts(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1\n")
    one = Part("hello", "1", hello, recipe=(lock,))
    build([one])
    assert one.whole
    assert not Part("hello", "2", hello, recipe=(lock,)).whole
    lock.write_text("a==2\n")
    assert not one.whole


def test_a_part_that_is_not_there_says_how_it_is_built() -> None:
    with pytest.raises(Missing, match=r"hello 1 is not in .*: run `make servers`"):
        Part("hello", "1", hello).need("hello")


def test_what_cannot_be_built_is_left_out_but_not_in_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = Part("hello", "1", hello, tools=("sh", "no-such-compiler"))
    monkeypatch.delenv("CI", raising=False)
    build([part])
    said = "hello 1 needs no-such-compiler to be built: left out, its tests are skipped\n"
    assert capsys.readouterr().out == said
    assert not part.whole
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SystemExit, match="hello 1 needs no-such-compiler to be built"):
        build([part])
    build([Part("hello", "1", hello, tools=("sh",))])
    assert part.whole


def test_a_failed_build_shows_its_log_and_is_not_whole(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(build: Build) -> None:
        (build.folder / "hello").touch()
        build.run(["sh", "-c", "echo the compiler is unhappy; exit 3"])

    part = Part("hello", "1", fails)
    with pytest.raises(SystemExit, match="the compiler is unhappy"):
        build([part])
    assert not part.whole
    with pytest.raises(Missing):
        part.need("hello")


CUT = """
import sys
from real.parts import Part, build
def make(build):
    (build.folder / "half").touch()
    print("half", flush=True)
    build.run(["sleep", "60"])
build([Part("hello", "1", make)])
"""


def test_a_killed_build_leaves_nothing_that_looks_finished() -> None:
    part = Part("hello", "1", hello)
    cut = subprocess.Popen(
        [sys.executable, "-c", CUT],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert cut.stdout is not None
    while "half" not in cut.stdout.readline().split():
        assert cut.poll() is None
    assert (part.folder / "half").exists()
    assert not part.whole
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait(10)
    assert not part.whole
    build([part])
    assert part.whole
    assert not (part.folder / "half").exists()


ONCE = """
import time
from pathlib import Path
from real.parts import Part, build, home
def make(build):
    with (home() / "count").open("a") as file:
        file.write("made\\n")
    time.sleep(2)
build([Part("hello", "1", make)])
"""


def test_two_builds_at_once_build_once(cache: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    both = [subprocess.Popen([sys.executable, "-c", ONCE], env=env) for _ in range(2)]
    assert [one.wait(30) for one in both] == [0, 0]
    assert (cache / "count").read_text() == "made\n"


def test_a_download_with_another_digest_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "packed.tgz"
    file.write_bytes(b"hello")
    check(file, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    file.write_bytes(b"hellp")
    with pytest.raises(ValueError, match=r"packed\.tgz: its sha256 is"):
        check(file, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def test_the_mlflow_server_is_the_version_of_the_client() -> None:
    ours, servers = pins(TESTS.parent / "constraints.txt"), pins(TESTS / "real" / "mlflow.txt")
    assert servers["mlflow"] == servers["mlflow-skinny"] == ours["mlflow-skinny"]


def test_no_two_parts_share_a_folder() -> None:
    folders = [part.folder for part in PARTS]
    assert len(set(folders)) == len(folders) == 10


def test_a_cut_off_wait_for_the_lock_ends(cache: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    first = subprocess.Popen([sys.executable, "-c", ONCE], env=env)
    while not (cache / "count").exists():
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait(10)
    second = subprocess.run([sys.executable, "-c", ONCE], env=env, timeout=30, check=False)
    assert second.returncode == 0
    assert (cache / "count").read_text() == "made\nmade\n"
