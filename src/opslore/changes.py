"""What changed between two readings of the sources, and whether a model has to hear of it.

Alerts are compared by what the index, the prompts and the examples are made from: name, section,
severity, symptoms, and the commands in canonical form. White space, order, a line number, or
another spelling of the same command changes nothing that a model learns.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from opslore import commands
from opslore.cards import ESCALATE, Document
from opslore.dataset import corrected
from opslore.index import Entry, entry, one_line
from opslore.record import Record

What = Literal["added", "removed", "commands", "text"]

_SHOWN = ("title", "section", "severity", "symptoms")
"""The fields of an entry, beside its commands, that prompts and examples are written from."""


class Change(Record):
    """One alert that is another one now."""

    id: str
    """The alert's document id; of a removed one the id it had."""
    was: str = ""
    """The id it had when that was another one: it moved to another section, or was renamed."""
    alert: str
    section: str
    what: What
    old: list[str] = Field(default_factory=list)
    """The commands it had, in canonical form, resolution first."""
    new: list[str] = Field(default_factory=list)
    fields: list[str] = Field(default_factory=list)
    """Which text changed: `symptoms`, `section`, ..."""
    place: str = ""
    """`file:line` now; of a removed alert where it was."""


class Changes(Record):
    """Everything that changed."""

    alerts: list[Change] = Field(default_factory=list)
    """What matters, in the order of the sources."""
    pages: dict[str, int] = Field(default_factory=dict)
    """What an agent that answers in prose reads: how many were added, removed, changed."""
    passed: dict[str, int] = Field(default_factory=dict)
    """What changed and does not matter -> how many alerts, or pages."""
    total: int = 0
    """Documents there are now."""

    @property
    def matters(self) -> bool:
        """Whether a model made from the old reading has anything to learn."""
        return bool(self.alerts or self.pages)

    def ids(self) -> set[str]:
        """Every alert that it names, by its old and its new id."""
        return {one for change in self.alerts for one in (change.id, change.was) if one}


@dataclass(frozen=True)
class Reading:
    """What was read: alerts with the corrections in them, and a digest of everything else."""

    alerts: list[Document] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    prose: bool = False
    """It is for an agent that answers in prose; any other learns nothing from the others."""

    @classmethod
    def of(cls, rows: Iterable[object], prose: bool = False) -> Reading:
        """Read documents once; whatever else stands among them is left out.

        Args:
            rows: the documents.
            prose: for an agent that answers in prose, to which alerts are pages like any other.
        """
        given: list[Document] = []
        others: dict[str, str] = {}
        for row in rows:
            if not isinstance(row, Document):
                continue
            if row.kind in ("alert", "correction") and not prose:
                given.append(row)
            else:
                others[row.id] = _digest(row)
        applied, _ = corrected.applied(given)
        return cls([one for one in applied if one.kind == "alert"], others, prose)


def compare(before: Reading, now: Reading) -> Changes:
    """What `now` has that `before` had not, and the other way round."""
    pairs, removed = _paired(before.alerts, now.alerts)
    found: list[Change] = []
    passed: Counter[str] = Counter()
    for old, new in pairs:
        change = _change(old, new)
        if isinstance(change, Change):
            found.append(change)
        elif change:
            passed[change] += 1
    if not found and not removed and _order(before.alerts) != _order(now.alerts):
        passed["order of the alerts"] += 1
    found += [_one("removed", one, old=one) for one in removed]
    pages = _pages(before.others, now.others)
    if pages and not now.prose:
        passed["pages and threads, which no command is learned from"] = sum(pages.values())
    return Changes(
        alerts=found,
        pages=pages if now.prose else {},
        passed=dict(passed),
        total=len(now.alerts) + len(now.others),
    )


def canonical(text: str) -> str:
    """A command as it is compared and shown; what does not parse is compared by its words."""
    return commands.canonical(one_line(text)) or _flat(text)


def spoken(document: Document) -> list[str]:
    """An alert's commands in canonical form, its answer's role first; each once."""
    return list(dict.fromkeys(canonical(text) for text in entry(document).commands))


def _paired(
    before: Sequence[Document], now: Sequence[Document]
) -> tuple[list[tuple[Document | None, Document]], list[Document]]:
    """Each alert of now with the one it was: the same id, else the only one left of its name."""
    old = {one.id: one for one in before}
    ids = {one.id for one in now}
    left: dict[str, list[Document]] = {}
    for one in before:
        if one.id not in ids:
            left.setdefault(one.title, []).append(one)
    fresh = Counter(one.title for one in now if one.id not in old)
    pairs: list[tuple[Document | None, Document]] = []
    for one in now:
        was = old.get(one.id)
        if was is None and fresh[one.title] == 1 and len(left.get(one.title, [])) == 1:
            (was,) = left.pop(one.title)
        pairs.append((was, one))
    return pairs, [one for rows in left.values() for one in rows]


def _change(old: Document | None, new: Document) -> Change | str:
    """What became of an alert; of what does not matter only the name, empty when it is the same."""
    if old is None:
        return _one("added", new, new=new)
    was, now = entry(old), entry(new)
    if _answers(old, was) != _answers(new, now):
        return _one("commands", new, old, new)
    fields = [name for name in _SHOWN if _flat(getattr(was, name)) != _flat(getattr(now, name))]
    if fields:
        return _one("text", new, old, new, fields)
    if was.commands != now.commands:
        return "the same commands written otherwise"
    if old.text != new.text:
        same = _flat(old.text) == _flat(new.text)
        return "white space" if same else "words that no prompt shows"
    return (
        "moved in the file"
        if was.span.model_dump(exclude={"commit"}) != now.span.model_dump(exclude={"commit"})
        else ""
    )


def _answers(document: Document, found: Entry) -> tuple[str, list[str]]:
    """What is learned of an alert's commands: its answer, and all of them in their order."""
    return canonical(found.answer) if found.answer != ESCALATE else ESCALATE, spoken(document)


def _one(
    what: What,
    document: Document,
    old: Document | None = None,
    new: Document | None = None,
    fields: Sequence[str] = (),
) -> Change:
    return Change(
        id=document.id,
        was=old.id if old is not None and old.id != document.id else "",
        alert=document.title,
        section=document.section,
        what=what,
        old=spoken(old) if old else [],
        new=spoken(new) if new else [],
        fields=list(fields),
        place=f"{document.span.file}:{document.span.first}",
    )


def _digest(document: Document) -> str:
    """What a page or thread says and who says it; who liked it is left out."""
    turns = [
        (_flat(turn.text), turn.trust, turn.association, turn.marks) for turn in document.turns
    ]
    said = [_flat(document.title), _flat(document.text), document.trust, document.state, turns]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _pages(before: dict[str, str], now: dict[str, str]) -> dict[str, int]:
    counts = {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "changed": sum(before[one] != now[one] for one in before.keys() & now.keys()),
    }
    return {name: count for name, count in counts.items() if count}


def _order(alerts: Sequence[Document]) -> list[str]:
    return [one.id for one in alerts]


def _flat(text: str) -> str:
    return " ".join(text.split())
