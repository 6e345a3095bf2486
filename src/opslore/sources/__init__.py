"""Where the lore comes from: each source gives documents, and says what it left out and why.

A module here is a kind of source; its name is the one in the agent file. It has one function,
`collect(source, ground)`, that brings what is kept of the source up to date and returns something
that can be read as often as needed, a document at a time and each time the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from opslore.cards import Document, Dropped

__all__ = ["Collected", "Ground", "Stream"]


@dataclass(frozen=True)
class Ground:
    """Where a source works."""

    root: Path
    """Folder that relative paths start from, and that spans are relative to."""
    keep: Path
    """Folder for what was fetched, its own for each source and kept between runs; made when
    something is written. Records first, then what says that they are complete."""
    offline: bool = False
    """Read what is kept and fetch nothing (`opslore status`)."""
    allow: Collection[str] = ()
    """`host:port` pairs that may be plain http and on a private address; for tests."""


@dataclass(frozen=True)
class Stream:
    """What a source gives that may be too large for memory."""

    rows: Callable[[], Iterator[Document | Dropped]]
    """Everything from the start, each time the same and in the same order."""
    commit: str = ""
    """The newest commit of what was read; empty outside a git repository."""
    files: int = 0
    """Files, pages or threads that were read as text."""

    def __iter__(self) -> Iterator[Document | Dropped]:
        """Read it once more."""
        return self.rows()


@dataclass(frozen=True)
class Collected:
    """What a source gives: documents in the order they were read, and what was left out."""

    documents: list[Document]
    dropped: list[Dropped]
    commit: str
    """The newest commit that touched any of the files; empty outside a git repository."""
    files: int = 0
    """Files that were read as text."""

    def __iter__(self) -> Iterator[Document | Dropped]:
        """The documents, then what was left out."""
        yield from self.documents
        yield from self.dropped
