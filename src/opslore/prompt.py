"""The one place where a prompt is written: training, evaluation and serving all call it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from opslore import commands, labels
from opslore.cards import Message
from opslore.index import Hit, words

_WORD = re.compile(r"[a-z]+")

CUES = 80
"""Characters of an entry's symptoms that a prompt shows: enough to tell it from its neighbours."""


def messages(system: str, question: str, hits: Sequence[Hit] = ()) -> list[Message]:
    """System and user turn for a question; without hits the prompt is closed book.

    Each entry is one line and its command, in the order given: how much of the question it
    explains in tenths, its name, the part of its symptoms that is nearest to the question. Holes
    are filled with the labels that a program can read in the question.
    """
    user = question if not hits else f"{book(question, hits)}\n\nQuestion: {question}"
    return [Message(role="system", content=system), Message(role="user", content=user)]


def book(question: str, hits: Sequence[Hit]) -> str:
    """The runbook entries as the prompt shows them."""
    asked = frozenset(words(question))
    known = stated(question, hits)
    return "Runbook:\n" + "\n".join(_line(hit, asked, known) for hit in hits)


def stated(question: str, hits: Sequence[Hit]) -> dict[str, str]:
    """The labels a question states, read with the holes of the entries' commands in mind."""
    names = {n for hit in hits for hole in commands.holes(hit.entry.answer) for n in hole.kinds}
    prose = {w for hit in hits for w in _WORD.findall(hit.entry.symptoms.lower())}
    return labels.read(question, names, prose)


def _line(hit: Hit, asked: frozenset[str], known: dict[str, str]) -> str:
    entry = hit.entry
    near = snippet(entry.symptoms, asked)
    command = commands.fill(entry.answer, known)
    return f"- [{round(10 * hit.cover)}] {entry.title}: {near}\n  {command}"


def snippet(symptoms: str, asked: frozenset[str]) -> str:
    """The stretch of the symptoms with the most of the asked stems; the first of equals."""
    text = symptoms.split()
    hits = [bool(asked.intersection(words(word))) for word in text]
    best, chosen = -1, ""
    end, length, count = 0, -1, 0
    for start in range(len(text)):
        while end < len(text) and (length + 1 + len(text[end]) <= CUES or end == start):
            length += 1 + len(text[end])
            count += hits[end]
            end += 1
        if count > best:
            best, chosen = count, " ".join(text[start:end])
        if end == len(text):
            break
        length -= 1 + len(text[start])
        count -= hits[start]
    return chosen[: 2 * CUES]
