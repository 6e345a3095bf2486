"""Run a program until this process's input closes, then end the program and all it started.

python leash.py SECONDS PROGRAM ARGUMENT...

The input is a pipe from the process that wants the program. The system closes it when that process
ends, killed or not, so no server outlives its tests. After SECONDS of asking, the group is killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys


def main(seconds: float, command: list[str]) -> int:
    """Hold the program; returns its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while child.poll() is None:
            readable, _, _ = select.select([sys.stdin], [], [], 0.2)
            if readable and not os.read(sys.stdin.fileno(), 1):
                break
    finally:
        end(child, seconds)
    return child.returncode


def end(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask the group to stop, wait for the program, then kill what is left of the group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


if __name__ == "__main__":
    # Ctrl-C goes to the one who holds the leash, who then lets go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
