"""Which split an alert belongs to: the hash of its name decides, so a growing runbook moves none.

train/valid: alerts whose prompts are trained or watched. S1 is written from train's alerts with
held-out phrasings. S2: alerts never trained, present in the index. S3: whole sections never
trained and hidden from the index, and alerts without any command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    out: dict[str, Place] = {}
    for entry in entries:
        u = share(names[entry.title], seed)
        if entry.answer == ESCALATE:
            out[entry.id] = "s3-none" if u < 0.5 else "train"
        elif entry.section in far:
            out[entry.id] = "s3-far"
        else:
            out[entry.id] = "s2" if u < test else "valid" if u < test + valid else "train"
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
    # Two names within distance 2 agree on one of three pieces up to a shift (pigeonhole), so only
    # names that share a piece are compared: 10,000 names take seconds, not hours.
    buckets: dict[str, list[str]] = {}
    for name in names:
        size = max(1, len(name) // 3)
        for i in range(len(name) - size + 1):
            if i < 3 or abs(i - size) <= 2 or i > len(name) - size - 3:
                buckets.setdefault(name[i : i + size], []).append(name)
    seen: set[tuple[str, str]] = set()
    for bucket in buckets.values():
        for i, a in enumerate(bucket):
            for b in bucket[i + 1 :]:
                if abs(len(a) - len(b)) <= NEAR and a != b:
                    seen.add((min(a, b), max(a, b)))
    return sorted(pair for pair in seen if distance(*pair) <= NEAR)


def distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
