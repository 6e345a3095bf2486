"""What is wrong between alerts: one name twice, names that are nearly the same, conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from opslore.cards import ESCALATE, Document
from opslore.commands import canonical
from opslore.dataset.split import clusters
from opslore.index import entry
from opslore.lint.diagnostic import Diagnostic


def diagnostics(documents: Sequence[Document]) -> Iterator[Diagnostic]:
    """Every finding that needs more than one alert; told at each alert but the first."""
    titles: dict[str, list[Document]] = defaultdict(list)
    symptoms: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        titles[document.title.lower()].append(document)
        symptoms[" ".join(document.symptoms.split())].append(document)
    for group in titles.values():
        yield from _doubles(group)
    for text, group in symptoms.items():
        if text:
            yield from _alike(group)
    yield from _near([group[0] for group in titles.values()])


def _doubles(group: list[Document]) -> Iterator[Diagnostic]:
    """Alerts of one name."""
    first, *others = group
    answers = {told for document in group if (told := _answers(document))}
    rule = "conflicting-commands" if len(answers) > 1 else "duplicate-alert"
    what = "with other commands" if len(answers) > 1 else "already"
    for other in others:
        yield Diagnostic.at(other, rule, f"{other.title} stands at {_place(first)} {what}")


def _alike(group: list[Document]) -> Iterator[Diagnostic]:
    """Alerts of different names with the same symptoms."""
    first, *others = group
    for other in others:
        if other.title.lower() == first.title.lower() or _answer(other) == _answer(first):
            continue
        message = f"{other.title} has the symptoms of {first.title} ({_place(first)})"
        yield Diagnostic.at(other, "same-symptoms", f"{message}, and another answer")


def _near(documents: Sequence[Document]) -> Iterator[Diagnostic]:
    """Alerts whose names are two letters apart at most."""
    named = {document.title: document for document in documents}
    groups: dict[str, list[Document]] = defaultdict(list)
    for title, name in clusters(list(named)).items():
        groups[name].append(named[title])
    for group in groups.values():
        first, *others = group
        for other in others:
            message = f"{other.title} is nearly {first.title} ({_place(first)})"
            yield Diagnostic.at(other, "near-name", message)


def _answers(document: Document) -> tuple[str, ...]:
    """The resolution in canonical form; empty when there is none."""
    return tuple(canonical(text) for text in document.resolution)


def _answer(document: Document) -> str:
    chosen = entry(document).answer
    return chosen if chosen == ESCALATE else canonical(chosen)


def _place(document: Document) -> str:
    return f"{document.span.file}:{document.span.first}"
