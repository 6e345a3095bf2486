"""The one place where a prompt is written: training, evaluation and serving all call it."""

from __future__ import annotations

from collections.abc import Sequence

from opslore.cards import Message
from opslore.index import Hit

CUES = 90
"""Characters of an entry's symptoms that a prompt shows: enough to tell it from its neighbours."""


def messages(system: str, question: str, hits: Sequence[Hit] = ()) -> list[Message]:
    """System and user turn for a question; without hits the prompt is closed book.

    Each entry is one line, in the order given: how much of the question it explains, its name,
    the start of its symptoms, its command.
    """
    user = question if not hits else f"{book(hits)}\n\nQuestion: {question}"
    return [Message(role="system", content=system), Message(role="user", content=user)]


def book(hits: Sequence[Hit]) -> str:
    """The runbook entries as the prompt shows them."""
    return "Runbook:\n" + "\n".join(_line(hit) for hit in hits)


def _line(hit: Hit) -> str:
    entry = hit.entry
    return f"- [{round(10 * hit.cover)}] {entry.title}: {cues(entry.symptoms)}\n  {entry.answer}"


def cues(symptoms: str) -> str:
    """The first words of the symptoms, cut at a word border."""
    flat = " ".join(symptoms.split())
    return flat if len(flat) <= CUES else flat[:CUES].rsplit(" ", 1)[0]
