"""What people and machines write when something breaks: one alert in many forms.

The templates, label values, synonyms, unknown technologies and chatter are data files beside this
module, each with a train and a test side that share nothing.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from opslore import commands
from opslore.cards import ESCALATE
from opslore.dataset import wording
from opslore.dataset.wording import Side, data, pick
from opslore.index import Entry

WEBHOOK = "webhook"
"""The one format that is written by code: Alertmanager's JSON."""


REWORDED = 0.8
"""Share of the questions without a name that say their symptom in other words, as people do."""


@dataclass(frozen=True)
class Question:
    """A phrased question, and the alert labels that can be read in it."""

    text: str
    family: str
    """Format and template, such as `chat/test-3`."""
    labels: dict[str, str] = field(default_factory=dict)


def formats() -> list[str]:
    """Every format, in a fixed order."""
    return [*sorted(data("templates")), WEBHOOK]


def order(name: str, seed: int) -> list[str]:
    """Every format, turned to another start for each name: few phrasings still reach them all."""
    from opslore.dataset.split import share

    kinds = formats()
    start = int(share(f"{name}/formats", seed) * len(kinds))
    return [*kinds[start:], *kinds[:start]]


def names_alert(kind: str) -> bool:
    """Whether prompts of this format carry the alert's name."""
    return kind == WEBHOOK or bool(data("templates")[kind]["names_alert"])


def phrase(
    entry: Entry,
    kind: str,
    side: Side,
    number: int,
    rng: random.Random,
    tells: wording.Tells | None = None,
) -> Question:
    """Write one question about an alert.

    Args:
        entry: the alert.
        kind: a format.
        side: which templates and label values may be used.
        number: picks the template (modulo how many there are).
        rng: every other choice.
        tells: how well a text tells this alert from the others. A question quotes the part of the
            symptoms that does it best: "this is a critical alert" asks nothing.
    """
    labels = _labels(entry, side, rng)
    if not names_alert(kind):
        labels.pop("alertname", None)
    if kind == WEBHOOK:
        text = _webhook(entry, labels, side, number, rng)
        return Question(text, f"{WEBHOOK}/{side}-{number % 3}", labels)
    templates = data("templates")[kind][side]
    template = templates[number % len(templates)]
    if "{where}" in template and rng.random() < 0.25:
        labels = {}
    if "{where}" not in template and "{labels}" not in template:
        labels = {}
    text = _fill(template, entry, labels, side, rng, tells)
    if kind == "noisy":
        text = wording.noise(text, list(labels.values()), rng)
    return Question(text, f"{kind}/{side}-{number % len(templates)}", labels)


def _fill(
    template: str,
    entry: Entry,
    labels: dict[str, str],
    side: Side,
    rng: random.Random,
    tells: wording.Tells | None,
) -> str:
    sentences = wording.sentences(entry.symptoms) or [wording.spaced(entry.title)]
    if tells is not None:
        most = max(map(tells, sentences))
        sentences = [text for text in sentences if tells(text) == most]
    symptom = pick(sentences, rng)
    if "{title}" not in template:
        symptom = wording.hide_name(symptom, entry.title)
    reworded = "{title}" not in template and rng.random() < REWORDED

    def said(text: str) -> str:
        return wording.reword(text, side, rng) if reworded else text

    # Cut first, then say it in other words: what a part tells is known by the runbook's words.
    cut = symptom
    for name, part in (("{partial}", wording.fragment), ("{keywords}", wording.keywords)):
        if name in template:
            cut = wording.drawn(partial(part, symptom, rng), tells)
    quote = said(cut)
    short = said(wording.short(entry.title)) if "{short}" in template else ""
    text = template.format(
        title=entry.title,
        symptom=quote,
        partial=quote,
        keywords=quote,
        short=short,
        labels=" ".join(f"{k}={v}" for k, v in labels.items()),
        where=_where(labels, side, rng),
        severity=entry.severity or "warning",
        time=f"{rng.randrange(24):02d}:{rng.randrange(60):02d}",
    )
    return re.sub(r"[ \t]+", " ", text).strip()


def _labels(entry: Entry, side: Side, rng: random.Random) -> dict[str, str]:
    """Values for every hole of the answer, and a label or two that it does not need."""
    out: dict[str, str] = {}
    if entry.answer != ESCALATE:
        for hole in commands.holes(entry.answer):
            # Alertmanager's own label: every other value would contradict the question.
            own = entry.title if hole.kind == "alertname" else value(hole.kind, side, rng)
            out.setdefault(hole.kind, own)
    for extra in rng.sample(["namespace", "instance", "cluster", "pod", "job_name"], 2):
        if extra not in out and rng.random() < 0.35:
            out[extra] = value(extra, side, rng)
    # A label that fills no hole must not change the answer: keep only those that agree with it.
    needed = {k for h in commands.holes(entry.answer) for k in h.kinds}
    kinds = {h.kind for h in commands.holes(entry.answer)}
    return {k: v for k, v in out.items() if k in kinds or k not in needed}


def value(kind: str, side: Side, rng: random.Random) -> str:
    """A label value that looks real; train and test values are disjoint."""
    pool = data("values")[side].get(kind)
    if pool:
        return str(pick(pool, rng))
    stem = kind.split(".")[0].replace("_", "-")
    number = rng.randrange(10, 50) if side == "train" else rng.randrange(50, 99)
    return f"{stem}-{number}"


def _where(labels: dict[str, str], side: Side, rng: random.Random) -> str:
    if not labels:
        return ""
    plain = ("{k} {v}", "{k} {v}", "the {v} {k}", "{v} ({k})")
    # What is said in plain words is what a program may leave to the model: it practises that more.
    shapes = plain if side == "train" and rng.random() < 0.8 else (*plain, "{k}={v}", "{k}: {v}")
    parts = []
    for name, value in labels.items():
        shape = str(pick(shapes, rng))
        # A label written as a label keeps its name; in plain words it is said as people say it.
        said = name if "{k}=" in shape or "{k}:" in shape else name.replace("_", " ")
        parts.append(shape.format(k=said, v=value))
    return f" {pick(['in', 'on', 'for', 'at'], rng)} {', '.join(parts)}"


def _webhook(
    entry: Entry, labels: dict[str, str], side: Side, number: int, rng: random.Random
) -> str:
    tags = {"alertname": entry.title, "severity": entry.severity or "warning", **labels}
    summary = pick(wording.sentences(entry.symptoms) or [wording.spaced(entry.title)], rng)
    shapes: dict[Side, list[dict[str, Any]]] = {
        "train": [
            {"status": "firing", "labels": tags, "annotations": {"summary": summary}},
            {"receiver": "oncall", "alerts": [{"status": "firing", "labels": tags}]},
            {"commonLabels": tags, "commonAnnotations": {"description": summary}},
        ],
        "test": [
            {"version": "4", "alerts": [{"labels": tags, "annotations": {"summary": summary}}]},
            {"alert": {"annotations": {"message": summary}, "labels": tags}, "state": "active"},
            {"groupLabels": {"alertname": entry.title}, "commonLabels": tags, "truncatedAlerts": 0},
        ],
    }
    return json.dumps(shapes[side][number % 3])


def unknown(side: Side, index_text: str, rng: random.Random) -> tuple[Entry, str] | None:
    """An alert of a technology the runbook does not know, or None if it knows them all.

    Args:
        side: technologies are split by the hash of their name.
        index_text: the runbook's text in lower case; a technology named in it is not unknown.
        rng: picks one.
    """
    from opslore.dataset.split import share

    table = data("foreign")
    mine = [
        name
        for name in sorted(table)
        if (share(name, 7) < 0.5) == (side == "test") and not _mentioned(name, index_text)
    ]
    if not mine:
        return None
    name = pick(mine, rng)
    chosen = pick(table[name], rng)
    return _foreign_entry(name, chosen), name


def _mentioned(name: str, text: str) -> bool:
    return any(len(w) > 3 and w in text for w in re.findall(r"\w+", name.lower()))


def _foreign_entry(technology: str, alert: dict[str, Any]) -> Entry:
    from opslore.cards import Span

    return Entry(
        id=f"unknown:{alert['title']}",
        title=alert["title"],
        section=technology,
        severity="critical",
        symptoms="\n".join(alert["symptoms"]),
        answer=ESCALATE,
        commands=[],
        span=Span(file="(no runbook)", first=0, last=0),
        line=0,
    )
