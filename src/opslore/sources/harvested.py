"""One source's reading as a file, and read again as the source itself would give it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslore import files
from opslore.cards import Document, Dropped
from opslore.harvest import Harvest, Row
from opslore.sources import Collected, Stream

ROWS = "rows.jsonl"


def digest(part: Collected | Stream) -> str:
    """SHA-256 of everything a source gives now (64 hex digits), commits and dates included."""
    found = hashlib.sha256(f"{part.commit} {part.files}".encode())
    for row in part:
        found.update(b"\n" + row.model_dump_json().encode())
    return found.hexdigest()


def write(origin: str, part: Collected | Stream, work: Path) -> dict[str, Any]:
    """Fill a harvest's folder with rows.jsonl; returns the fields of its card."""
    documents = dropped = 0
    with files.whole(work / ROWS) as rows:
        for row in part:
            if isinstance(row, Document):
                documents += 1
                files.put(rows, Row(document=row))
            else:
                dropped += 1
                files.put(rows, Row(dropped=row))
    return {
        "origin": origin,
        "documents": documents,
        "dropped": dropped,
        "digest": files.sha256(work / ROWS),
        "commit": part.commit,
        "files": part.files,
        "streamed": isinstance(part, Stream),
    }


def read(card: Harvest, folder: Path) -> tuple[str, Collected | Stream]:
    """A source's name and what it gave, the same rows in the same order.

    Raises:
        IntegrityError: rows.jsonl is not what the card says.
    """
    path = folder / ROWS
    files.check(path, card.digest)

    def rows() -> Iterator[Document | Dropped]:
        for row in files.read_rows(path, Row):
            one = row.document or row.dropped
            assert one is not None, path
            yield one

    if card.streamed:
        return card.origin, Stream(rows, card.commit, card.files)
    found = list(rows())
    kept = [row for row in found if isinstance(row, Document)]
    left = [row for row in found if isinstance(row, Dropped)]
    return card.origin, Collected(kept, left, card.commit, card.files)
