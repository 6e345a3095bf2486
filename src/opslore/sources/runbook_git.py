"""A runbook in a git repository: the Markdown files of one commit, by one shallow fetch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from opslore.cards import Dropped
from opslore.config_sources import RunbookSource
from opslore.errors import SourceError
from opslore.sources.pages_git import Repository, web_page
from opslore.sources.pages_repository import why_not
from opslore.sources.read import MARKDOWN, printable


@dataclass(frozen=True, slots=True)
class File:
    """A file of the commit."""

    path: str
    folder: str
    """Name of the folder it lies in; at the top that of the repository."""
    data: bytes
    url: str
    """Where people read it; empty for hosts whose addresses are not known."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a repository has of a runbook."""

    files: list[File]
    commit: str
    date: str
    """ISO 8601."""
    alone: bool
    """One file was asked for."""


def checkout(
    source: RunbookSource,
    keep: Path,
    dropped: list[Dropped],
    offline: bool = False,
    allow: Collection[str] = (),
) -> Checkout:
    """Bring the kept copy up to date, and read the runbook's files; nothing new fetches nothing.

    Args:
        source: the repository, and what of it is the runbook.
        keep: folder of the kept copy.
        dropped: what is left out goes here, with its reason.
        offline: read what is kept.
        allow: see `Repository`; for tests.

    Raises:
        SourceError: it cannot be fetched and nothing was changed, or it has no such folder.
    """
    repository = Repository(source.path, source.ref, keep / "repository.git", allow)
    if not offline:
        repository.update()
    tree = repository.tree()
    inside = source.inside.strip("/")
    below = [b for b in tree.blobs if not inside or PurePosixPath(b.path).is_relative_to(inside)]
    if not below:
        raise SourceError(
            f"{source.path}: nothing at {inside!r} in commit {tree.commit[:12]}",
            hint="collect.inside is a file or a folder of the repository",
        )
    name = printable(urlsplit(source.path).path.rstrip("/").rpartition("/")[2])
    name = name.removesuffix(".git")
    files = []
    with repository.reader() as reader:
        for blob in below:
            if reason := why_not(blob, MARKDOWN):
                dropped.append(Dropped(what=blob.path, reason=reason))
                continue
            folder = PurePosixPath(blob.path).parent.name or name
            url = web_page(source.path, source.ref, blob.path)
            files.append(File(blob.path, folder, reader.read(blob.id), url))
    return Checkout(files, tree.commit, tree.date, [b.path for b in below] == [inside])
