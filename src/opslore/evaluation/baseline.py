"""What the index and a dictionary answer without any model: the baselines a model has to beat."""

from __future__ import annotations

import re
from collections.abc import Mapping

from opslore import commands, labels, prompt
from opslore.cards import ESCALATE, Example
from opslore.index import Entry, Index

_WORD = re.compile(r"[^\W_]+")


def bm25(example: Example, index: Index) -> str:
    """The answer of the index's first entry, filled from the labels written in the question.

    The index is opslore's own, a stronger one to beat than BM25 alone.

    `name=value`, `name: value`, JSON: what every alert carries without anybody reading it.
    """
    hits = index.search(example.question, k=1, without=example.hidden)
    return _filled(hits[0].entry, labels.written(example.question)) if hits else ESCALATE


def first(example: Example, index: Index) -> str:
    """The first entry as the prompt shows it: all of opslore but its model.

    Unlike `bm25` it is filled from what is said in plain words too, and escalates when no entry
    fits more than weakly; what the model adds to it is the choice among the entries.
    """
    question = example.question
    hits = index.search(question, k=max(1, len(example.shown)), without=example.hidden)
    if set(prompt.fits(question, hits)) <= {"weak"}:
        return ESCALATE
    if hits[0].entry.answer == ESCALATE:
        return ESCALATE
    return prompt.filled(question, hits[0], prompt.stated(question, hits))


class Names:
    """Every alert's name, to be found in a question."""

    def __init__(self, index: Index) -> None:
        # The longest first: `KubePodCrashLooping` before an alert that is called `KubePod`.
        named = [(_plain(entry.title), entry) for entry in index.entries]
        self.names = sorted((pair for pair in named if pair[0].strip()), key=lambda p: -len(p[0]))

    def lookup(self, example: Example) -> str:
        """The answer of the alert that the question names; to escalate when it names none."""
        question = _plain(example.question)
        hidden = set(example.hidden)
        for name, entry in self.names:
            if name in question and entry.id not in hidden:
                return _filled(entry, labels.written(example.question))
        return ESCALATE


def _plain(text: str) -> str:
    """Lower-case words with a space at both ends, so that only whole words are found."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _filled(entry: Entry, values: Mapping[str, str]) -> str:
    if entry.answer == ESCALATE:
        return ESCALATE
    return commands.fill(entry.answer, dict(values))
