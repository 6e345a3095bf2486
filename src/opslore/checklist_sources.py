"""Checklist lines of the sources beside runbooks; nobody on the network is asked."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from opslore.cards import Document, Dropped
from opslore.check import Check, failed
from opslore.config import Agent
from opslore.config_sources import (
    ArchiveSource,
    CorrectionsSource,
    DocsSource,
    IssuesSource,
    WikiSource,
)
from opslore.dataset.approved import Approved
from opslore.errors import OpsloreError
from opslore.sources import Ground, archive, corrections

MOST = 1000
"""Rows of an archive that are read: enough to see that they can be."""

_REMOTE = ("https://", "http://", "git@", "ssh://")
_MEND = "`opslore collect AGENT.yaml` says what and why"


def checks(source: object) -> Iterator[Check]:
    """What a source needs; of corrections and archives how many rows can be read."""
    ground = Ground(Path.cwd(), Path.cwd(), offline=True)
    try:
        if isinstance(source, CorrectionsSource):
            yield _corrections(source, ground)
        elif isinstance(source, ArchiveSource):
            yield _archive(source, ground)
        elif isinstance(source, IssuesSource):
            yield _issues(source)
        elif isinstance(source, WikiSource):
            yield _located(source.path) if source.path else _deepwiki(source)
        elif isinstance(source, DocsSource):
            yield _located(source.path)
    except OpsloreError as error:
        yield failed(f"source {getattr(source, 'path', '')}", error)


def decisions(agent: Agent) -> Iterator[Check]:
    """Whether what persons decided can be read; only answers in prose need it."""
    if agent.prepare.task != "answers":
        return
    path = Path(agent.prepare.answers.approvals).expanduser()
    try:
        found = Approved.read(path)
    except OpsloreError as error:
        yield failed(f"decisions {path}", error)
    else:
        yield Check(name=f"decisions {path}", state="ok", found=f"{len(found.decisions)} rows")


def _issues(source: IssuesSource) -> Check:
    token = bool(os.environ.get("GITHUB_TOKEN"))
    return Check(
        name=f"source {', '.join(source.repositories)}",
        state="ok" if token else "warn",
        found=f"{source.url}, {'with' if token else 'without'} GITHUB_TOKEN",
        mend="" if token else "set GITHUB_TOKEN: 5,000 requests an hour instead of 60",
    )


def _deepwiki(source: WikiSource) -> Check:
    there = importlib.util.find_spec("mcp") is not None
    return Check(
        name=f"source DeepWiki {source.repository}",
        state="ok" if there else "fail",
        found=source.url if there else "the package mcp is missing",
        mend="" if there else "pip install 'opslore[wiki]'",
    )


def _located(path: str) -> Check:
    """A folder, or an address; git has to be there for a repository."""
    name = f"source {path}"
    if path.startswith(_REMOTE):
        if path.rstrip("/").endswith(".git") and shutil.which("git") is None:
            return Check(name=name, state="fail", found="git is not installed", mend="install git")
        return Check(name=name, state="ok", found="on the network; collect fetches it")
    if Path(path).expanduser().exists():
        return Check(name=name, state="ok", found="there")
    mend = "relative paths start in the folder where you run the command"
    return Check(name=name, state="fail", found="no such file or folder", mend=mend)


def _corrections(source: CorrectionsSource, ground: Ground) -> Check:
    found = corrections.collect(source, ground)
    name = f"source {source.path}"
    if not found.files:
        return Check(name=name, state="ok", found="not there yet; `opslore correct` makes it")
    wrong = [row for row in found.dropped if not row.reason.startswith(corrections.OLDER)]
    older = len(found.dropped) - len(wrong)
    return _told(name, f"{len(found.documents)} corrections, {older} older ones", wrong)


def _archive(source: ArchiveSource, ground: Ground) -> Check:
    rows = list(islice(archive.collect(source, ground), MOST))
    wrong = [row for row in rows if isinstance(row, Dropped)]
    kept = sum(isinstance(row, Document) for row in rows)
    least = "at least " if len(rows) == MOST else ""
    return _told(f"source {source.path}", f"{least}{kept} conversations", wrong)


def _told(name: str, found: str, wrong: list[Dropped]) -> Check:
    if not wrong:
        return Check(name=name, state="ok", found=found)
    said = f"{found}; {len(wrong)} rows cannot be read, first {wrong[0].what}: {wrong[0].reason}"
    return Check(name=name, state="warn", found=said, mend=_MEND)
