"""Index entries for tests that need no runbook."""

from __future__ import annotations

from opslore.cards import Span
from opslore.index import Entry


def made(title: str, symptoms: str, answer: str, section: str = "apps") -> Entry:
    """An entry with one command, which is its answer."""
    return Entry(
        id=f"id-{title}",
        title=title,
        section=section,
        severity="warning",
        symptoms=symptoms,
        answer=answer,
        commands=[answer],
        span=Span(file="RUNBOOK.md", first=1, last=9),
        line=5,
    )
