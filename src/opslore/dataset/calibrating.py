"""Validation questions on which evaluation learns how sure is sure enough; training reads none.

Three parts: alerts that were trained, in training's phrasings with other choices; alerts that were
kept from training (`valid`); and questions whose right answer is to escalate. Test splits are
written from other templates, and share no question with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opslore.cards import ESCALATE, Example
from opslore.dataset import phrasing, wording
from opslore.index import Entry

if TYPE_CHECKING:
    from opslore.dataset.writer import Writer

FILE = "calibrate.jsonl"

KNOWN, KEPT = 3 / 8, 1 / 4
"""Shares of the questions about trained alerts and about alerts kept from training; the rest has no
answer."""


def write(
    writer: Writer, trained: Sequence[Entry], kept: Sequence[Entry], count: int
) -> list[Example]:
    """The validation questions of a runbook, `count` in all.

    Args:
        writer: writes examples for the runbook.
        trained: alerts of the train split.
        kept: alerts of the valid split, never trained; without any, trained ones take their place.
        count: questions wanted.
    """
    old, new = round(KNOWN * count), round(KEPT * count)
    known = [e for e in trained if e.answer != ESCALATE]
    apart = [e for e in kept if e.answer != ESCALATE]
    out = _asked(writer, known, old if apart else old + new, "known")
    out += _asked(writer, apart, new, "kept")
    return out + _unknown(writer, [*known, *apart], count - old - new)


def _asked(writer: Writer, entries: Sequence[Entry], count: int, name: str) -> list[Example]:
    """Questions spread evenly over alerts and formats; what names no alert comes more often."""
    kinds = phrasing.formats()
    kinds += [kind for kind in kinds if not phrasing.names_alert(kind)]
    order = sorted(entries, key=lambda e: writer.rng(f"calibrate/{name}/{e.id}").random())
    out = []
    for number in range(count if order else 0):
        entry = order[number % len(order)]
        rng = writer.rng(f"calibrate/{name}/{entry.id}/{number}")
        question = writer.phrase(entry, kinds[number % len(kinds)], "train", rng)
        out.append(writer.example(entry, question, "calibrate", number))
    return out


def _unknown(writer: Writer, entries: Sequence[Entry], count: int) -> list[Example]:
    """Questions without an answer: hidden sections and single hidden alerts, other technologies."""
    kinds = phrasing.formats()
    order = sorted(entries, key=lambda e: writer.rng(f"calibrate/hidden/{e.id}").random())
    out: list[Example] = []
    for number in range(count):
        rng = writer.rng(f"calibrate/unknown/{number}")
        kind = kinds[number % len(kinds)]
        found = phrasing.unknown("train", writer.text, rng) if number % 3 == 0 else None
        if found is not None:
            question = phrasing.phrase(found[0], kind, "train", rng.randrange(60), rng)
            out.append(writer.example(found[0], question, "calibrate", 1000 + number))
        elif number % 12 == 1 or not order:
            out.append(writer.chatter("calibrate", number + 3))
        else:
            entry = order[number % len(order)]
            question = writer.phrase(entry, kind, "train", rng)
            section = writer.sections[entry.section]
            # Its neighbours alone, or its whole section: the first is the harder one.
            hidden = section if number % 2 else _twins(writer, entry)
            out.append(writer.example(entry, question, "calibrate", 1000 + number, hidden))
    return out


def _twins(writer: Writer, entry: Entry) -> list[str]:
    """The alert itself and those with its name or its answer."""
    return [
        e.id
        for e in writer.index.entries
        if e.id == entry.id or e.title.lower() == entry.title.lower() or e.answer == entry.answer
    ]


def side(split: str) -> wording.Side:
    """Which templates write a split's questions."""
    return "train" if split in ("train", "valid", "calibrate") else "test"
