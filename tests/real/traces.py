"""What a program may leave behind on a machine: seen before it and after it, and compared."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FOLDERS = (
    "/",
    "/etc",
    "/etc/cni",
    "/opt",
    "/run",
    "/run/netns",
    "/usr/libexec",
    "/var/lib",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log",
    "/var/log/containers",
    "/var/log/pods",
)
"""Where containerd, its network plugins and kubelet write when nobody tells them otherwise."""

SYSTEM = frozenset({"/run/mount"})
"""What `mount` itself makes the first time that it runs on a machine."""

COUNTERS = ("fs/", "kernel/ns_last_pid", "kernel/pty/nr", "kernel/random/")
"""Settings that change by themselves, and folders of such."""

Seen = dict[str, str]
"""What there is, and for a setting its value."""


def seen() -> Seen:
    """Mounts, control groups, network interfaces, routes, settings of the kernel, folders."""
    return {**_mounts(), **_groups(), **_network(), **_settings(), **_folders()}


def left(before: Seen, after: Seen) -> list[str]:
    """One line for everything that came, went or changed."""
    found = []
    for name in sorted({*before, *after}):
        if name not in before:
            found.append(f"{name} is new")
        elif name not in after:
            found.append(f"{name} is gone")
        elif before[name] != after[name]:
            found.append(f"{name} was {before[name]!r}, now {after[name]!r}")
    return found


def hierarchies() -> dict[str, Path]:
    """The control groups that this process is in: controllers, and the folder, of version 1."""
    places = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        kind, options = words[words.index("-") + 1], words[-1]
        if kind == "cgroup":
            names = frozenset(word for word in options.split(",") if word not in ("rw", "ro"))
            places[names] = (words[3], Path(words[4]))
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if place := places.get(frozenset(controllers.split(","))):
            found[controllers] = place[1] / os.path.relpath(path, place[0])
    return found


def _mounts() -> Seen:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"mount {line.split()[4]}": "" for line in lines}


def _groups() -> Seen:
    """The groups at the top of each hierarchy and in this process's own; others have more."""
    tops = {Path(top) for top in Path("/sys/fs/cgroup").glob("*") if top.is_dir()}
    own = set(hierarchies().values())
    return {
        f"control group {path}": ""
        for top in tops | own
        for path in (Path(entry) for entry in os.scandir(top))
        if path.is_dir()
    }


def _network() -> Seen:
    found = {}
    for words in (["addr"], ["route", "show", "table", "all"], ["netns"]):
        done = subprocess.run(
            ["ip", "-o", *words], capture_output=True, text=True, check=True, timeout=30
        )
        # The lifetime of an address counts down.
        lines = [line.split(" valid_lft")[0].strip("\\ ") for line in done.stdout.splitlines()]
        found |= {f"ip {words[0]}: {line}": "" for line in lines}
    return found


def _settings() -> Seen:
    found = {}
    top = Path("/proc/sys")
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if not name.startswith(COUNTERS) and path.is_file():
            try:
                found[f"sysctl {name}"] = path.read_text().strip()
            except (OSError, ValueError):
                continue  # some may only be written, some only asked of a device that is there
    return found


def _folders() -> Seen:
    found = (
        f"{folder / name}"
        for folder in map(Path, FOLDERS)
        if folder.is_dir()
        for name in os.listdir(folder)
    )
    return {path: "" for path in found if path not in SYSTEM}
