"""What the sources beside runbooks need, looked up without asking anybody on the network."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from opslore.check import Check
from opslore.config_sources import (
    ArchiveSource,
    CorrectionsSource,
    DocsSource,
    IssuesSource,
    Source,
    WikiSource,
)

_REMOTE = ("https://", "http://", "git@", "ssh://")


def checks(source: Source) -> Iterator[Check]:
    """The checks of one source; a runbook has its own."""
    if isinstance(source, IssuesSource):
        name = f"source {', '.join(source.repositories)}"
        token = bool(os.environ.get("GITHUB_TOKEN"))
        yield Check(
            name=name,
            state="ok" if token else "warn",
            found=f"{source.url}, {'with' if token else 'without'} GITHUB_TOKEN",
            mend="" if token else "set GITHUB_TOKEN: 5,000 requests an hour instead of 60",
        )
    elif isinstance(source, WikiSource):
        yield _wiki(source)
    elif isinstance(source, DocsSource | ArchiveSource | CorrectionsSource):
        yield _path(source)


def _wiki(source: WikiSource) -> Check:
    if source.path:
        return _located(f"source {source.path}", source.path)
    there = importlib.util.find_spec("mcp") is not None
    return Check(
        name=f"source DeepWiki {source.repository}",
        state="ok" if there else "fail",
        found=source.url if there else "the package mcp is missing",
        mend="" if there else "pip install 'opslore[wiki]'",
    )


def _path(source: DocsSource | ArchiveSource | CorrectionsSource) -> Check:
    name = f"source {source.path}"
    if isinstance(source, CorrectionsSource) and not Path(source.path).exists():
        return Check(name=name, state="ok", found="no corrections yet")
    return _located(name, source.path)


def _located(name: str, path: str) -> Check:
    if path.startswith(_REMOTE):
        if path.rstrip("/").endswith(".git") and shutil.which("git") is None:
            return Check(name=name, state="fail", found="git is not installed", mend="install git")
        return Check(name=name, state="ok", found="on the network; collect fetches it")
    if Path(path).expanduser().exists():
        return Check(name=name, state="ok", found="there")
    mend = "relative paths start in the folder where you run the command"
    return Check(name=name, state="fail", found=f"{path}: no such file or folder", mend=mend)
