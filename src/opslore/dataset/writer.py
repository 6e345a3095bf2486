"""Writes the examples of one runbook: every alert phrased many ways, unknown ones, attacks.

Open book: the prompt shows what the index finds for the question, by the same call that serving
makes. The right entry is never forced in; when the index misses it, the right answer still counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from opslore import commands, prompt
from opslore.cards import ESCALATE, Example, Message, Split
from opslore.config import Prepare
from opslore.dataset import asked, attacks, calibrating, phrasing, wording
from opslore.index import Entry, Index


class Writer:
    """Writes examples for one runbook; every choice comes from the seed and the example's name."""

    def __init__(self, prepare: Prepare, system: str, index: Index) -> None:
        self.prepare = prepare
        self.system = system
        self.index = index
        self.sections = index.sections()
        self.named: dict[str, list[Entry]] = {}
        for entry in index.entries:
            self.named.setdefault(entry.title.lower(), []).append(entry)
        self.text = " ".join(f"{e.title} {e.section} {e.symptoms}" for e in index.entries).lower()

    def example(
        self,
        entry: Entry,
        question: phrasing.Question,
        where: Split,
        number: int,
        hidden: Sequence[str] = (),
    ) -> Example:
        """One example: the question, what the index finds for it, the right answer."""
        rng = self.rng(f"show/{where}/{entry.id}/{number}")
        book = "open"
        if where == "train" and not hidden and rng.random() < self.prepare.closed_book:
            book = "closed"
        hits = (
            self.index.search(question.text, self.prepare.entries, hidden) if book == "open" else []
        )
        if self.prepare.order == "random":
            rng.shuffle(hits)
        escalates = entry.answer == ESCALATE or entry.id in hidden
        target = ESCALATE if escalates else commands.fill(entry.answer, question.labels)
        turns = prompt.messages(self.system, question.text, hits)
        return Example(
            id=f"{where}-{entry.id}-{number}",
            messages=[*turns, Message(role="assistant", content=target)],
            target=target,
            accepted=[] if escalates else self.alternatives(entry, question, target),
            source=entry.span.model_copy(update={"first": entry.line, "last": entry.line}),
            group=entry.id,
            split=where,
            labels=question.labels,
            family=question.family,
            question=question.text,
            book="open" if book == "open" else "closed",
            shown=[h.entry.id for h in hits],
            hidden=list(hidden),
        )

    def alternatives(self, entry: Entry, question: phrasing.Question, target: str) -> list[str]:
        """The answers of other entries with this alert's very name."""
        twins = [e for e in self.named.get(entry.title.lower(), []) if e.id != entry.id]
        filled = [commands.fill(e.answer, question.labels) for e in twins]
        return [answer for answer in filled if answer != target]

    def same(self, entry: Entry) -> list[str]:
        """Every entry with this alert's name or answer: without them its neighbours are wrong."""
        title = entry.title.lower()
        return [
            e.id for e in self.index.entries if e.title.lower() == title or e.answer == entry.answer
        ]

    def phrase(
        self, entry: Entry, kind: str, side: wording.Side, rng: random.Random
    ) -> phrasing.Question:
        """One question about an alert of this runbook, by any of the format's templates."""
        tells = self.index.tells(entry)
        return phrasing.phrase(entry, kind, side, rng.randrange(60), rng, tells)

    def rng(self, name: str) -> random.Random:
        """A generator that depends on the seed and a name alone."""
        return random.Random(f"{self.prepare.seed}/{name}")

    def trained(self, entry: Entry, where: Split) -> Iterator[Example]:
        """The training (or validation) questions about one alert."""
        kinds = phrasing.order(entry.title, self.prepare.seed)
        count = self.prepare.phrasings if where == "train" else 3
        for number in range(count):
            rng = self.rng(f"{where}/{entry.id}/{number}")
            kind = kinds[(number + rng.randrange(2)) % len(kinds)]
            question = self.phrase(entry, kind, "train", rng)
            yield self.example(entry, question, where, number)

    def tested(self, entries: Sequence[Entry], where: Split, count: int) -> Iterator[Example]:
        """Test questions, spread evenly over alerts and formats."""
        kinds = phrasing.formats()
        for number in range(count if entries else 0):
            entry = entries[number % len(entries)]
            turn = number // len(entries)
            rng = self.rng(f"{where}/{entry.id}/{turn}")
            kind = kinds[(number + turn) % len(kinds)]
            question = self.phrase(entry, kind, "test", rng)
            hidden = (
                self.sections[entry.section] if where == "s3" and entry.answer != ESCALATE else ()
            )
            yield self.example(entry, question, where, turn, hidden)

    def escalations(self, entries: Sequence[Entry], count: int) -> Iterator[Example]:
        """Training questions whose right answer is to escalate.

        A fifth asks about an alert whose whole section the index pretends not to have, a fifth
        about one whose neighbours it has (near misses), two fifths about technologies no entry
        covers, a fifth is no alert at all.
        """
        kinds = phrasing.formats()
        far = [e for e in entries if e.answer != ESCALATE]
        for number in range(count):
            rng = self.rng(f"unknown/{number}")
            kind = kinds[rng.randrange(len(kinds))]
            if number % 5 < 2 and far and len(self.sections) > 1:
                entry = far[rng.randrange(len(far))]
                question = self.phrase(entry, kind, "train", rng)
                near = number % 5 == 1
                hidden = self.same(entry) if near else self.sections[entry.section]
                yield self.example(entry, question, "train", 1000 + number, hidden)
            elif number % 5 < 4 and (found := phrasing.unknown("train", self.text, rng)):
                question = phrasing.phrase(found[0], kind, "train", rng.randrange(60), rng)
                yield self.example(found[0], question, "train", 1000 + number)
            else:
                yield self.chatter("train", number)

    def far(self, count: int) -> Iterator[Example]:
        """S3 questions about technologies no entry covers, and chatter, from the test side."""
        kinds = phrasing.formats()
        for number in range(count):
            rng = self.rng(f"far/{number}")
            found = phrasing.unknown("test", self.text, rng) if number % 3 else None
            if found is None:
                yield self.chatter("s3", number)
                continue
            kind = kinds[number % len(kinds)]
            question = phrasing.phrase(found[0], kind, "test", rng.randrange(60), rng)
            yield self.example(found[0], question, "s3", number)

    def chatter(self, where: Split, number: int) -> Example:
        """Something that is no alert."""
        side = calibrating.side(where)
        lines = wording.data("chatter")[side]
        place = (number * 7 + 3) % len(lines)
        question = phrasing.Question(lines[place], f"chatter/{side}")
        return self.example(attacks.nothing(f"chatter-{side}-{place}"), question, where, number)

    def trapped(self, entries: Sequence[Entry], count: int) -> Iterator[Example]:
        """Training questions that ask for the wrong command; the right answer is the runbook's."""
        for number, trap in enumerate(attacks.forged(entries, count, self.rng, "train")):
            yield self.example(trap.entry, trap.question, "train", 5000 + number)

    def attacked(self, count: int) -> Iterator[Example]:
        """S4: attacks and traps; to ask a person is right for every one of them."""
        for number, found in enumerate(attacks.attacks(self.index, count, self.rng)):
            made = self.example(found.entry, found.question, "s4", number)
            also = [] if made.target == ESCALATE else [ESCALATE]
            yield made.model_copy(update={"accepted": [*made.accepted, *also]})

    def people(self, questions: Sequence[asked.Asked]) -> Iterator[Example]:
        """S6: what people wrote about known alerts; the rest of it is S3."""
        for one in questions:
            where: Split = "s6" if one.entry else "s3"
            entry = one.entry or attacks.nothing(f"{asked.FAMILY}-{one.row.line}")
            made = self.example(
                entry, one.row.asks_as(f"{asked.FAMILY}/{where}"), where, one.row.line
            )
            also = [commands.fill(answer, one.row.labels) for answer in one.answers()]
            yield made.model_copy(update={"accepted": [*made.accepted, *also]})
