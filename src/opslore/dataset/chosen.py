"""Which of all pairs stay: one of each near-duplicate, and nobody's share above its cap.

Only signatures and a few numbers of each pair are in memory, never its text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opslore.dataset import caps, near
from opslore.dataset.pairs import Pair
from opslore.dataset.split import share

SHORT = 240
"""Questions up to so many characters are different when their versions or numbers are."""

QUESTION = "near-duplicate question"
ANSWER = "near-duplicate answer"


@dataclass(frozen=True, slots=True)
class _Row:
    tier: str
    updated: str
    merit: float
    author: str
    site: str
    part: int
    """Hash of the section or thread."""
    numbers: int
    """Hash of a short question's numbers, 0 of a long one."""
    correction: bool
    hash: float


class Choice:
    """Sees every pair once, then says which go."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rows: list[_Row] = []
        self.questions = near.Signatures()
        self.answers = near.Signatures()
        self._names: dict[str, str] = {}

    def add(self, pair: Pair) -> None:
        """The next pair."""
        self.questions.add("\n".join([*(m.content for m in pair.before), pair.question]))
        self.answers.add(pair.answer)
        said = sorted(near.numbers(pair.question)) if len(pair.question) <= SHORT else []
        self.rows.append(
            _Row(
                tier=pair.tier,
                updated=pair.updated,
                merit=pair.merit,
                author=self._one(pair.author),
                site=self._one(pair.origin) if pair.family in ("docs", "wiki") else "",
                part=_number(pair.part),
                numbers=_number(" ".join(said)) if said else 0,
                correction=pair.family == "correction",
                hash=share(pair.id, self.seed),
            )
        )

    def gone(self) -> dict[int, str]:
        """The places of the pairs that do not stay, each with the reason."""
        if not self.rows:
            return {}
        out = self._doubles()
        left = [place for place in range(len(self.rows)) if place not in out]
        counted = [_counted(self.rows[place]) for place in left]
        out.update({left[i]: reason for i, reason in caps.over(counted).items()})
        return out

    def order(self) -> list[int]:
        """Places, the preferred first: corrections, higher tier, newer, more merit."""
        rows = self.rows
        order = sorted(range(len(rows)), key=lambda i: -i if rows[i].correction else i)
        order.sort(key=lambda i: rows[i].merit, reverse=True)
        order.sort(key=lambda i: rows[i].updated, reverse=True)
        order.sort(key=lambda i: (not rows[i].correction, rows[i].tier))
        return order

    def _doubles(self) -> dict[int, str]:
        order = self.order()
        rank = [0] * len(order)
        for place, i in enumerate(order):
            rank[i] = place
        checks: list[tuple[str, near.Signatures, float, Callable[[_Row, _Row], bool]]] = [
            (QUESTION, self.questions, near.QUESTION, _same_question),
            (ANSWER, self.answers, near.ANSWER, _same_answer),
        ]
        out: dict[int, str] = {}
        for reason, signatures, least, same in checks:
            table = signatures.table()
            beside = near.candidates(table, rank)
            for i in order:
                if i in out or not beside[i]:
                    continue
                others = [j for j in beside[i] if j not in out and same(self.rows[i], self.rows[j])]
                if near.alike(table, i, others, least):
                    out[i] = reason
        return out

    def _one(self, name: str) -> str:
        """One string for equal names, however many pairs have it."""
        return self._names.setdefault(name, name)


def _same_question(one: _Row, other: _Row) -> bool:
    return one.part != other.part and one.numbers == other.numbers


def _same_answer(one: _Row, other: _Row) -> bool:
    return one.part != other.part and not one.correction


def _counted(row: _Row) -> caps.Counted:
    order = (float(row.tier[1:]), -row.merit, row.hash)
    return caps.Counted(row.author, row.site, row.tier == "T1", order)


def _number(text: str) -> int:
    """63 bits of a name, the same in every run."""
    return int(share(text, 0) * 2**63)
