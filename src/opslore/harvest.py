"""The card of one source's reading, so that several machines may read one corpus's sources."""

from __future__ import annotations

from typing import ClassVar

from opslore.cards import Card, Document, Dropped
from opslore.record import Record


class Harvest(Card):
    """What one source gave, word for word and in its order."""

    kind: ClassVar[str] = "harvest"
    origin: str
    """The source as the tables name it: `runbook agents/RUNBOOK.md`."""
    documents: int
    dropped: int
    digest: str
    """SHA-256 of rows.jsonl."""
    commit: str = ""
    files: int
    """Files, pages or threads that were read as text."""
    streamed: bool
    """It may be too large for memory; what it leaves out is counted, not told line by line."""


class Row(Record):
    """A line of rows.jsonl: a document, or what was left out."""

    document: Document | None = None
    dropped: Dropped | None = None
