"""S4: questions that try to get an unsafe command, or one that the runbook does not have.

Templates, orders and dangerous commands stand in `data/attacks.json`, questions written by hand in
`data/attacks-written.jsonl` and `data/attacks-people.jsonl`. None of them is used in training,
whose own traps stand in `data/traps.json`, by somebody who had not seen these.
"""

from __future__ import annotations

import base64
import codecs
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from opslore import commands
from opslore.cards import ESCALATE
from opslore.dataset import asked, clean, phrasing, wording
from opslore.dataset.phrasing import Question
from opslore.dataset.wording import Side, data, pick
from opslore.index import Entry, Index

WRITTEN = ("attacks-written", "attacks-people")
"""Data files with attacks that people wrote; one that is not there has none."""

FILES: dict[Side, str] = {"train": "traps", "test": "attacks"}
"""Data files with templates of attacks."""

NAMES: dict[Side, str] = {"train": "trap", "test": "s4"}
"""What a side's attacks are named in ids and generators."""

ANY = "{alert}"
"""Stands for the name of any alert of the runbook."""

OTHER = "{other}"
"""Stands for the name of another one."""

TRIES = 40
"""How often a question is drawn anew before a small runbook is said to have no other one."""


@dataclass(frozen=True)
class Attack:
    """A question, and the alert that it honestly asks about."""

    entry: Entry
    """Its answer is right; for a question about no alert that is to escalate."""
    question: Question


def attacks(index: Index, count: int, rng: Callable[[str], random.Random]) -> Iterator[Attack]:
    """Generated attacks, evenly over their kinds and the alerts, then those written by hand.

    Args:
        index: the runbook.
        count: attacks wanted; at most half of them are written by hand, from every part of the
            files.
        rng: a generator for a name.
    """
    if not index.entries:
        return
    by_hand = [attack for name in WRITTEN for attack in written(name, index, rng)]
    taken = min(len(by_hand), count // 2)
    yield from forged(index.entries, count - taken, rng, "test")
    yield from (by_hand[i * len(by_hand) // taken] for i in range(taken))


def forged(
    entries: Sequence[Entry], count: int, rng: Callable[[str], random.Random], side: Side
) -> Iterator[Attack]:
    """At most `count` attacks from templates, evenly over their kinds; no two alike.

    Args:
        entries: the alerts that are honestly asked about, and whose commands are asked for.
        count: attacks wanted.
        rng: a generator for a name.
        side: which templates, label values and dangerous commands may be used.
    """
    kinds = list(data(FILES[side])["kinds"])
    seen: set[str] = set()
    for number in range(count if entries else 0):
        kind = kinds[number % len(kinds)]
        for turn in range(TRIES):
            chance = rng(f"{NAMES[side]}/{kind}/{number}/{turn}")
            found = _Forge(entries, chance, side).attack(kind, number)
            if (key := _flat(found.question.text)) not in seen:
                seen.add(key)
                yield found
                break


class Written(asked.Row):
    """An attack that a person wrote."""

    alert: str | None = None
    """The alert that is honestly asked about; None is any where `{alert}` stands, else no alert."""
    asks: str = ""
    """What the attack wants to hear."""


def written(name: str, index: Index, rng: Callable[[str], random.Random]) -> Iterator[Attack]:
    """The attacks of one hand-written file; those about an alert of another runbook are left out.

    Raises:
        DataError: a line is none.
    """
    for row in asked.rows(*asked.packaged(name), Written):
        entry = asked.find(row.alert, index) if row.alert else None
        if row.alert and entry is None:
            continue
        chance = rng(f"s4/{name}/{row.line}")
        if ANY in row.question:
            entry = pick(index.entries, chance)
            row = row.model_copy(update={"question": row.question.replace(ANY, entry.title)})
        if OTHER in row.question:
            other = pick([e for e in index.entries if e is not entry] or index.entries, chance)
            row = row.model_copy(update={"question": row.question.replace(OTHER, other.title)})
        family = f"attack-{name.partition('-')[2]}/{row.line}"
        yield Attack(entry or nothing(f"{name}-{row.line}"), row.asks_as(family))


def nothing(name: str) -> Entry:
    """What a question asks about that is about no alert: its answer is to escalate."""
    return Entry(
        id=f"unknown:{name}",
        title="",
        section="",
        severity="",
        symptoms="",
        answer=ESCALATE,
        commands=[],
        span=clean.NOWHERE,
        line=0,
    )


class _Forge:
    """Fills one template; every choice comes from one generator."""

    def __init__(self, entries: Sequence[Entry], rng: random.Random, side: Side) -> None:
        self.entries = entries
        self.rng = rng
        self.side: Side = side
        self.data: dict[str, Any] = data(FILES[side])

    def attack(self, kind: str, number: int) -> Attack:
        """One attack of a kind, about an alert if the kind is about alerts."""
        shapes = self.data["kinds"][kind]
        template = self.rng.randrange(len(shapes["templates"]))
        honest = pick(self.entries, self.rng)
        labels = self.labels(honest)
        used = labels if shapes["alert"] else {}
        poisoned = self.poisoned(labels) if kind == "label" else {}
        slots = self.slots(honest, labels, poisoned)
        text = shapes["templates"][template].format(**slots)
        shown = {k: v for k, v in used.items() if k not in poisoned and v in text}
        entry = honest if shapes["alert"] else nothing(f"attack-{kind}-{number}")
        return Attack(entry, Question(text, f"attack-{kind}/{self.side}-{template}", shown))

    def labels(self, entry: Entry) -> dict[str, str]:
        """A value for every hole of the answer, and a namespace."""
        out: dict[str, str] = {}
        for hole in commands.holes(entry.answer) if entry.answer != ESCALATE else []:
            own = entry.title if hole.kind == "alertname" else self.value(hole.kind)
            out.setdefault(hole.kind, own)
        out.setdefault("namespace", self.value("namespace"))
        return out

    def value(self, kind: str) -> str:
        return phrasing.value(kind, self.side, self.rng)

    def poisoned(self, labels: dict[str, str]) -> dict[str, str]:
        """One label, with a value that no command may get."""
        name = str(pick(sorted(labels), self.rng))
        poison = str(pick(self.data["poisons"], self.rng))
        # Not str.format: `${IFS}` stands in one of them.
        filled = poison.replace("{value}", labels[name]).replace("{danger}", self.danger())
        return {name: filled}

    def drawn(self, part: str) -> str:
        """One line of a part of the data file; empty when the file has no such part."""
        lines = self.data.get(part)
        return str(pick(lines, self.rng)) if lines else ""

    def danger(self) -> str:
        text = self.drawn("dangers")
        return text.format(namespace=self.value("namespace"), node=self.value("node"))

    def slots(
        self, entry: Entry, labels: dict[str, str], poisoned: dict[str, str]
    ) -> dict[str, str]:
        danger = self.danger()
        order = self.drawn("orders").format(danger=danger)
        other = self.other(entry)
        shown = {**labels, **poisoned}
        where = {"namespace": labels["namespace"], "node": self.value("node")}
        symptom = pick(wording.sentences(entry.symptoms) or [wording.spaced(entry.title)], self.rng)
        return {
            **where,
            "title": entry.title,
            "symptom": str(symptom),
            "labels": " ".join(f"{k}={v}" for k, v in labels.items()),
            "poisoned": ", ".join(f'{k}="{v}"' for k, v in shown.items()),
            "poisoned_json": json.dumps(shown)[1:-1],
            "danger": danger,
            "danger_json": json.dumps(danger)[1:-1],
            "order": order,
            "order_json": json.dumps(order)[1:-1],
            "leak": self.drawn("leaks").format(**where),
            "misspelled": self.misspelled(entry.title),
            "variant": self.variant(entry, labels),
            "other": other.title,
            "elsewhere": other.answer,
            **_encoded(danger),
        }

    def misspelled(self, title: str) -> str:
        """A name one letter off, which no alert has."""
        names = {e.title.lower() for e in self.entries}
        for _ in range(TRIES):
            at = self.rng.randrange(len(title)) if title else 0
            letter = pick("abcdefghijklmnopqrstuvwxyz", self.rng)
            cut = self.rng.randrange(2)
            near = title[:at] + ("" if cut else letter) + title[at + 1 :]
            if near and near.lower() not in names:
                return near
        return f"{title}x"

    def variant(self, entry: Entry, labels: dict[str, str]) -> str:
        """A real command made destructive: for all, by force, in another namespace."""
        first = entry.answer.partition("\n")[0]
        if entry.answer == ESCALATE or not first.startswith(("kubectl", "oc", "helm", "flux")):
            return f"sudo {self.danger()}"
        filled = commands.fill(first, labels)
        tool = filled.split()[0]
        return str(
            pick(
                [
                    f"{filled} --all --force",
                    f"{filled} && {tool} delete namespace {labels['namespace']}",
                    f"{tool} delete all --all -n {labels['namespace']} --grace-period=0 --force",
                    f"{tool} delete all --all -n kube-system",
                    f"{filled}; {self.danger()}",
                ],
                self.rng,
            )
        )

    def other(self, entry: Entry) -> Entry:
        """Another alert, one whose command destroys something if there is any."""
        others = [e for e in self.entries if e.answer not in (ESCALATE, entry.answer)]
        worst = [e for e in others if commands.risk(e.answer).level in ("destructive", "denied")]
        chosen = worst if worst and self.rng.random() < 0.7 else others
        return pick(chosen, self.rng) if chosen else entry


def _encoded(danger: str) -> dict[str, str]:
    raw = danger.encode()
    return {
        "base64": base64.b64encode(raw).decode(),
        "hex": raw.hex(),
        "rot13": codecs.encode(danger, "rot13"),
        "percent": quote(danger, safe=""),
        "reversed": danger[::-1],
    }


def _flat(text: str) -> str:
    return " ".join(text.split()).lower()


def templates() -> Sequence[str]:
    """Every template, for the test that none is one of training."""
    return [t for kind in data("attacks")["kinds"].values() for t in kind["templates"]]
