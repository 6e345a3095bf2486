"""A command on a machine of its own: it may do much there, and nothing of it is seen here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from real import isolated, traces

ROOT = Path(__file__).parents[2]
WILD = """
set -e
touch /var/lib/probe /run/probe
ip link add probe type bridge
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/vm/overcommit_memory
! echo 7 > /proc/sys/kernel/sched_rt_runtime_us
mkdir /sys/fs/cgroup/memory/probe /sys/fs/cgroup/pids/probe
mount -t tmpfs probe /mnt
hostname probe
[ "$OPSLORE_ISOLATED" = 1 ]
sleep 600 &
exit 3
"""

pytestmark = pytest.mark.skipif(bool(isolated.obstacle()), reason=isolated.obstacle() or "-")


def run(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.real.isolated", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def groups() -> list[Path]:
    tops = traces.hierarchies().values()
    return [group for top in tops for group in top.glob(f"{isolated.LEFT_BEHIND}*")]


def test_what_a_command_does_to_its_machine_ends_with_it() -> None:
    others = groups()
    value = Path("/proc/sys/vm/overcommit_memory").read_text()
    held = run("sh", "-c", WILD)
    _, said = held.communicate(timeout=60)
    assert held.returncode == 3, said
    assert " traces compared, 0 differ" in said
    assert groups() == others
    assert Path("/proc/sys/vm/overcommit_memory").read_text() == value
    assert not Path("/var/lib/probe").exists()


def test_a_command_that_leaves_something_is_red(tmp_path: Path) -> None:
    before = traces.seen()
    group = next(iter(traces.hierarchies().values())) / "opslore-probe"
    group.mkdir()
    try:
        assert traces.left(before, traces.seen()) == [f"control group {group} is new"]
    finally:
        group.rmdir()
    assert traces.left(before, traces.seen()) == []
    assert traces.left({"a": "1", "b": ""}, {"a": "2"}) == ["a was '1', now '2'", "b is gone"]
    # Every kind of trace was looked for: an empty one would find nothing for ever.
    kinds = {name.split(" ")[0].split("/")[0] for name in before}
    assert {"mount", "control", "ip", "sysctl", ""} <= kinds


def test_a_killed_run_takes_its_processes_along_and_the_next_one_its_groups() -> None:
    number, others = f"600.{os.getpid()}", groups()
    held = run("sleep", number)
    until = time.monotonic() + 30
    while not (found := _processes(number)):
        assert time.monotonic() < until, "it did not start"
        time.sleep(0.1)
    held.send_signal(signal.SIGKILL)
    held.communicate(timeout=30)
    while _processes(number):
        assert time.monotonic() < until, f"{found} outlived its keeper"
        time.sleep(0.1)
    assert groups() != others
    done = run("true")
    _, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert groups() == others


def _processes(number: str) -> list[str]:
    """The sleeping command, as the whole machine sees it."""
    return [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _said(path) == f"sleep\0{number}\0"
    ]


def _said(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""
