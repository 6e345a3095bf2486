"""Issues and pull requests of GitHub repositories, with everything that was said in them.

What is read, and how often: each repository has three listings (issues, their comments, comments of
reviews), a hundred items a page, in the order of their last update. Reviews come by GraphQL, for a
hundred pull requests at a time. A run that finds nothing new makes one conditional request for each
listing and writes nothing.

What was edited comes again in its listing and replaces what was kept. What was deleted is listed
nowhere; it is noticed in three ways:

* A page says all there is between its first and its last moment. What is kept from there and is not
  on the page is dropped (`github_listing`). Each run sees so much of the newest part: at least the
  last page of each listing.
* A thread says how many comments it has. Where that is not the number that is kept, its comments
  are read again (`github_missing`); one request for each such thread, and never more than the
  whole listing has pages.
* Every `github_run.SWEEP` days everything is read again from the start, by the first rule. So an
  old issue that was deleted or moved, or a comment of a review, is gone after 30 days at most.

Everything is kept in one SQLite file for each repository (docs/decisions/0017-issue-store.md).
GITHUB_TOKEN is read from the environment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import date
from itertools import groupby
from pathlib import Path

from opslore import files
from opslore.cards import Document
from opslore.config_sources import IssuesSource
from opslore.errors import ConfigError, SourceError
from opslore.sources import Ground, Stream, github_threads
from opslore.sources.github_run import Run
from opslore.sources.github_store import Kept

TOKEN = "GITHUB_TOKEN"
CHUNK = 200
"""Threads whose posts are in memory at once."""


def collect(source: IssuesSource, ground: Ground) -> Stream:
    """Bring what is kept of the repositories up to date.

    Args:
        source: the section of the agent file.
        ground: where it works; offline nothing is fetched.

    Raises:
        SourceError: a page cannot be read, or not now (retryable); what was read before is kept,
            and the same command goes on there.
        ConfigError: an address, a name, a day or the token cannot be used.
        IntegrityError: what is kept was damaged.
    """
    since = _moment(source.since)
    paths = {name: _path(source, ground, name) for name in dict.fromkeys(source.repositories)}
    if not ground.offline:
        run = Run(source.url, os.environ.get(TOKEN, "").strip(), list(ground.allow))
        with files.alone(ground.keep / "lock"):
            _fetch(run, paths, since, source.pulls)
    threads, revisions = 0, {}
    for name, path in paths.items():
        if path.exists():
            kept = Kept(path)
            threads += kept.number_of("threads")
            revisions[name] = kept.note("revision")
            kept.close()

    def rows() -> Iterator[Document]:
        for name, revision in revisions.items():
            yield from _documents(source, name, paths[name], since, revision)

    return Stream(rows, files=threads)


def _fetch(run: Run, paths: dict[str, Path], since: str, pulls: bool) -> None:
    kept: dict[str, Kept] = {}
    try:
        for name, path in paths.items():
            kept[name] = Kept(path)
        run.fetch(kept, since, pulls)
    finally:
        for each in kept.values():
            each.close()


def _documents(
    source: IssuesSource, name: str, path: Path, since: str, revision: str
) -> Iterator[Document]:
    """The threads of a repository in the order of their numbers.

    Raises:
        SourceError: another run has changed the file meanwhile (retryable).
    """
    about = {"product": source.product or name.partition("/")[2], "version": source.version}
    kept = Kept(path)
    try:
        fixes, pulls = kept.fixes(), kept.pulls()
        after = 0
        while chunk := kept.threads(after, CHUNK):
            first, after = chunk[0][0], chunk[-1][0]
            posts = {
                number: list(rows)
                for number, rows in groupby(kept.posts(first, after), key=lambda row: row[0])
            }
            for row in chunk:
                number, updated, pull = row[:3]
                if updated >= since and (source.pulls or not pull):
                    yield github_threads.document(
                        name, row, posts.get(number, []), fixes.get(number, []), pulls, about
                    )
        if kept.note("revision") != revision:
            raise SourceError(
                f"{path}: was changed by another run while it was read",
                hint="run the same command again when the other one has ended",
                retryable=True,
            )
    finally:
        kept.close()


def _path(source: IssuesSource, ground: Ground, repository: str) -> Path:
    """The file of a repository: another server has another one."""
    owner, _, name = repository.partition("/")
    if not name.strip("."):
        raise ConfigError(f"{repository!r} is no repository", hint="write owner/name")
    server = hashlib.sha256(source.url.rstrip("/").encode()).hexdigest()[:8]
    return ground.keep / f"{owner}--{name}-{server}.sqlite".lower()


def _moment(day: str) -> str:
    if not day:
        return ""
    try:
        return f"{date.fromisoformat(day).isoformat()}T00:00:00Z"
    except ValueError as error:
        raise ConfigError(
            f"since: {day!r} is no day", hint="write YYYY-MM-DD, or leave it out"
        ) from error
