"""Conversations that somebody collected already: i-d-template archives, ShareGPT, Alpaca, messages.

A row is read when its own keys say what it is; a row that is none of them is left out with the
reason, and no row costs another. JSON Lines and JSON lists are read row by row.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslore.cards import Document, Dropped, Span, Turn
from opslore.config_sources import ArchiveSource
from opslore.errors import DataError, SourceError
from opslore.sources import Ground, Stream, archive_threads
from opslore.sources.archive_rows import Row, rows
from opslore.sources.chats import BadRow, Post, form_of, posts
from opslore.sources.read import printable

SUFFIXES = (".json", ".jsonl", ".ndjson")


def collect(source: ArchiveSource, ground: Ground) -> Stream:
    """Read an archive: one file, or every JSON file below a folder, by name.

    Raises:
        SourceError: nothing there, or no file of JSON.
        DataError: (while it is read) no row of it is a conversation or a thread.
    """
    start = ground.root / Path(source.path).expanduser()
    found = _files(start, source)
    root = ground.root.absolute()

    def read() -> Iterator[Document | Dropped]:
        kept = 0
        first = ""
        for path in found:
            for item in _file(path, _name(path, root), source):
                kept += isinstance(item, Document)
                if isinstance(item, Dropped) and not first:
                    first = f"; first {item.what}: {item.reason}"
                yield item
        if not kept:
            raise DataError(
                f"{source.path}: no row is a conversation or a thread{first}",
                hint="set the right format of kind: archive, or remove this source",
            )

    return Stream(read, files=len(found))


def _files(start: Path, source: ArchiveSource) -> list[Path]:
    hint = "path of kind: archive is a .json or .jsonl file, or a folder of them"
    try:
        if start.is_file():
            with start.open("rb"):
                return [start]
        if not start.is_dir():
            raise SourceError(f"{source.path}: no such file or folder", hint=hint)
        found = [
            Path(parent, name)
            for parent, _, names in os.walk(start)
            for name in names
            if name.endswith(SUFFIXES) and Path(parent, name).is_file()
        ]
    except OSError as error:
        raise SourceError(f"{source.path}: {error.strerror or error}", hint=hint) from error
    if not found:
        raise SourceError(f"{source.path}: no .json, .jsonl or .ndjson file in it", hint=hint)
    return sorted(found)


def _name(path: Path, root: Path) -> str:
    try:
        return printable(path.absolute().relative_to(root))
    except ValueError:
        return printable(path)


def _file(path: Path, name: str, source: ArchiveSource) -> Iterator[Document | Dropped]:
    try:
        for row in rows(path):
            span = Span(file=name, first=row.line, last=row.line)
            if row.reason:
                yield Dropped(what=f"{name}:{row.line}", reason=row.reason, span=span)
            else:
                yield from _row(row, span, source)
    except OSError as error:
        reason = f"unreadable: {error.strerror or error}"
        yield Dropped(what=name, reason=reason, span=Span(file=name, first=1, last=1))


def _row(row: Row, span: Span, source: ArchiveSource) -> Iterator[Document | Dropped]:
    value = row.value
    if not isinstance(value, dict):
        reason = f"a JSON {type(value).__name__} where an object with a conversation belongs"
        yield Dropped(what=f"{span.file}:{span.first}", reason=reason, span=span)
    elif archive_threads.is_archive(value) and source.format in ("auto", "i-d-template"):
        yield from archive_threads.documents(value, span)
    elif source.format == "i-d-template":
        reason = "not an i-d-template archive: it has no `repo` with `issues` or `pulls`"
        yield Dropped(what=f"{span.file}:{span.first}", reason=reason, span=span)
    else:
        form = None if source.format == "auto" else source.format
        try:
            turns = posts(value, form)
        except BadRow as error:
            yield Dropped(what=f"{span.file}:{span.first}", reason=str(error), span=span)
        else:
            yield _chat(value, turns, span, source)


def _chat(row: dict[str, Any], turns: list[Post], span: Span, source: ArchiveSource) -> Document:
    """A conversation; nothing in it says who answered, so the section's tier holds."""
    said = "\0".join(f"{post.role} {post.text}" for post in turns)
    given = row.get("id")
    name = str(given) if isinstance(given, str | int) and str(given) else ""
    digest = hashlib.sha256(f"{name}\0{said}".encode()).hexdigest()[:16]
    when = next((str(row[key]) for key in ("created", "timestamp", "when") if row.get(key)), "")
    url = next(
        (str(row[k]) for k in ("url", "source") if str(row.get(k, "")).startswith("http")), ""
    )
    first = turns[0].text.strip().splitlines()[0]
    return Document(
        id=f"archive:{digest}",
        kind="chat",
        title=first if len(first) <= TITLE else first[: TITLE - 1].rstrip() + "…",
        text=turns[0].text,
        url=url,
        updated=when,
        author="user",
        trust=source.trust,
        labels={"form": str(form_of(row))},
        span=span,
        turns=[
            Turn(
                kind="comment" if number else "body",
                text=post.text,
                author=post.role,
                association="",
                trust=source.trust if post.role == "assistant" else "T3",
                created=when,
            )
            for number, post in enumerate(turns)
        ],
    )


TITLE = 120
"""Longest title, in characters."""
