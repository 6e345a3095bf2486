"""Run a command as if on a machine of its own, and see that it left nothing on this one.

    python -m tests.real.isolated pytest tests/cluster

A node of Kubernetes changes its machine: mounts, control groups, interfaces, routes, settings of
the kernel, files below /var and /run. Here the command gets its own mounts, processes, network
(nothing but loopback), host name and control groups, a /var whose changes are in memory, and
settings of the kernel that are not per network and so read-only. All of it ends with the command,
killed or not. What is there afterwards is compared with what was there before.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import traces

MARK = "OPSLORE_ISOLATED"
"""This variable tells a program that it runs in here."""
ROOM = Path("/run/opslore")
"""A folder in memory that only the command has."""
TOOLS = ("unshare", "setpriv", "mount", "ip")
NEEDED = {"cpu", "cpuacct", "cpuset", "memory", "pids"}
"""Controllers that kubelet wants."""
LEFT_BEHIND = "opslore-node-"
PRETENDED = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""Settings that kubelet insists on writing: it writes copies, the kernel keeps its own."""


def main(command: Sequence[str]) -> int:
    """Run the command; its exit status, or 1 if it left something behind."""
    if why := obstacle():
        print(f"not run: {why}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    # Ctrl-C reaches the command too, which then cleans up; so it must not end this process.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    _remove_stale()
    before = traces.seen()
    with _groups() as enter:
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--uts"]
        words += ["--ipc", "--cgroup", "--fork", "--kill-child", "--mount-proc"]
        words += [sys.executable, "-m", "tests.real.isolated", "--inside", *command]
        status = subprocess.run(words, preexec_fn=enter, check=False).returncode
    found = traces.left(before, traces.seen())
    for line in found:
        print(f"left behind: {line}", file=sys.stderr)
    print(f"{len(before)} traces compared, {len(found)} differ", file=sys.stderr)
    return status or int(bool(found))


def obstacle() -> str:
    """Why this machine cannot do it; nothing when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces and control groups need Linux and root"
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"needs {' and '.join(absent)}: apt-get install util-linux iproute2"
    there = {name for names in traces.hierarchies() for name in names.split(",")}
    if missing := NEEDED - there:
        return f"control groups of version 1 are needed, without: {', '.join(sorted(missing))}"
    return ""


@contextmanager
def _groups() -> Iterator[object]:
    """A control group below our own in every hierarchy; gives what moves a process into them."""
    made = [path / f"{LEFT_BEHIND}{os.getpid()}" for path in traces.hierarchies().values()]
    for folder in made:
        folder.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty at first, and then no process may enter
            if (folder / name).exists():
                (folder / name).write_text((folder.parent / name).read_text())

    def enter() -> None:
        for folder in made:
            (folder / "cgroup.procs").write_text("0")

    try:
        yield enter
    finally:
        for folder in made:
            _remove(folder)


def _remove_stale() -> None:
    """Remove the groups of a run that was killed; its processes died with it."""
    for top in traces.hierarchies().values():
        for folder in top.glob(f"{LEFT_BEHIND}*"):
            if not Path("/proc", folder.name.removeprefix(LEFT_BEHIND)).exists():
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a tree of control groups, the innermost first; dying processes get some seconds."""
    until = time.monotonic() + 10
    for group, _, _ in os.walk(folder, topdown=False):
        while True:
            try:
                os.rmdir(group)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def inside(command: Sequence[str]) -> int:
    """Process 1 of the new namespaces: set up its machine, run the command, bury the dead."""
    signal.signal(signal.SIGINT, lambda number, frame: None)
    groups = list(traces.hierarchies())
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "node", "/run")
    (ROOM / "var").mkdir(parents=True)
    (ROOM / "work").mkdir()
    _run("mount", "-t", "overlay", "-o", f"lowerdir=/var,upperdir={ROOM / 'var'},"
         f"workdir={ROOM / 'work'}", "node", "/var")  # fmt: skip
    for name in ("fs", "kernel", "vm"):
        _run("mount", "--bind", f"/proc/sys/{name}", f"/proc/sys/{name}")
        _run("mount", "-o", "remount,bind,ro", f"/proc/sys/{name}")
    for name in PRETENDED:
        copy = ROOM / "settings" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(Path("/proc/sys", name).read_text())
        _run("mount", "--bind", str(copy), f"/proc/sys/{name}")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "node", "/sys/fs/cgroup")
    for controllers in groups:
        folder = Path("/sys/fs/cgroup", controllers.removeprefix("name="))
        folder.mkdir()
        _run("mount", "-t", "cgroup", "-o", controllers, "cgroup", str(folder))
    _run("ip", "link", "set", "lo", "up")
    child = subprocess.Popen(command, env={**os.environ, MARK: "1"})
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=60)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(inside(sys.argv[2:]))
    sys.exit(main(sys.argv[1:]))
