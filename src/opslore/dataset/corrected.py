"""Corrections of a runbook: they win over its answers, and answer with their own file and line.

A correction whose question is an alert's name, or carries it, answers that alert; any other is an
entry of its own. What it prescribes is judged as the runbook's commands are: a destructive one is
kept, and `ask` shows it with its warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from opslore import commands
from opslore.cards import ESCALATE, Command, Document, Dropped
from opslore.index import MAX_ANSWER, one_line
from opslore.stems import CAMEL, TOKEN

SECTION = "Corrections"
"""Section of the entries that no runbook has."""
NAME = 60
"""Longest name of such an entry, in characters."""


def applied(documents: Sequence[Document]) -> tuple[list[Document], list[Dropped]]:
    """A runbook's documents with the corrections in them; corrections that are no command go.

    The entries that corrections add stand last, so what the runbook says alone keeps its order.
    """
    alerts = [document for document in documents if document.kind == "alert"]
    names: dict[str, list[Document]] = {}
    for alert in alerts:
        names.setdefault(alert.title.lower(), []).append(alert)
    changed: dict[str, Document] = {}
    added: list[Document] = []
    dropped: list[Dropped] = []
    for correction in documents:
        if correction.kind != "correction":
            continue
        answer = _command(correction.text)
        if not answer:
            reason = f"a correction that is no command of at most {MAX_ANSWER} characters"
            dropped.append(
                Dropped(
                    what=correction.title[:80],
                    reason=reason,
                    span=correction.span,
                    origin=correction.origin,
                )
            )
            continue
        found = _named(correction.title, names)
        changed.update((alert.id, _answered(alert, correction, answer)) for alert in found)
        if not found:
            added.append(_entry(correction, answer))
    return [changed.get(d.id, d) for d in documents] + added, dropped


def _command(text: str) -> str:
    """The one command of an answer, out of its fence or back-ticks; empty when it is none."""
    text = text.strip()
    fence = re.fullmatch(r"(?:```|~~~)[^\n]*\n(.*?)\n?(?:```|~~~)", text, re.DOTALL)
    bare = (fence.group(1) if fence else text).strip()
    bare = re.sub(r"^\$ ", "", bare.strip("`").strip() if not fence else bare)
    if bare == ESCALATE:
        return bare
    if len(bare) > MAX_ANSWER or commands.is_setup(bare):
        return ""
    good = commands.looks_like_command(bare) or (fence and commands.parse(bare).ok)
    return one_line(bare) if good else ""


def _named(question: str, names: dict[str, list[Document]]) -> list[Document]:
    """The alerts that a question is about: its whole text is their name, or it has that name."""
    if whole := names.get(question.strip().rstrip("?.! ").lower()):
        return whole
    told = dict.fromkeys(
        token.lower()
        for token in TOKEN.findall(question)
        if len(CAMEL.findall(token)) > 1
        or any(a.title == token for a in names.get(token.lower(), []))
    )
    found = [names[name] for name in told if name in names]
    return found[0] if len(found) == 1 else []


def _answered(alert: Document, correction: Document, answer: str) -> Document:
    """An alert with the correction's answer instead of its own; its investigation stays."""
    kept = [command for command in alert.commands if command.role == "investigation"]
    return alert.model_copy(
        update={
            "commands": _commands(correction, answer) + ([] if answer == ESCALATE else kept),
            "resolution": [] if answer == ESCALATE else [answer],
            "span": correction.span,
            "origin": correction.origin,
        }
    )


def _entry(correction: Document, answer: str) -> Document:
    """A correction as an alert of its own; its name is the beginning of the question."""
    first = correction.title.strip().splitlines()[0]
    names = [token for token in TOKEN.findall(first) if len(CAMEL.findall(token)) > 1]
    title = names[0] if len(names) == 1 else first[:NAME].strip()
    return Document(
        id=correction.id,
        kind="alert",
        title=title,
        text=correction.text,
        updated=correction.updated,
        author=correction.author,
        span=correction.span,
        section=SECTION,
        symptoms=correction.title,
        resolution=[] if answer == ESCALATE else [answer],
        commands=_commands(correction, answer),
        origin=correction.origin,
    )


def _commands(correction: Document, answer: str) -> list[Command]:
    if answer == ESCALATE:
        return []
    line = correction.span.first
    return [Command(text=answer, role="resolution", first=line, last=line)]
