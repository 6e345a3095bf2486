"""What people and machines write when something breaks: one alert in many forms.

The templates, label values, synonyms, unknown technologies and chatter are data files beside this
module, each with a train and a test side that share nothing.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from opslore import commands
from opslore.cards import ESCALATE
from opslore.index import Entry

Side = Literal["train", "test"]

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


@cache
def data(name: str) -> Any:
    """A data file of this room."""
    return json.loads((files("opslore.dataset") / "data" / f"{name}.json").read_text("utf-8"))


def formats() -> list[str]:
    """Every format, in a fixed order."""
    return [*sorted(data("templates")), WEBHOOK]


def names_alert(kind: str) -> bool:
    """Whether prompts of this format carry the alert's name."""
    return kind == WEBHOOK or bool(data("templates")[kind]["names_alert"])


def phrase(entry: Entry, kind: str, side: Side, number: int, rng: random.Random) -> Question:
    """Write one question about an alert.

    Args:
        entry: the alert.
        kind: a format.
        side: which templates and label values may be used.
        number: picks the template (modulo how many there are).
        rng: every other choice.
    """
    labels = _labels(entry, side, rng)
    if kind == WEBHOOK:
        text = _webhook(entry, labels, side, number, rng)
        return Question(text, f"{WEBHOOK}/{side}-{number % 3}", labels)
    templates = data("templates")[kind][side]
    template = templates[number % len(templates)]
    if "{where}" in template and rng.random() < 0.25:
        labels = {}
    if "{where}" not in template and "{labels}" not in template:
        labels = {}
    text = _fill(template, entry, labels, side, rng)
    if kind == "noisy":
        text = _noise(text, list(labels.values()), rng)
    return Question(text, f"{kind}/{side}-{number % len(templates)}", labels)


def _fill(
    template: str, entry: Entry, labels: dict[str, str], side: Side, rng: random.Random
) -> str:
    symptom = _pick(_sentences(entry.symptoms) or [_spaced(entry.title)], rng)
    if "{title}" not in template and rng.random() < REWORDED:
        symptom = _reword(symptom, side, rng)
    symptom = _hide_name(symptom, entry.title) if "{title}" not in template else symptom
    text = template.format(
        title=entry.title,
        symptom=symptom,
        partial=_fragment(symptom, rng),
        keywords=_keywords(symptom, rng),
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
            out.setdefault(hole.kind, value(hole.kind, side, rng))
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
        return str(_pick(pool, rng))
    stem = kind.split(".")[0].replace("_", "-")
    number = rng.randrange(10, 50) if side == "train" else rng.randrange(50, 99)
    return f"{stem}-{number}"


def _where(labels: dict[str, str], side: Side, rng: random.Random) -> str:
    if not labels:
        return ""
    plain = ("{k} {v}", "{k} {v}", "the {v} {k}", "{v} ({k})")
    # Written labels are filled before the model reads them: training practises the plain words.
    shapes = plain if side == "train" and rng.random() < 0.8 else (*plain, "{k}={v}", "{k}: {v}")
    words = []
    for name, value in labels.items():
        shape = str(_pick(shapes, rng))
        # A label written as a label keeps its name; in plain words it is said as people say it.
        said = name if "{k}=" in shape or "{k}:" in shape else name.replace("_", " ")
        words.append(shape.format(k=said, v=value))
    return f" {_pick(['in', 'on', 'for', 'at'], rng)} {', '.join(words)}"


def _webhook(
    entry: Entry, labels: dict[str, str], side: Side, number: int, rng: random.Random
) -> str:
    tags = {"alertname": entry.title, "severity": entry.severity or "warning", **labels}
    summary = _pick(_sentences(entry.symptoms) or [_spaced(entry.title)], rng)
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


def _sentences(symptoms: str) -> list[str]:
    """The symptoms as sentences of 15 to 220 characters."""
    out = []
    for line in symptoms.splitlines():
        for part in re.split(r"(?<=[.!?])\s+(?=[A-Z`])", line.strip()):
            text = part.strip(" -*")
            if len(text) > 220:
                text = text[:220].rsplit(" ", 1)[0]
            if len(text) >= 15:
                out.append(text)
    return out


def _hide_name(text: str, title: str) -> str:
    return re.sub(re.escape(title), "this alert", text, flags=re.IGNORECASE)


def _spaced(title: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", title).lower()


def _reword(text: str, side: Side, rng: random.Random) -> str:
    """Say up to four phrases in other words."""
    table: dict[str, list[str]] = data("synonyms")[side]
    found = [k for k in table if re.search(rf"\b{re.escape(k)}\b", text, re.IGNORECASE)]
    for key in sorted(rng.sample(found, min(4, len(found))), key=len, reverse=True):
        other = _pick(table[key], rng)
        literal = str(other).replace("\\", "\\\\")
        text = re.sub(rf"\b{re.escape(key)}\b", literal, text, flags=re.IGNORECASE)
    return text


def _fragment(text: str, rng: random.Random) -> str:
    words = text.rstrip(".").split()
    length = rng.randrange(5, 10)
    start = rng.randrange(max(1, len(words) - length + 1))
    return " ".join(words[start : start + length]).strip(",;:. ")


def _keywords(text: str, rng: random.Random) -> str:
    """Four to six words of a text, without those nobody types into a search box."""
    words = [w.strip("`'\",;:.()") for w in text.split()]
    common = frozenset(data("common"))
    good = list(dict.fromkeys(w for w in words if len(w) > 2 and w.lower() not in common))
    if not good:
        return text
    count = min(len(good), rng.randrange(4, 7))
    chosen = set(rng.sample(range(len(good)), count))
    return " ".join(w for i, w in enumerate(good) if i in chosen)


def _noise(text: str, keep: list[str], rng: random.Random) -> str:
    """Lower case and a typo in every eighth word or so; label values stay as they are."""
    out = []
    for word in text.split(" "):
        bare = word.strip(",.;:?!")
        if any(v in word for v in keep):
            out.append(word)
            continue
        word = word.lower()
        if len(bare) > 4 and bare.isalpha() and rng.random() < 0.12:
            i = rng.randrange(1, len(word) - 2)
            word = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        out.append(word)
    return " ".join(out)


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
    name = _pick(mine, rng)
    chosen = _pick(table[name], rng)
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


def _pick(items: Any, rng: random.Random) -> Any:
    return items[rng.randrange(len(items))]
