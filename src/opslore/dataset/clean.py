"""What may not be in a dataset: leaks between the splits, and answers inside their questions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from opslore import commands
from opslore.cards import ESCALATE, Dropped, Example, Span, Split

ORDER: dict[Split, int] = {
    "train": 2, "valid": 1, "calibrate": 3, "s1": 0, "s2": 0, "s3": 0, "s4": 0, "s6": 0,
}  # fmt: skip
"""Every split of a runbook's dataset; of two equal questions the one with the lower number stays.
"""

TAUGHT = ("train", "valid", "calibrate")
"""Splits that the model, or the threshold of its answers, is made from."""

UNSEEN = ("s2", "s3", "s6")
"""Splits whose questions no training question may be near. S1 asks of the alerts that are trained,
and S4 hides attacks in questions that are otherwise like those."""

JACCARD = 0.5
"""Two questions that share this much of their 5-grams of words are the same question."""


def answer_in_question(example: Example) -> bool:
    """Whether the canonical target stands in the question (a copy would then score).

    Attacks quote commands, and are scored by what must not be answered: a copy gains nothing.
    """
    if example.split == "s4":
        return False
    if example.target == ESCALATE:
        return ESCALATE in example.question
    target = _flat(example.target)
    if target in _flat(example.question):
        return True
    wanted = commands.canonical(example.target)
    lines = re.findall(r"`([^`]+)`", example.question) + example.question.splitlines()
    return bool(wanted) and any(commands.canonical(part) == wanted for part in lines)


def without_leaks(examples: Sequence[Example]) -> tuple[list[Example], list[Dropped]]:
    """Drop what repeats or leaks; a test prompt stays, the training prompt near it goes.

    Blocks: the answer inside its question; equal (question, canonical answer) pairs; training
    questions whose word 5-grams overlap an S2, S3 or S6 question by half or more.
    """
    kept: list[Example] = []
    dropped: list[Dropped] = []
    seen: set[tuple[str, str]] = set()
    near = _Near(e.question for e in examples if e.split in UNSEEN)
    for example in sorted(examples, key=lambda e: ORDER[e.split]):
        reason = ""
        pair = (_flat(example.question), commands.canonical(example.target) or example.target)
        if answer_in_question(example):
            reason = "the answer stands in the question"
        elif pair in seen:
            reason = "repeats a question with the same answer"
        elif example.split in TAUGHT and near.close(example.question):
            reason = "nearly a test question (5-gram overlap of half or more)"
        if reason:
            dropped.append(Dropped(what=example.id, reason=reason, span=example.source))
        else:
            seen.add(pair)
            kept.append(example)
    place = {e.id: i for i, e in enumerate(examples)}
    return sorted(kept, key=lambda e: place[e.id]), dropped


def leaks(examples: Iterable[Example]) -> list[str]:
    """Every leak between the splits, one line each; an empty list is what the gate wants."""
    rows = list(examples)
    out: list[str] = []
    where: dict[tuple[str, str], str] = {}
    alerts: dict[str, set[str]] = defaultdict(set)
    templates: dict[str, set[str]] = defaultdict(set)
    near = _Near(e.question for e in rows if e.split in UNSEEN)
    for e in rows:
        pair = (_flat(e.question), commands.canonical(e.target) or e.target)
        side = "train" if e.split in TAUGHT else "test"
        if where.setdefault(pair, side) != side:
            out.append(f"{e.id}: question and answer are on both sides of the split")
        if answer_in_question(e):
            out.append(f"{e.id}: the answer stands in the question")
        if side == "train" and near.close(e.question):
            out.append(f"{e.id}: nearly an S2, S3 or S6 question")
        alerts[e.group].add("trained" if e.split == "train" else e.split)
        templates[e.family].add(side)
    out += [
        f"{group}: trained and in {sorted(splits & {'s2', 's3', 'valid'})}"
        for group, splits in alerts.items()
        if "trained" in splits
        and splits & {"s2", "s3", "valid"}
        and not group.startswith("unknown:")
    ]
    out += [
        f"{group}: chosen on and in {sorted(splits & {'s2', 's3'})}"
        for group, splits in alerts.items()
        if "calibrate" in splits and splits & {"s2", "s3"} and not group.startswith("unknown:")
    ]
    out += [
        f"{family}: used on both sides" for family, sides in templates.items() if len(sides) > 1
    ]
    return out


class _Near:
    """Finds questions whose word 5-grams overlap."""

    def __init__(self, questions: Iterable[str]) -> None:
        self.grams = [g for q in questions if (g := _grams(q))]
        self.holders: dict[str, list[int]] = defaultdict(list)
        for i, grams in enumerate(self.grams):
            for gram in grams:
                self.holders[gram].append(i)

    def close(self, question: str) -> bool:
        mine = _grams(question)
        shared: dict[int, int] = defaultdict(int)
        for gram in mine:
            for i in self.holders.get(gram, ()):
                shared[i] += 1
        return any(n / (len(mine) + len(self.grams[i]) - n) >= JACCARD for i, n in shared.items())


def _grams(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}


def _flat(text: str) -> str:
    return " ".join(text.split()).lower()


NOWHERE = Span(file="(no runbook)", first=0, last=0)
"""The source of a question that no runbook line wrote."""
