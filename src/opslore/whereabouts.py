"""What is where: every place that names a release, what it names, what it should, what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from opslore import steps
from opslore.cards import Record, Release
from opslore.config import Agent
from opslore.errors import MissingInput, OpsloreError
from opslore.release import registry, rollout
from opslore.release.champion import Champion
from opslore.release.current import Current, history
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Target
from opslore.store import Store

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
        if (beside := _beside(agent, home, target)) is not None:
            yield beside


def _beside(agent: Agent, home: Store, target: Target) -> Place | None:
    """What else a place has: the registry its candidate, Ollama the versions installed there."""
    try:
        if isinstance(target, Champion):
            newest = home.latest(Release).version
            uri = agent.publish.registry
            names = registry.pointed(uri, agent.name, registry.CANDIDATE) or ""
            title = target.name.replace(f"@{registry.CHAMPION}", f"@{registry.CANDIDATE}")
            mend = "" if names == newest else "opslore publish AGENT.yaml"
            state = "differs" if mend else "ok"
            return Place(name=title, names=names, should=newest, state=state, mend=mend)
        if isinstance(target, OllamaTarget):
            there = ", ".join(target.versions())
            title = target.name.replace(":latest", ":v*")
            return Place(name=title, names=there, should=there, state="ok" if there else "empty")
    except OpsloreError:
        return None  # the row of the pointer says why already, or nothing was released yet
    return None


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
