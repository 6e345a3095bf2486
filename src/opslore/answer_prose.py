"""Ask a model that answers in prose: its words, and what is known of every command in them.

Nothing is withheld, as a command would be that nobody can vouch for; but each command is named with
its risk, and with whether the sources have it. The reader decides, and nothing is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from opslore import commands, steps
from opslore.answer import shipped
from opslore.asking import Asking, deployed, settings
from opslore.cards import Finding, Record
from opslore.config import Agent
from opslore.errors import ConfigError, DataError
from opslore.evaluation.prose_terms import Known, dangers_in
from opslore.evaluation.scorers import words

TASK = "answers"


class Mentioned(Record):
    """A command inside an answer."""

    text: str
    risk: str
    findings: list[Finding] = Field(default_factory=list)
    known: bool
    """Whether text of a reviewed source or of a maintainer has it."""


class Prose(Record):
    """An answer in prose."""

    question: str
    reply: str
    """Markdown, as the model wrote it."""
    stopped: bool
    """It ended by itself; False when evaluate.max_tokens cut it."""
    commands: list[Mentioned]
    model: str
    released: bool
    seconds: float


def is_prose(folder: Path) -> bool:
    """Whether a bundle answers in prose.

    Raises:
        IntegrityError: the bundle is damaged.
    """
    return settings(folder).task == TASK


def ask(agent: Agent, question: str, server: str = "", url: str = "") -> Prose:
    """Ask the shipped model.

    Args:
        agent: whose model.
        question: anything about what it learned.
        server: where the model runs; empty is `evaluate.server`, `ollama` the deployed model.
        url: the Ollama; empty is the one that `deploy` names.

    Raises:
        DataError: the question is empty or does not fit the context.
        MissingInput: nothing was trained yet.
    """
    text = question.strip()
    if not text:
        raise DataError(
            "the question is empty", hint='ask as: opslore ask AGENT.yaml "How do I ...?"'
        )
    found = shipped(steps.store_of(agent))
    if not is_prose(found.folder):
        raise ConfigError(
            f"{found.name} answers with commands, and the agent file says task: answers",
            hint="run `opslore run AGENT.yaml` to train what the agent file says",
        )
    _, name = deployed(agent)
    model = f"{name}:{found.name if found.released else 'latest'}"
    with Asking(agent, found.folder, server=server, model=model, url=url) as asking:
        _, reply = asking.ask(text)
        known = Known(asking.catalogue.templates)
    return Prose(
        question=text,
        reply=reply.text.strip(),
        stopped=reply.stopped,
        commands=mentioned(reply.text, known, text),
        model=f"{agent.name} {found.name}",
        released=found.released,
        seconds=round(reply.seconds, 3),
    )


def mentioned(reply: str, known: Known, question: str = "") -> list[Mentioned]:
    """Every command of a reply, those inside its sentences too."""
    said = words(question)
    out = []
    for text in dangers_in(reply):
        judged = commands.risk(text)
        there = known.has(text, said)
        out.append(Mentioned(text=text, risk=judged.level, findings=judged.findings, known=there))
    return out


def warnings(found: Sequence[Mentioned]) -> list[Mentioned]:
    """The commands that destroy something, or whose effect nobody can tell."""
    return [one for one in found if one.risk in ("destructive", "denied")]
