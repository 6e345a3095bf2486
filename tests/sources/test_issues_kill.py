"""kill -9 at any moment, and the disk failing at any write: the next run goes on, same result."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.github import Call, Fake
from sources.issues_world import NAME, collect, github, repository, token

from opslore.cards import Document
from opslore.sources.github_store import Kept

__all__ = ["token"]
pytestmark = pytest.mark.slow

SCRIPT = f"""
import sys
from pathlib import Path
from opslore.config_sources import IssuesSource
from opslore.errors import OpsloreError
from opslore.sources import Ground, issues
import opslore.sources.github_run, httpx
keep = Path(sys.argv[2])
source = IssuesSource(repositories=["{NAME}"], url=sys.argv[1])
print("ready", flush=True)
try:
    issues.collect(source, Ground(keep, keep / "kept"))
except OpsloreError as error:
    sys.exit(error.message + "\\n" + error.hint)
"""


def started(fake: Fake, keep: Path, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", SCRIPT, fake.url, str(keep)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def next_pages(keep: Path) -> dict[str, str]:
    """What each listing asks for next, read from the file that a killed run has left."""
    paths = list((keep / "kept").glob("*.sqlite"))
    if not paths:
        return {}
    kept = Kept(paths[0])
    try:
        places = {name: kept.place(name) for name in ("issues", "comments", "review_comments")}
    finally:
        kept.close()
    return {name: place.url for name, place in places.items() if place is not None}


def whole(tmp_path: Path, threads: int = 700) -> list[Document]:
    with github(repository(threads)) as fake:
        return collect(fake, tmp_path / "whole")


def _seconds(fake: Fake, keep: Path) -> float:
    """How long a run takes that is not killed."""
    run = started(fake, keep)
    assert run.stdout is not None
    run.stdout.readline()
    began = time.monotonic()
    assert run.wait(60) == 0
    return time.monotonic() - began


def test_killed_at_random_moments(tmp_path: Path, token: str) -> None:
    expected = whole(tmp_path)
    rng = random.Random(20261122)
    kills = 0
    with github(repository(700)) as fake:

        def slowly(call: Call) -> None:
            time.sleep(0.02)

        fake.between = slowly
        took = _seconds(fake, tmp_path / "timed")
        for turn in range(40):
            before, asked = next_pages(tmp_path), fake.count()
            run = started(fake, tmp_path)
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            try:
                run.wait(rng.uniform(0.0, took * (0.3 + 0.03 * turn)))
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                run.wait(10)
                kills += 1
            firsts: dict[str, str] = {}
            for call in fake.calls[asked:]:
                firsts.setdefault(call.endpoint, fake.url + call.url)
            # Each listing went on at the very page that the killed run would have asked for next.
            for name, url in firsts.items():
                assert url == before.get(name, url)
            if run.returncode == 0:
                break
            assert run.returncode == -signal.SIGKILL, run.communicate()
        else:
            pytest.fail(f"not done after {kills} kills")
        assert kills >= 3
        assert collect(fake, tmp_path) == expected


def test_killed_after_each_number_of_answers(tmp_path: Path, token: str) -> None:
    """The n-th answer is the last thing that a run hears; with three listings, one was kept."""
    expected = whole(tmp_path, 250)
    with github(repository(250)) as fake:
        run: subprocess.Popen[str] | None = None
        left = 0

        def kill(call: Call) -> None:
            nonlocal left
            left -= 1
            if run is not None and left == 0:
                run.send_signal(signal.SIGKILL)

        fake.between = kill
        kills = 0
        for turn in range(30):
            left = 4 + turn % 4
            run = started(fake, tmp_path)
            run.wait(60)
            if run.returncode == 0:
                break
            kills += 1
        else:
            pytest.fail(f"not done after {kills} kills")
        run = None
        assert kills >= 2
        assert collect(fake, tmp_path) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="strace")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_the_disk_fails_at_any_write(tmp_path: Path, token: str, error: str) -> None:
    expected = whole(tmp_path)
    with github(repository(700)) as fake:
        failed = 0
        for when in (1, 2, 3, 5, 9, 17, 33, 65, 129, 257):
            inject = f"inject=pwrite64,fsync,fdatasync:error={error}:when={when}"
            words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]
            run = started(fake, tmp_path, *words)
            said = run.communicate(timeout=60)[1]
            if run.returncode:
                failed += 1
                assert "run the same command again" in said
                assert ".sqlite: " in said
        assert failed >= 3
        assert collect(fake, tmp_path) == expected
