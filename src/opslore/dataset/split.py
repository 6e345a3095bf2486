"""Which split an alert belongs to: the hash of its name decides, so a growing runbook moves none.

train/valid: alerts whose prompts are trained or watched. S1 is written from train's alerts with
held-out phrasings. S2: alerts never trained, present in the index. S3: whole sections never
trained and hidden from the index, and alerts without any command.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations
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
    unique = sorted({name.lower() for name in names})
    parent = list(range(len(unique)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for group in _alike(unique):
        if len({root(i) for i in group}) == 1:
            continue
        for a, b in combinations(group, 2):
            first, second = sorted((root(a), root(b)))
            if first != second and distance(unique[a], unique[b]) <= NEAR:
                parent[second] = first
    place = {name: i for i, name in enumerate(unique)}
    return {name: unique[root(place[name.lower()])] for name in names}


def _alike(names: Sequence[str]) -> Iterator[list[int]]:
    """Groups of names that may be near each other (by place), small groups first.

    Names two edits apart become equal when each loses at most two letters (symmetric delete), so
    only names with an equal remainder are compared: 10,000 names take seconds, not hours.
    """
    import numpy as np

    keys, owners = array("q"), array("q")
    for i, name in enumerate(names):
        remainders = {hash(text) for text in _remainders(name)}
        keys.extend(remainders)
        owners.extend([i] * len(remainders))
    order = np.argsort(np.asarray(keys), kind="stable")
    _, starts, sizes = np.unique(np.asarray(keys)[order], return_index=True, return_counts=True)
    for size, start in sorted(zip(sizes, starts, strict=True)):
        if size > 1:
            yield np.asarray(owners)[order[start : start + size]].tolist()


def _remainders(name: str) -> Iterator[str]:
    """What is left of a name when up to two of its letters are taken out."""
    yield name
    for i in range(len(name)):
        yield name[:i] + name[i + 1 :]
        for j in range(i + 1, len(name)):
            yield name[:i] + name[i + 1 : j] + name[j + 1 :]


def distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
