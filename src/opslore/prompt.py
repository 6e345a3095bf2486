"""The one place where a prompt is written: training, evaluation and serving all call it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from opslore import commands, labels, naming
from opslore.cards import Message
from opslore.index import Hit, told
from opslore.stems import quoted, words

_WORD = re.compile(r"[a-z]+")

Fit = Literal["strong", "fair", "weak"]
FITS: tuple[Fit, ...] = ("strong", "fair", "weak")
STRONG, FAIR = 35.0, 12.0
"""Of the example's training questions 91 % of the known alerts reach the first and 98 % the second,
of the unknown ones 7 % and 35 %; of questions that people wrote for the OpenShift runbook 79 % and
92 % of the known, none and 29 % of the unknown."""

MEANT, CHANCE = 12.0, 0.4
"""Stems in a row that a cosine of 1 is worth, and the cosine that an unknown alert reaches too."""

CUES = 80
"""Characters of an entry's symptoms that a prompt shows: enough to tell it from its neighbours."""


def messages(system: str, question: str, hits: Sequence[Hit] = ()) -> list[Message]:
    """System and user turn for a question; without hits the prompt is closed book.

    Each entry is one line and its command, in the order given: how well it fits, its name, the
    part of its symptoms that is nearest to the question. Holes are filled with the labels that a
    program can read. Beside a strong entry the weak ones are left out: half of the tokens, and
    almost never the right one. The best fit stands again behind the question, where a small model
    sees it.
    """
    user = question
    if hits:
        fitting = fits(question, hits)
        best = min(fitting, key=FITS.index)
        user = f"{book(question, hits, fitting)}\n\nQuestion: {question}\nBest match: {best}"
    return [Message(role="system", content=system), Message(role="user", content=user)]


def book(question: str, hits: Sequence[Hit], fitting: Sequence[Fit]) -> str:
    """The runbook entries that the prompt shows, each with how well it fits."""
    asked = frozenset(words(question))
    known = stated(question, hits)
    lines = []
    for hit, fit in _legible(hits, fitting):
        near = snippet(hit.entry.symptoms, asked)
        command = filled(question, hit, known)
        lines.append(f"- {hit.entry.title} ({fit}): {near}\n  {command}")
    return "Runbook:\n" + "\n".join(lines)


def shown(question: str, hits: Sequence[Hit]) -> list[Hit]:
    """The entries a model sees of those that were found."""
    return [hit for hit, _ in _legible(hits, fits(question, hits))]


def commands_shown(question: str, hits: Sequence[Hit]) -> list[str]:
    """The commands that a prompt shows, filled with what the question says, best first."""
    known = stated(question, hits)
    return [filled(question, hit, known) for hit in shown(question, hits)]


def _legible(hits: Sequence[Hit], fitting: Sequence[Fit]) -> list[tuple[Hit, Fit]]:
    both = list(zip(hits, fitting, strict=True))
    return [(hit, fit) for hit, fit in both if fit != "weak"] if "strong" in fitting else both


def fits(question: str, hits: Sequence[Hit]) -> list[Fit]:
    """How well each entry fits: how far its score leads the others', times how much is quoted.

    The lead is in BM25's nats above the mean of the others, the quote in stems in a row, or in what
    nearness of meaning is worth; either alone is no proof (docs/decisions/0002 and 0021).
    """
    told_by = proofs(question, hits)
    return ["strong" if p >= STRONG else "fair" if p >= FAIR else "weak" for p in told_by]


def proofs(question: str, hits: Sequence[Hit]) -> list[float]:
    """The evidence behind `fits`, a number from 1 up for each entry."""
    asked = words(question)
    total = sum(hit.score for hit in hits)
    out: list[float] = []
    for hit in hits:
        others = (total - hit.score) / max(1, len(hits) - 1)
        run = quoted(asked, told(hit.entry))
        out.append((1 + max(0.0, hit.score - others)) * (1 + run + meant(hit)))
    return out


def meant(hit: Hit) -> float:
    """How near an entry is in meaning, as stems that it would be worth to quote; 0 when unknown."""
    return 0.0 if math.isnan(hit.cosine) else MEANT * max(0.0, hit.cosine - CHANCE)


def sureness(question: str, hits: Sequence[Hit]) -> float:
    """How sure the index is of its best entry: the logarithm of its proof, 0 without entries."""
    return math.log(max(proofs(question, hits), default=1.0))


def stated(question: str, hits: Sequence[Hit]) -> dict[str, str]:
    """The labels a question states, read with the holes of the entries' commands in mind."""
    names = {n for hit in hits for hole in commands.holes(hit.entry.answer) for n in hole.kinds}
    prose = {w for hit in hits for w in _WORD.findall(hit.entry.symptoms.lower())}
    return labels.read(question, names, prose)


def filled(question: str, hit: Hit, known: Mapping[str, str]) -> str:
    """An entry's answer with every hole filled that the question fills.

    Args:
        question: what somebody wrote.
        hit: the entry.
        known: the labels that were read in the question.
    """
    entry = hit.entry
    return naming.filled(
        question, entry.answer, known, f"{entry.title} {entry.symptoms} {entry.answer}"
    )


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
