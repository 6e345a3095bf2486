"""A server that was started here ends here, whatever happens to the one who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from real.process import Failed, answer, free_port, plain_environment, running, workroom

ROOT = Path(__file__).parents[2]

STUBBORN = """
import http.server, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(
    ("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
).serve_forever()
"""


def gone(pid: int, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if (
            Path(f"/proc/{pid}/stat").is_file()
            and "Z" in Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split(" ", 1)[0]
        ):
            return True
        time.sleep(0.05)
    return False


def closed(port: int, seconds: float = 30) -> bool:
    """Whether the port is given up; a server may end a moment after its child."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if "refused" in answer(f"http://127.0.0.1:{port}"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("manner", ["obedient", "stubborn"])
def test_it_ends_with_what_it_started(
    manner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("real.process.STOPPING", 1)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-c", STUBBORN, str(port), manner]
    served = running("web", words, room=tmp_path, env=plain_environment(tmp_path), health=url)

    def fails() -> None:
        with served:
            assert answer(url) == "200"
            assert not gone(int((tmp_path / "child").read_text()), 0.1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    child = int((tmp_path / "child").read_text())
    assert "refused" in answer(url)
    assert gone(child)


def test_one_that_ends_at_its_start_is_told_with_its_log(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "print('no such disk', flush=True); raise SystemExit(7)"]
    env = plain_environment(tmp_path)
    with (
        pytest.raises(Failed, match="web ended with 7 at its start:\nno such disk"),
        running("web", words, room=tmp_path, env=env, health="http://127.0.0.1:1/"),
    ):
        pass


def test_one_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("real.process.PATIENCE", 1)
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    env = plain_environment(tmp_path)
    started = time.monotonic()
    with (
        pytest.raises(Failed, match="Connection refused> for 1 s"),
        running("web", words, room=tmp_path, env=env, health=f"http://127.0.0.1:{free_port()}/"),
    ):
        pass
    assert time.monotonic() - started < 20


KILLED = """
import sys, time
from pathlib import Path
from real.process import plain_environment, running
room, port, code = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
words = [sys.executable, "-c", code, port, "obedient"]
with running("web", words, room=room, env=plain_environment(room), health=f"http://127.0.0.1:{port}"):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_the_one_who_started_it_is_killed(
    number: signal.Signals, tmp_path: Path
) -> None:
    port = free_port()
    holder = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(port), STUBBORN],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    child = int((tmp_path / "child").read_text())
    holder.send_signal(number)
    holder.wait(60)
    assert gone(child, 30)
    assert closed(port)


def test_nothing_of_the_callers_environment_reaches_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "precious")
    monkeypatch.setenv("HTTPS_PROXY", "http://example.invalid")
    assert set(plain_environment(tmp_path)) <= {
        "PATH",
        "TMPDIR",
        "LANG",
        "HOME",
        "OMP_WAIT_POLICY",
        "DO_NOT_TRACK",
    }


def test_a_temporary_room_is_kept_when_something_fails_in_it() -> None:
    with workroom("web") as room:
        pass
    assert not room.exists()
    with pytest.raises(ZeroDivisionError) as caught, workroom("web") as room:
        raise ZeroDivisionError
    assert caught.value.__notes__ == [f"what web said is in {room}"]
    room.rmdir()


USES_ONE = """
pytest_plugins = ["real.fixtures"]
def test_it(s3_server):
    print("reached")
    assert s3_server.url == "wrong"
"""


def pytest_on(test: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text(test)
    kept = {
        name: value for name, value in os.environ.items() if name not in ("CI", "OPSLORE_CACHE")
    }
    words = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "test_one.py"]
    return subprocess.run(
        words,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT / "tests"), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("env", "outcome"), [({"CI": "1"}, "1 error"), ({}, "1 skipped")])
def test_a_missing_server_fails_in_ci_and_skips_elsewhere(
    env: dict[str, str], outcome: str, tmp_path: Path
) -> None:
    done = pytest_on(USES_ONE, tmp_path, OPSLORE_SERVERS=str(tmp_path / "empty"), **env)
    assert outcome in done.stdout
    assert "run `make servers`" in done.stdout
    assert "reached" not in done.stdout
