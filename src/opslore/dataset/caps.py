"""No author, page or site may fill a dataset: about 250 documents are enough to plant a backdoor.

(Anthropic, UK AI Security Institute, Alan Turing Institute 2025.) An issue gives one pair, so its
cap is kept by construction; corrections are reviewed and never counted out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

AUTHOR = 0.01
"""Share of the examples that one author may have."""

AUTHOR_FLOOR = 20
"""...but so many always: a team of three has no author under 1 %, and 20 are far from 250."""

PAGE = 40
"""Pairs of one page; a long change log keeps its newest releases."""

SITE = 0.5
"""Share of the examples that one site or folder of pages may have."""

SITE_FLOOR = 1000
"""...but so many always, so that documentation alone can be a dataset."""


@dataclass(frozen=True)
class Counted:
    """What the caps look at in a pair."""

    author: str
    site: str
    """Origin of a page; empty for threads."""
    exempt: bool
    """T1: reviewed, never counted out."""
    order: tuple[float, ...]
    """Lower stays longer."""


def over(pairs: Sequence[Counted]) -> dict[int, str]:
    """The places of the pairs that are too many, each with the reason."""
    out = _over(pairs, lambda p: p.author, AUTHOR, AUTHOR_FLOOR, "more than 1 % by one author", {})
    return _over(pairs, lambda p: p.site, SITE, SITE_FLOOR, "more than half from one site", out)


def _over(
    pairs: Sequence[Counted],
    of: Callable[[Counted], Hashable],
    share: float,
    floor: int,
    reason: str,
    before: dict[int, str],
) -> dict[int, str]:
    """Take out until nobody has more than the share of what is left."""
    out = dict(before)
    mine: dict[Hashable, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        if of(pair) and not pair.exempt and place not in out:
            mine[of(pair)].append(place)
    for places in mine.values():
        places.sort(key=lambda place: pairs[place].order)
    kept = {key: len(places) for key, places in mine.items()}
    while True:
        left = len(pairs) - len(out) - sum(len(mine[key]) - kept[key] for key in mine)
        limit = max(floor, int(share * left))
        too_many = [key for key, count in kept.items() if count > limit]
        if not too_many:
            break
        for key in too_many:
            kept[key] = limit
    for key, places in mine.items():
        out.update(dict.fromkeys(places[kept[key] :], reason))
    return out
