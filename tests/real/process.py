"""One running server: a free port, a log, a bounded wait for its health, and a certain end.

A server is started through a leash (`leash.py`), a small process that ends it when the process
that asked for it is gone, however it went. The server has its own process group, so that what it
started itself (Ollama's runners, MLflow's workers) ends with it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .parts import tail

PATIENCE = 180
"""Seconds for a server to answer. MLflow, the slowest, took 61 on two cores with ten other jobs."""
STOPPING = 20
"""Seconds for a server to end after SIGTERM before it is killed."""


class Failed(Exception):
    """A server ended or did not answer; the message has the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environment(room: Path, **more: str) -> dict[str, str]:
    """The environment of a server: nothing of the caller's settings, proxies or credentials."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    quiet = {"HOME": str(room), "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
    return {**kept, **quiet, **more}


@contextmanager
def workroom(name: str, room: Path | None = None) -> Iterator[Path]:
    """The folder a server works in; a temporary one is kept when something fails inside."""
    if room is not None:
        room.mkdir(parents=True, exist_ok=True)
        yield room
        return
    made = Path(tempfile.mkdtemp(prefix=f"opslore-{name}-"))
    try:
        yield made
    except BaseException as error:
        error.add_note(f"what {name} said is in {made}")
        raise
    shutil.rmtree(made, ignore_errors=True)


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    room: Path,
    env: Mapping[str, str],
    health: str,
    headers: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Start a server, wait until it is well, give its leash's process id, and end it.

    Args:
        name: for messages, and for the log `NAME.log` in the room.
        command: the program and its arguments.
        room: the folder it works in.
        env: its whole environment.
        health: an http URL that answers 200 once the server is ready.
        headers: sent with the question after its health.

    Raises:
        Failed: it ended, or was not well in time.
    """
    log = room / f"{name}.log"
    leash = [sys.executable, Path(__file__).with_name("leash.py"), str(STOPPING), *command]
    with log.open("ab") as words:
        held = subprocess.Popen(
            [str(word) for word in leash],
            cwd=room,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(name, held, log, health, headers or {})
        yield held.pid
    finally:
        assert held.stdin is not None
        held.stdin.close()
        held.wait(2 * STOPPING + 10)


def _wait(
    name: str,
    held: subprocess.Popen[bytes],
    log: Path,
    health: str,
    headers: Mapping[str, str],
) -> None:
    """Ask after its health until it answers 200."""
    until = time.monotonic() + PATIENCE
    heard = "nothing"
    while time.monotonic() < until:
        if held.poll() is not None:
            raise Failed(f"{name} ended with {held.returncode} at its start:\n{tail(log)}")
        heard = answer(health, headers)
        if heard == "200":
            return
        time.sleep(0.1)
    raise Failed(f"{name}: {health} said {heard} for {PATIENCE} s:\n{tail(log)}")


def answer(url: str, headers: Mapping[str, str] | None = None) -> str:
    """The HTTP status of a loopback URL, or why there is none."""
    import ssl

    anyone = ssl._create_unverified_context() if url.startswith("https") else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anyone)
    )
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as r:
            return str(r.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(error)
