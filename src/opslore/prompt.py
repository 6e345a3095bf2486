"""The one place where a prompt is written: training, evaluation and serving all call it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from opslore import commands, labels
from opslore.cards import Message
from opslore.index import Hit, words

_WORD = re.compile(r"[a-z]+")

LONGEST = 12
"""Words in a row that count as quoted: more say nothing more."""

CUES = 80
"""Characters of an entry's symptoms that a prompt shows: enough to tell it from its neighbours."""


def messages(system: str, question: str, hits: Sequence[Hit] = ()) -> list[Message]:
    """System and user turn for a question; without hits the prompt is closed book.

    Each entry is one line and its command, in the order given: how far its score lies above the
    others', how many of its words the question quotes in a row, its name, the part of its symptoms
    that is nearest to the question. Holes are filled with the labels that a program can read.
    """
    user = question if not hits else f"{book(question, hits)}\n\nQuestion: {question}"
    return [Message(role="system", content=system), Message(role="user", content=user)]


def book(question: str, hits: Sequence[Hit]) -> str:
    """The runbook entries as the prompt shows them."""
    asked = words(question)
    known = stated(question, hits)
    total = sum(hit.score for hit in hits)
    lines = []
    for hit in hits:
        entry = hit.entry
        others = (total - hit.score) / max(1, len(hits) - 1)
        lead = max(0, round(hit.score - others))
        run = quoted(asked, words(f"{entry.title} {entry.symptoms}"))
        near = snippet(entry.symptoms, frozenset(asked))
        command = commands.fill(entry.answer, known)
        lines.append(f"- [{lead} {run}] {entry.title}: {near}\n  {command}")
    return "Runbook:\n" + "\n".join(lines)


def stated(question: str, hits: Sequence[Hit]) -> dict[str, str]:
    """The labels a question states, read with the holes of the entries' commands in mind."""
    names = {n for hit in hits for hole in commands.holes(hit.entry.answer) for n in hole.kinds}
    prose = {w for hit in hits for w in _WORD.findall(hit.entry.symptoms.lower())}
    return labels.read(question, names, prose)


def quoted(asked: Sequence[str], said: Sequence[str]) -> int:
    """Length of the longest run of stems that both have, up to `LONGEST`."""
    for length in range(1, LONGEST + 1):
        runs = {tuple(said[i : i + length]) for i in range(len(said) - length + 1)}
        if not any(tuple(asked[i : i + length]) in runs for i in range(len(asked) - length + 1)):
            return length - 1
    return LONGEST


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
