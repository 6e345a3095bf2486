"""Is a predicted command the same as a right one, under one consistent filling of the holes?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice, permutations

from opslore.commands.canonical import Form, form
from opslore.commands.holes import Hole, compatible, fill
from opslore.commands.render import Unit
from opslore.commands.scan import MARK

MAX_ORDERS = 120
"""Orders tried for flags given several times (5!); more repeats than five are compared in order."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two commands are the same, and if not, the first difference found."""

    equal: bool
    reason: str


class _Different(Exception):
    """The first difference; its text is the verdict's reason."""


def equivalent(
    predicted: str,
    gold: str,
    labels: Mapping[str, str] | None = None,
    known: Collection[str] = (),
) -> Verdict:
    """Compare a predicted command with a right one.

    Holes of `gold` that the alert's `labels` fill must be filled with that value. A hole that they
    do not fill may stand for a hole of a compatible kind, always the same one, or for a name in
    `known` (names that occur in the alert). Any other concrete value there is ungrounded.
    """
    labels = labels or {}
    right, answer = form(fill(gold, labels)), form(predicted)
    if right.reason or answer.reason:
        return Verdict(False, "unparseable")
    try:
        _Match(right, answer, frozenset(labels.values()), frozenset(known)).units(
            right.units, answer.units
        )
    except _Different as difference:
        return Verdict(False, str(difference))
    return Verdict(True, "equal")


@dataclass
class _Match:
    """One comparison, with the holes bound so far."""

    gold: Form
    answer: Form
    given: frozenset[str]
    known: frozenset[str]
    bound: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)

    def units(self, gold: tuple[Unit, ...], answer: tuple[Unit, ...]) -> None:
        if len(answer) != len(gold):
            raise _Different("extra command" if len(answer) > len(gold) else "missing command")
        for one, other in zip(gold, answer, strict=True):
            self.unit(one, other)

    def unit(self, gold: Unit, answer: Unit) -> None:
        _same(gold.program, answer.program, "different program")
        _same(gold.compound, answer.compound, "different program")
        _same(gold.operator, answer.operator, "different operator")
        _same(gold.negated, answer.negated, "different operator")
        _same(gold.verb, answer.verb, "different verb")
        self.texts(gold.assignments, answer.assignments, "different assignments")
        self.texts(gold.arguments, answer.arguments, "different arguments")
        self.flags(gold.flags, answer.flags)
        self.units(gold.inner, answer.inner)
        self.texts(gold.after, answer.after, "different arguments")
        self.texts(gold.redirects, answer.redirects, "different redirects")
        _same(len(gold.clauses), len(answer.clauses), "different arguments")
        for (label, one), (name, other) in zip(gold.clauses, answer.clauses, strict=True):
            self.text(label, name, "different arguments")
            self.units(one, other)

    def texts(self, gold: tuple[str, ...], answer: tuple[str, ...], reason: str) -> None:
        _same(len(gold), len(answer), reason)
        for one, other in zip(gold, answer, strict=True):
            self.text(one, other, reason)

    def flags(
        self, gold: tuple[tuple[str, str | None], ...], answer: tuple[tuple[str, str | None], ...]
    ) -> None:
        names = Counter((name, value is None) for name, value in gold)
        _same(names, Counter((name, value is None) for name, value in answer), "different flags")
        for name in sorted({name for name, _ in gold}):
            wanted = [value for given, value in gold if given == name and value is not None]
            have = [value for given, value in answer if given == name and value is not None]
            self.values(wanted, have)

    def values(self, gold: list[str], answer: list[str]) -> None:
        """Match the values of one flag in any order that fits the holes bound so far."""
        first: _Different | None = None
        for order in islice(permutations(answer), MAX_ORDERS):
            bound, taken = dict(self.bound), dict(self.taken)
            try:
                self.texts(tuple(gold), tuple(order), "different flags")
            except _Different as difference:
                first = first or difference
                self.bound, self.taken = bound, taken
            else:
                return
        raise first or _Different("different flags")

    def text(self, gold: str, answer: str, reason: str) -> None:
        """Match one argument; each hole of the right command takes what stands in its place."""
        if gold == answer and not MARK.search(gold):
            return
        marks = MARK.findall(gold)
        literals = MARK.split(gold)[::2]
        pattern = "(.+?)".join(re.escape(literal) for literal in literals)
        found = re.fullmatch(pattern, answer, re.S) if marks else None
        if not found:
            raise _Different(self.mismatch(gold, answer, reason))
        for mark, value in zip(marks, found.groups(), strict=True):
            self.bind(self.gold.holes[int(mark)], value, reason)

    def mismatch(self, gold: str, answer: str, reason: str) -> str:
        if MARK.search(answer):
            pattern = ".+".join(re.escape(literal) for literal in MARK.split(answer)[::2])
            if re.fullmatch(pattern, gold, re.S):
                return "hole not filled"
        grounded = self.given | self.known
        if any(value and value in gold for value in self.given) and not MARK.search(answer):
            kind, _, name = answer.rpartition("/")
            if gold.rpartition("/")[0] == kind and name not in grounded:
                return "ungrounded"
        return reason

    def bind(self, hole: Hole, value: str, reason: str) -> None:
        mark = MARK.fullmatch(value)
        if mark:
            other = self.answer.holes[int(mark.group(1))]
            if not compatible(hole, other):
                raise _Different(reason)
            value = f"<{other.identity}>"
        elif MARK.search(value):
            raise _Different(reason)
        elif value not in self.known:
            raise _Different(reason if value in self.given else "ungrounded")
        consistent = self.bound.setdefault(hole.identity, value) == value
        if not consistent or self.taken.setdefault(value, hole.identity) != hole.identity:
            raise _Different("different arguments")


def _same(gold: object, answer: object, reason: str) -> None:
    if gold != answer:
        raise _Different(reason)
