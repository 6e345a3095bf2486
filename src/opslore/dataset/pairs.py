"""A question with its one answer on its way to an example, and what is said about a dropped one."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from opslore.cards import Document, Dropped, Message, Record, Span, Trust

Family = Literal["issue", "pull", "docs", "wiki", "correction", "archive"]


class Pair(Record):
    """One question with its best answer, before near-duplicates and caps are taken out."""

    id: str
    family: Family
    origin: str
    tier: Trust
    """Who answered: T1 reviewed, T2 maintainers; T3 never gets here."""
    question: str
    answer: str
    before: list[Message] = Field(default_factory=list)
    """The turns before the question, in a conversation of several."""
    group: str
    """The thread or page; a split never divides it."""
    part: str
    """The section or thread that answers; other questions with the same part are no duplicates."""
    span: Span
    url: str = ""
    updated: str = ""
    author: str = ""
    """Who wrote the answer; empty for pages."""
    merit: float = 0.0
    """What the answer did (accepted, closed the thread, reactions); compared within one tier."""
    lead: str = ""
    """The first question of the same part: a person approves an answer once, not per phrasing."""
    raw: str = ""
    """The source's words as they came, for the quarantine's eyes; not kept."""


def name(family: str, group: str, part: str, number: int = 0) -> str:
    """A stable id: the same thread or section gets the same one in every run."""
    digest = hashlib.sha256(f"{group}\0{part}\0{number}".encode()).hexdigest()
    return f"{family}-{digest[:12]}"


def dropped(document: Document, reason: str, what: str = "") -> Dropped:
    """What was left out of a document, and why."""
    return Dropped(
        what=what or document.id, reason=reason, span=document.span, origin=document.origin
    )


def about(document: Document) -> str:
    """The product with its version, such as `Linkerd 2.14`; of an issue its repository's name."""
    product = document.product
    if not product and document.kind in ("issue", "pull"):
        product = document.id.partition(":")[2].partition("#")[0].rpartition("/")[2]
    if document.version and document.version not in product:
        product = f"{product} {document.version}".strip()
    return product
