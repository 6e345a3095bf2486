"""Ask the shipped model one question, and decide whether its answer may be shown.

The prompt is the one of training: the question with the entries the bundle's own index finds;
judging.py says what may be shown of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslore import steps
from opslore.asking import Asking, deployed
from opslore.cards import Bundle, Calibration, Evaluation, Release
from opslore.config import Agent
from opslore.errors import ConfigError, DataError, MissingInput
from opslore.judging import SURE, Judged, judge, judged, known, place, spoken
from opslore.release.current import history
from opslore.store import Store

__all__ = [
    "SURE",
    "Answer",
    "Judged",
    "Shipped",
    "ask",
    "judge",
    "judged",
    "parse_labels",
    "place",
    "shipped",
    "spoken",
]

_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)


class Answer(Judged):
    """What the model says, and what an on-call person needs to judge it."""

    question: str
    reply: str
    """What the model said, word for word."""
    confidence: float | None
    """Geometric mean of the tokens' probabilities, 0..1."""
    least: float | None = None
    """Least `probability` that is shown as an answer; None when the model was never evaluated."""
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


def calibration(home: Store, bundle: Bundle) -> Calibration | None:
    """How sure is sure enough of a bundle, by its newest evaluation; None without one."""
    cards = [c for c in home.cards(Evaluation) if bundle.id in c.parents and c.calibration]
    return max(cards, key=lambda card: card.created).calibration if cards else None


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
    sure = calibration(steps.store_of(agent), found.bundle)
    with Asking(agent, found.folder, server=server, model=model, url=url) as asking:
        hits, reply = asking.ask(text, free)
    return Answer(
        question=text,
        reply=reply.text,
        confidence=known(reply),
        least=None if sure is None else sure.threshold,
        shown=[f"{hit.entry.title} ({place(hit.entry)})" for hit in hits],
        model=f"{agent.name} {found.name}",
        released=found.released,
        seconds=round(reply.seconds, 3),
        **judged(reply, hits, text, labels, sure).model_dump(),
    )


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
