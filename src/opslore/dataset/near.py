"""Near-duplicates among many texts by MinHash: signatures are kept, texts are not.

Broder 1997; the bands find candidates (Leskovec, Rajaraman, Ullman 2014, section 3.4), the
signatures themselves decide. A signature is 512 bytes, so 50,000 pairs take 50 MB.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PERMUTATIONS = 128
"""The standard error of a Jaccard index near 0.8 is then 0.035."""

BANDS, ROWS = 25, 5
"""Two texts with a Jaccard index of 0.7 share a band in 99 of 100 cases, at 0.8 always."""

QUESTION, ANSWER = 0.7, 0.75
"""From here on two questions, or two answers, are the same."""

WIDTH = 3
"""Words in a row that are compared."""

COMPARED = 24
"""Members of one bucket that each newcomer is compared with: the best ones."""

_TOKEN = re.compile(r"[A-Za-z0-9_][\w./:+-]*[\w+]|\w")


def shingles(text: str) -> set[str]:
    """A text's runs of three words; versions, paths and options are one word."""
    words = _TOKEN.findall(text.lower())
    if len(words) < WIDTH:
        return {" ".join(words)}
    return {" ".join(words[i : i + WIDTH]) for i in range(len(words) - WIDTH + 1)}


def numbers(text: str) -> frozenset[str]:
    """Versions and other words with digits: short questions that differ in them are different."""
    return frozenset(word for word in _TOKEN.findall(text.lower()) if re.search(r"\d", word))


class Signatures:
    """MinHash signatures of many texts, one row each."""

    def __init__(self) -> None:
        from datasketch import MinHash

        self._blank = MinHash(num_perm=PERMUTATIONS, seed=1)
        self._rows = bytearray()

    def add(self, text: str) -> None:
        """Keep the signature of the next text."""
        import numpy as np

        sketch = self._blank.copy()
        sketch.update_batch([part.encode() for part in shingles(text)])
        self._rows += np.asarray(sketch.hashvalues, dtype=np.uint32).tobytes()

    def table(self) -> np.ndarray[Any, Any]:
        """All signatures, a row per text."""
        import numpy as np

        return np.frombuffer(self._rows, dtype=np.uint32).reshape(-1, PERMUTATIONS)


def candidates(table: np.ndarray[Any, Any], rank: Sequence[int]) -> list[set[int]]:
    """For each text the better-ranked ones that share a band with it.

    Args:
        table: signatures.
        rank: place of each text in the order of preference, 0 is kept first.
    """
    import numpy as np

    found: list[set[int]] = [set() for _ in range(len(table))]
    order = np.asarray(rank)
    for band in range(BANDS):
        part = np.ascontiguousarray(table[:, band * ROWS : (band + 1) * ROWS])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * ROWS))).ravel()
        _, bucket = np.unique(keys, return_inverse=True)
        place = np.lexsort((order, bucket))
        starts = np.flatnonzero(np.diff(bucket[place], prepend=-1))
        ends = np.append(starts[1:], len(place))
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            members = place[start:end].tolist()
            for i, one in enumerate(members[1:], 1):
                found[one].update(members[: min(i, COMPARED)])
    return found


def alike(
    table: np.ndarray[Any, Any], one: int, others: Collection[int], least: float
) -> list[int]:
    """Those of the others whose estimated Jaccard index with one text is at least `least`."""
    if not others:
        return []
    chosen = sorted(others)
    same = (table[chosen] == table[one]).mean(axis=1)
    return [other for other, share in zip(chosen, same.tolist(), strict=True) if share >= least]
