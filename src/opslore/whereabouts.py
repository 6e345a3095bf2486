"""What is where: every place that names a release, what it names, what it should, what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from opslore import steps
from opslore.cards import Record
from opslore.config import Agent
from opslore.errors import MissingInput, OpsloreError
from opslore.release import rollout
from opslore.release.current import Current, history
from opslore.release.targets import Target

LONGEST = 60
"""Characters of a pointer's state in a table; digests and JSON are longer."""


class Place(Record):
    """One place that names a release."""

    name: str
    names: str
    """What it names now; empty when it names nothing yet."""
    should: str
    """What it names when the deployed release is everywhere."""
    state: Literal["ok", "differs", "unreachable", "empty"]
    mend: str = ""
    """The command that mends it."""


def places(agent: Agent) -> Iterator[Place]:
    """Every place in the order in which the pointers move; nothing is changed."""
    home = steps.store_of(agent)
    try:
        now = history(home)
    except OpsloreError as error:
        yield _unreachable(f"store {home.place}", error)
        return
    yield Place(
        name=f"store {home.place}",
        names=now.version,
        should=now.version,
        state="ok" if now.version else "empty",
        mend="" if now.version else "opslore run AGENT.yaml",
    )
    for target in rollout.targets(agent, home):
        if not isinstance(target, Current):
            yield _place(target, agent.name, now.version)


def _place(target: Target, agent: str, version: str) -> Place:
    try:
        names = should = target.now()
        if version:
            should = target.aim(agent, version)
    except MissingInput as error:  # what is deployed was never there, or is gone
        should = error.message
    except OpsloreError as error:
        return _unreachable(target.name, error)
    equal = names == should
    return Place(
        name=target.name,
        names=names or "",
        should=should or "",
        state="empty" if not version else "ok" if equal else "differs",
        mend="" if equal else "opslore deploy AGENT.yaml --again",
    )


def _unreachable(name: str, error: OpsloreError) -> Place:
    return Place(
        name=name,
        names=error.message.partition("\n")[0],
        should="",
        state="unreachable",
        mend=error.hint,
    )


def short(text: str) -> str:
    """A pointer's state that fits a table."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
