"""`python -m tests.real.s3 start` and `stop`, as a person types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from real import s3
from real.process import answer

pytest_plugins = ["real.fixtures"]

Typed = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(s3_server: s3.S3, tmp_path: Path) -> Iterator[Typed]:
    """Type a command where a cache of its own has nothing but versitygw."""
    here = tmp_path / "servers"
    here.mkdir()
    (here / s3.VERSITYGW.folder.name).symlink_to(s3.VERSITYGW.folder)

    def run(what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.real.s3", what],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OPSLORE_SERVERS": str(here)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield run
    run("stop")


def exported(text: str) -> dict[str, str]:
    lines = [line.removeprefix("export ") for line in text.splitlines() if "export" in line]
    return dict(line.split("=", 1) for line in lines)


def test_a_server_is_started_used_and_stopped(typed: Typed) -> None:
    assert typed("stop").stderr == "s3 is not served\n"
    started = typed("start")
    assert started.returncode == 0, started.stderr
    found = exported(started.stdout)
    assert set(found) == {
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
    }
    url = found["AWS_ENDPOINT_URL"]
    assert answer(f"{url}/health") == "200"
    again = typed("start")
    assert again.returncode == 1
    assert "s3 is already served" in again.stderr
    assert url in again.stderr
    assert answer(f"{url}/health") == "200"
    assert typed("stop").stdout == "s3 stopped\n"
    assert "refused" in answer(f"{url}/health")
    assert typed("stop").stderr == "s3 is not served\n"


def test_a_process_id_that_was_left_behind_is_not_touched(typed: Typed, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "servers" / "run").mkdir()
        (tmp_path / "servers" / "run" / "s3.json").write_text(f'{{"pid": "{other.pid}"}}')
        assert typed("stop").stderr == "s3 is not served\n"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(10)
