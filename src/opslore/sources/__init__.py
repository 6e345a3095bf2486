"""Where the lore comes from: each source gives documents, and says what it left out and why."""

from __future__ import annotations

from dataclasses import dataclass

from opslore.cards import Document, Dropped

__all__ = ["Collected"]


@dataclass(frozen=True)
class Collected:
    """What a source gives: documents in the order they were read, and what was left out."""

    documents: list[Document]
    dropped: list[Dropped]
    commit: str
    """The newest commit that touched any of the files; empty outside a git repository."""
    files: int = 0
    """Files that were read as text."""
