"""Which commit a file's lines belong to, asked of git once per folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS = 30.0
"""A history that takes longer to read is not worth the wait; the commit stays empty."""


@dataclass(frozen=True)
class History:
    """Last commit and its date for each file that is committed as it lies on disk."""

    head: str = ""
    """The newest commit that touched any of the files."""
    commits: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Real path -> (40 hex digits, ISO 8601 date)."""


def history(files: Iterable[Path]) -> History:
    """The last commit of every file.

    A file outside a repository, never committed, or changed since has none: its lines would not be
    found at that commit. Without git there are none at all.
    """
    wanted = {os.path.realpath(path) for path in files}
    if not wanted:
        return History()
    folder = os.path.commonpath([os.path.dirname(path) for path in wanted])
    top = _git(folder, "rev-parse", "--show-toplevel").strip()
    if not top:
        return History()
    changed = {_at(top, name) for name in _names(_git(folder, "diff", "--name-only", "-z", "HEAD"))}
    commits: dict[str, tuple[str, str]] = {}
    head = ""
    # One file needs one commit; for many, one pass over the folder's history is cheaper.
    which = ["-1", "--", *wanted] if len(wanted) == 1 else ["--", "."]
    # `-c`: a merge that changed a file by itself is the file's last commit.
    log = _git(folder, "log", "-c", "--format=%x01%H %cI%x00", "--name-only", "-z", *which)
    for entry in log.split("\x01")[1:]:
        stamp, *names = _names(entry)
        commit, _, date = stamp.partition(" ")
        touched = {_at(top, name.lstrip("\n")) for name in names} & wanted
        if touched and not head:
            head = commit
        for path in touched - commits.keys():
            commits[path] = (commit, date)
        if len(commits) == len(wanted):
            break
    return History(head, {path: where for path, where in commits.items() if path not in changed})


def last(folder: Path, pattern: str) -> str:
    """The commit that has the files as they are: a merge of two branches that changed some."""
    return _git(str(folder), "log", "-1", "--format=%H", "--", pattern).strip()


def _names(text: str) -> list[str]:
    return [name for name in text.split("\0") if name.strip()]


def _at(top: str, name: str) -> str:
    return os.path.realpath(os.path.join(top, name))


def _git(folder: str, *arguments: str) -> str:
    # fsmonitor is a program that the repository's own settings may name: it is not ours to run.
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout) if done.returncode == 0 else ""
