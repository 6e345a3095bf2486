"""Whether a model's reply may be shown as the answer; if not, a person is asked.

What comes back is shown only when it is the command of an entry that the prompt showed, with no
name in it that nobody said, and when answers like it are right often enough. All else goes to a
person. Evaluation judges the replies by the same function as `opslore ask`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from opslore import commands, prompt
from opslore.calibrated import probability
from opslore.cards import ESCALATE, Calibration, Finding, Record
from opslore.evaluation.scorers import extract
from opslore.index import Entry, Hit
from opslore.servers import Reply

SURE = 0.75
"""Least confidence (geometric mean of the tokens' probabilities before the grammar) that a bundle
which was never evaluated shows as an answer; below it the model preferred other words to this
command. An evaluated one has a threshold of its own, on the calibrated probability."""

_SAID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/@-]*")


class Judged(Record):
    """What follows from a reply: the answer, or why a person is asked."""

    command: str
    """The command, or `escalate_to_human`."""
    escalate: bool
    why: str = ""
    """Why a person is asked."""
    probability: float | None = None
    """How often an answer like this was right on validation questions; None when unknown."""
    alert: str = ""
    source: str = ""
    """Where the runbook says so: `agents/RUNBOOK.md:123@0123abcd4567`."""
    holes: list[str] = Field(default_factory=list)
    """Places that the reader fills in."""
    risk: str = ""
    findings: list[Finding] = Field(default_factory=list)
    confirm: bool = False
    """The runbook prescribes it and it destroys something: ask before it is run."""


def judged(
    reply: Reply,
    hits: Sequence[Hit],
    text: str,
    labels: Mapping[str, str],
    calibration: Calibration | None = None,
) -> Judged:
    """What follows from a reply to a prompt that was made from these entries."""
    if not reply.stopped:
        return _person(f"the model's reply did not end: it was cut after {reply.tokens} tokens")
    stated = {**prompt.stated(text, hits), **labels}
    found = signals(reply, hits, text)
    chance = probability(calibration, found) if calibration is not None else None
    shown = prompt.shown(text, hits)
    return judge(reply.text, known(reply), shown, text, stated, calibration, chance)


def signals(reply: Reply, hits: Sequence[Hit], text: str) -> dict[str, float]:
    """What tells how sure a reply is, by the names of `calibrated.SIGNALS`; nan is unknown."""
    near = [hit.cosine for hit in hits if math.isfinite(hit.cosine)]
    return {
        "margin": reply.margin,
        "confidence": reply.confidence,
        "fit": prompt.sureness(text, hits),
        "cosine": max(near, default=math.nan),
    }


def known(reply: Reply) -> float | None:
    """A reply's confidence; None when nobody knows."""
    return None if math.isnan(reply.confidence) else reply.confidence


def judge(
    reply: str,
    confidence: float | None,
    hits: Sequence[Hit],
    question: str,
    labels: Mapping[str, str],
    calibration: Calibration | None = None,
    chance: float | None = None,
) -> Judged:
    """Whether a reply may be shown as the answer; if not, a person is asked, and this says why.

    Holes that the model has left open are filled where a label says what belongs there.

    Args:
        reply: what the model said.
        confidence: of its words, 0..1; None when nobody knows.
        hits: the entries that the prompt showed.
        question: with its labels.
        labels: what is known of the alert.
        calibration: how sure is sure enough; None for a bundle that was never evaluated.
        chance: the calibrated probability that the answer is right; None when a signal is missing.
    """
    command, entry, reason = candidate(reply, hits, question, labels)
    if entry is None:
        return _person(reason)
    if unsure := _unsure(confidence, calibration, chance):
        return _person(unsure, chance)
    risk = commands.risk(command)
    destroys = risk.level in ("destructive", "denied")
    if destroys and (other := _rival(entry, hits, question)):
        return _person(f"{command.split()[0]} would destroy something, and {other}", chance)
    return Judged(
        command=command,
        escalate=False,
        probability=chance,
        alert=entry.title,
        source=place(entry),
        holes=list(dict.fromkeys(hole.text for hole in commands.holes(command))),
        risk=risk.level,
        findings=risk.findings,
        confirm=destroys,
    )


def _rival(entry: Entry, hits: Sequence[Hit], question: str) -> str:
    """Why another alert could be meant as well as this one; empty when none is.

    A confirmation is no protection from a question that was written to be confirmed.
    """
    asked = question.lower()
    others = [hit.entry.title for hit in hits if hit.entry.title.lower() != entry.title.lower()]
    if named := next((title for title in others if title.lower() in asked), ""):
        return f"the question names {named} too"
    if hits[0].entry.title.lower() != entry.title.lower():
        return f"{hits[0].entry.title} fits the question better"
    return ""


def _unsure(confidence: float | None, calibration: Calibration | None, chance: float | None) -> str:
    """Why the model is not sure enough; empty when it is."""
    if calibration is not None and chance is not None:
        least = calibration.threshold
        if chance >= least:
            return ""
        return (
            f"answers like this are right {chance:.0%} of the time, at least {least:.0%} is asked"
        )
    if confidence is not None and confidence >= SURE:
        return ""
    said = "unknown" if confidence is None else f"{confidence:.2f}"
    return f"the model is not sure: confidence {said}, at least {SURE} is asked"


def _person(why: str, chance: float | None = None) -> Judged:
    return Judged(command=ESCALATE, escalate=True, why=why, probability=chance)


def candidate(
    reply: str, hits: Sequence[Hit], question: str, labels: Mapping[str, str]
) -> tuple[str, Entry | None, str]:
    """A reply's command, the shown entry whose answer it is, or the reason why there is none.

    How sure the model was plays no part yet.
    """
    command = commands.fill(extract(reply), labels)
    if command == ESCALATE:
        return command, None, "the model knows no command of the runbook for this"
    reason = "the model's command is not the answer of any runbook entry it was shown"
    said = spoken(question)
    for hit in hits:
        if hit.entry.answer == ESCALATE:
            continue
        verdict = commands.equivalent(command, hit.entry.answer, labels, said)
        if verdict.equal:
            return command, hit.entry, ""
        if commands.template(command) == commands.template(hit.entry.answer):
            reason = f"the command for {hit.entry.title} was filled in wrongly: {verdict.reason}"
    return command, None, reason


def spoken(question: str) -> frozenset[str]:
    """Every word of a question that could be a name."""
    found = _SAID.findall(question)
    return frozenset(found) | frozenset(word.rstrip(".:,-/") for word in found)


def place(entry: Entry) -> str:
    """Where the runbook has an entry's answer: `file:line@commit`."""
    commit = f"@{entry.span.commit[:12]}" if entry.span.commit else ""
    return f"{entry.span.file}:{entry.line}{commit}"
