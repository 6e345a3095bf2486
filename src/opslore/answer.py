"""Ask the shipped model one question, and decide whether its answer may be shown.

The prompt is the one of training: the question with the entries the bundle's own index finds. What
comes back is shown as an answer only when it is the command of an entry that the prompt showed,
with no name in it that nobody said, and when the model was sure. All else goes to a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from opslore import commands, prompt, steps
from opslore.asking import Asking, deployed
from opslore.cards import ESCALATE, Bundle, Finding, Record, Release
from opslore.config import Agent
from opslore.errors import ConfigError, DataError, MissingInput
from opslore.evaluation.scorers import extract
from opslore.index import Entry, Hit
from opslore.release.current import history
from opslore.servers import Reply
from opslore.store import Store

SURE = 0.75
"""Least confidence (geometric mean of the tokens' probabilities before the grammar) that is shown
as an answer; below it the model preferred other words to this command. The right answers of the
example's model lie between 0.83 and 1.00, those of an untrained one mostly below 0.1."""

_SAID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/@-]*")
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)


class Judged(Record):
    """What follows from a reply: the answer, or why a person is asked."""

    command: str
    """The command, or `escalate_to_human`."""
    escalate: bool
    why: str = ""
    """Why a person is asked."""
    alert: str = ""
    source: str = ""
    """Where the runbook says so: `agents/RUNBOOK.md:123@0123abcd4567`."""
    holes: list[str] = Field(default_factory=list)
    """Places that the reader fills in."""
    risk: str = ""
    findings: list[Finding] = Field(default_factory=list)
    confirm: bool = False
    """The runbook prescribes it and it destroys something: ask before it is run."""


class Answer(Judged):
    """What the model says, and what an on-call person needs to judge it."""

    question: str
    reply: str
    """What the model said, word for word."""
    confidence: float | None
    """Geometric mean of the tokens' probabilities, 0..1."""
    shown: list[str]
    """The entries that the prompt showed, best first, with their lines."""
    model: str
    released: bool
    seconds: float


@dataclass(frozen=True)
class Shipped:
    """The bundle that answers, and the name it goes by."""

    bundle: Bundle
    folder: Path
    name: str
    released: bool


def shipped(home: Store) -> Shipped:
    """The deployed release's bundle; without one the newest release's, else the newest bundle.

    Raises:
        MissingInput: there is none of them.
    """
    deployed = history(home).version
    release = next((card for card in home.cards(Release) if card.version == deployed), None)
    try:
        release = release or home.latest(Release)
    except MissingInput:
        bundle = home.latest(Bundle)
        return Shipped(bundle, home.path(bundle), f"bundle {bundle.id[:12]}", False)
    bundle = steps.parent(home, release, Bundle)
    return Shipped(bundle, home.path(bundle), release.version, True)


def ask(
    agent: Agent,
    question: str,
    labels: Mapping[str, str] | None = None,
    free: bool = False,
    server: str = "",
    url: str = "",
) -> Answer:
    """Ask the shipped model, and judge its reply.

    Args:
        agent: whose model.
        question: an alert, as it came.
        labels: alert labels; they are appended to the question as `namespace=payments`.
        free: let the model say anything, not only the catalogue's commands.
        server: where the model runs; empty is `evaluate.server`, `ollama` the deployed model.
        url: the Ollama; empty is the one that `deploy` names.

    Raises:
        DataError: the question is empty or does not fit the context.
        MissingInput: nothing was trained yet.
    """
    labels = labels or {}
    if not question.strip():
        raise DataError(
            "the question is empty", hint='ask as: opslore ask AGENT.yaml "KubePodCrashLooping"'
        )
    found = shipped(steps.store_of(agent))
    text = " ".join([question.strip(), *(f"{name}={value}" for name, value in labels.items())])
    _, name = deployed(agent)
    # Without a release there is no version in Ollama, and the error says how to get one there.
    model = f"{name}:{found.name if found.released else 'latest'}"
    with Asking(agent, found.folder, server=server, model=model, url=url) as asking:
        hits, reply = asking.ask(text, free)
    return Answer(
        question=text,
        reply=reply.text,
        confidence=_known(reply),
        shown=[f"{hit.entry.title} ({place(hit.entry)})" for hit in hits],
        model=f"{agent.name} {found.name}",
        released=found.released,
        seconds=round(reply.seconds, 3),
        **judged(reply, hits, text, labels).model_dump(),
    )


def judged(reply: Reply, hits: Sequence[Hit], text: str, labels: Mapping[str, str]) -> Judged:
    """What follows from a reply to a prompt that was made from these entries."""
    if not reply.stopped:
        return _person(f"the model's reply did not end: it was cut after {reply.tokens} tokens")
    stated = {**prompt.stated(text, hits), **labels}
    return judge(reply.text, _known(reply), prompt.shown(text, hits), text, stated)


def _known(reply: Reply) -> float | None:
    return None if math.isnan(reply.confidence) else reply.confidence


def judge(
    reply: str,
    confidence: float | None,
    hits: Sequence[Hit],
    question: str,
    labels: Mapping[str, str],
) -> Judged:
    """Whether a reply may be shown as the answer; if not, a person is asked, and this says why.

    Holes that the model has left open are filled where a label says what belongs there.
    """
    command = commands.fill(extract(reply), labels)
    if command == ESCALATE:
        return _person("the model knows no command of the runbook for this")
    entry, reason = _entry(command, hits, question, labels)
    if entry is None:
        return _person(reason)
    if confidence is None or confidence < SURE:
        said = "unknown" if confidence is None else f"{confidence:.2f}"
        return _person(f"the model is not sure: confidence {said}, at least {SURE} is asked")
    judged = commands.risk(command)
    return Judged(
        command=command,
        escalate=False,
        alert=entry.title,
        source=place(entry),
        holes=list(dict.fromkeys(hole.text for hole in commands.holes(command))),
        risk=judged.level,
        findings=judged.findings,
        confirm=judged.level in ("destructive", "denied"),
    )


def _person(why: str) -> Judged:
    return Judged(command=ESCALATE, escalate=True, why=why)


def _entry(
    command: str, hits: Sequence[Hit], question: str, labels: Mapping[str, str]
) -> tuple[Entry | None, str]:
    """The shown entry whose answer this is, or the reason why there is none."""
    reason = "the model's command is not the answer of any runbook entry it was shown"
    said = spoken(question)
    for hit in hits:
        if hit.entry.answer == ESCALATE:
            continue
        verdict = commands.equivalent(command, hit.entry.answer, labels, said)
        if verdict.equal:
            return hit.entry, ""
        if commands.template(command) == commands.template(hit.entry.answer):
            reason = f"the command for {hit.entry.title} was filled in wrongly: {verdict.reason}"
    return None, reason


def spoken(question: str) -> frozenset[str]:
    """Every word of a question that could be a name."""
    found = _SAID.findall(question)
    return frozenset(found) | frozenset(word.rstrip(".:,-/") for word in found)


def place(entry: Entry) -> str:
    """Where the runbook has an entry's answer: `file:line@commit`."""
    commit = f"@{entry.span.commit[:12]}" if entry.span.commit else ""
    return f"{entry.span.file}:{entry.line}{commit}"


def parse_labels(given: Sequence[str]) -> dict[str, str]:
    """`namespace=payments` as a dictionary.

    Raises:
        ConfigError: a label is not `name=value`.
    """
    out: dict[str, str] = {}
    for text in given:
        found = _LABEL.fullmatch(text.strip())
        if not found:
            raise ConfigError(
                f"--label {text!r}: not a label", hint="write it as --label namespace=payments"
            )
        out[found.group(1)] = found.group(2)
    return out
