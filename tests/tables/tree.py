"""A tool's whole tree of verbs: asked from the program, or read from the data that it ships."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from .said import Said

Tree = dict[str, Said]
"""Verb path -> what its help says; "" holds the flags that stand everywhere."""

_DEPTH = 4
_HOLLOW = frozenset({"help", "completion"})


def run(program: Path, *arguments: str) -> str:
    """What a program prints, on either stream, in a home of its own and without the network.

    Raises:
        subprocess.TimeoutExpired: it takes longer than a minute.
    """
    environment = {
        **os.environ,
        "HOME": "/nonexistent",
        "COLUMNS": "200",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "KUBECONFIG": "/dev/null",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": "/dev/null",
    }
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    return f"{done.stdout}\n{done.stderr}"


def walk(
    program: Path, read: Callable[[str], Said], how: Iterable[str] = ("--help",), path: str = ""
) -> Tree:
    """Ask a program and every command that its help names."""
    found = {path: read(run(program, *path.split(), *how))}
    if path.count(" ") < _DEPTH - 1:
        for command in found[path].commands:
            if command not in _HOLLOW:
                found |= walk(program, read, how, f"{path} {command}".strip())
    return found


def each(
    program: Path, read: Callable[[str], Said], paths: Iterable[str], how: Iterable[str]
) -> Tree:
    """Ask a program for the verbs that are named."""
    return {path: read(run(program, *path.split(), *how)) for path in paths}
