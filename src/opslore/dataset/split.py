"""Which split an alert belongs to: the hash of its name decides, so a growing runbook moves none.

train/valid: alerts whose prompts are trained or watched. S1 is written from train's alerts with
held-out phrasings. S2: alerts never trained, present in the index. S3: whole sections never
trained and hidden from the index, and alerts without any command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from opslore.cards import ESCALATE
from opslore.index import Entry

Place = Literal["train", "valid", "s2", "s3-far", "s3-none"]

NEAR = 2
"""Alert names within this edit distance go to the same split, else one leaks into the other."""


def share(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def places(entries: Sequence[Entry], test: float, valid: float, seed: int) -> dict[str, Place]:
    """The split of every entry, by entry id.

    Args:
        entries: every alert of the runbook.
        test: share of alerts for S2; half of it is the share of whole sections for S3.
        valid: share of alerts for the validation loss.
        seed: changes every decision.
    """
    names = clusters([e.title for e in entries])
    sections = {e.section for e in entries}
    far = {s for s in sections if len(sections) > 3 and share(f"section/{s}", seed) < test / 2}
    answered = {names[e.title] for e in entries if e.answer != ESCALATE}
    apart = {names[e.title] for e in entries if e.answer != ESCALATE and e.section in far}
    out: dict[str, Place] = {}
    for entry in entries:
        name = names[entry.title]
        u = share(name, seed)
        none = entry.answer == ESCALATE
        # Names near each other go the same way, also when only one has a command or is far.
        held = 0.5 if none and name not in answered else test
        if u < held or name in apart:
            out[entry.id] = "s3-none" if none else "s3-far" if entry.section in far else "s2"
        elif name in answered and u < test + valid:
            out[entry.id] = "valid"
        else:
            out[entry.id] = "train"
    return out


def clusters(names: Sequence[str]) -> dict[str, str]:
    """Each name's representative: the alphabetically first of the names near it."""
    parent = {name.lower(): name.lower() for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    unique = sorted(parent)
    for first, second in _near_pairs(unique):
        a, b = sorted((root(first), root(second)))
        parent[b] = a
    return {name: root(name.lower()) for name in names}


def _near_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    # Two edits leave one of a name's three pieces whole, at most two places off (pigeonhole), so
    # only names that share a piece are compared: 10,000 names take seconds, not hours.
    holders: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        for number, (first, last) in enumerate(_pieces(len(name))):
            holders.setdefault((len(name), number, name[first:last]), []).append(name)
    seen: set[tuple[str, str]] = set()
    for name in names:
        for length in range(max(0, len(name) - NEAR), len(name) + 1):
            for number, (first, last) in enumerate(_pieces(length)):
                for at in range(max(0, first - NEAR), first + NEAR + 1):
                    piece = name[at : at + last - first]
                    for other in holders.get((length, number, piece), ()):
                        if other != name:
                            seen.add((min(name, other), max(name, other)))
    return sorted(pair for pair in seen if distance(*pair) <= NEAR)


def _pieces(length: int) -> list[tuple[int, int]]:
    """A name of this length in three pieces: (first, end) of each."""
    cuts = [0, length // 3, 2 * length // 3, length]
    return list(pairwise(cuts))


def distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
