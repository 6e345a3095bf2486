"""build, serve, start, stop: what a person does with one server.

`serve` runs it until Ctrl-C. `start` leaves a process behind that serves, and `stop` ends that
process. Which process it is, is told by a lock: the file `run/NAME.json` is locked for as long as
its writer lives, so a process id that was given to somebody else is never touched.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

from .parts import Missing, Part, build, home, tail
from .process import PATIENCE, STOPPING, Failed

ROOT = Path(__file__).parents[2]


def main(
    name: str,
    parts: Sequence[Part],
    serving: Callable[[Path], AbstractContextManager[Any]] | None,
    settings: Callable[[Any], dict[str, str]],
) -> None:
    """Read the command line and do it.

    Args:
        name: of the module, so of the server.
        parts: what it is built from.
        serving: starts it in a folder; None for programs that are no server.
        settings: the environment variables with which a client finds it.
    """
    what = ["build", "serve", "start", "stop"] if serving else ["build"]
    parser = argparse.ArgumentParser(prog=f"python -m tests.real.{name}")
    parser.add_argument("what", choices=what)
    asked = parser.parse_args().what
    if asked == "build":
        build(parts)
        return
    assert serving is not None
    (home() / "run").mkdir(parents=True, exist_ok=True)
    state = home() / "run" / f"{name}.json"
    try:
        {"serve": _serve, "start": _start, "stop": _stop}[asked](name, state, serving, settings)
    except (Missing, Failed) as error:
        sys.exit(str(error))


def _serve(name: str, state: Path, serving: Any, settings: Any) -> None:
    """Serve until a signal comes."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with state.open("a+") as file:
        if not _locked(file):
            sys.exit(f"{name} is already served: {state.read_text()}")
        try:
            with serving(home() / "run" / name) as it:
                found = {**settings(it), "pid": str(os.getpid())}
                os.chmod(state, 0o600)
                file.truncate(0)
                file.write(json.dumps(found, indent=1))
                file.flush()
                print(json.dumps(found, indent=1), flush=True)
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt:
            pass
        finally:
            file.truncate(0)


def _start(name: str, state: Path, *_: object) -> None:
    """Leave a process behind that serves, and say how it is reached."""
    log = home() / "run" / f"{name}.start.log"
    with log.open("w") as words:
        held = subprocess.Popen(
            [sys.executable, "-m", f"tests.real.{name}", "serve"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until:
        if held.poll() is not None:
            sys.exit(tail(log))
        found = _read(state)
        if found.get("pid") == str(held.pid):
            for key, value in found.items():
                print(f"# pid {value}" if key == "pid" else f"export {key}={value}")
            return
        time.sleep(0.1)
    held.terminate()
    sys.exit(f"{name} did not start: {log}")


def _stop(name: str, state: Path, *_: object) -> None:
    """End the process that serves, if there is one."""
    if not state.is_file():
        sys.exit(f"{name} is not served")
    with state.open("a+") as file:
        found = _read(state)
        if _locked(file) or "pid" not in found:
            sys.exit(f"{name} is not served")
        os.kill(int(found["pid"]), signal.SIGTERM)
        until = time.monotonic() + 2 * STOPPING
        while time.monotonic() < until:
            if _locked(file):
                print(f"{name} stopped")
                return
            time.sleep(0.1)
    sys.exit(f"{name}: process {found['pid']} did not end in {2 * STOPPING} s")


def _locked(file: TextIO) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(state: Path) -> dict[str, str]:
    """What the serving process wrote; nothing while it is not ready."""
    try:
        return dict(json.loads(state.read_text()))
    except (OSError, ValueError):
        return {}
