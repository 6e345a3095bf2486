"""What is where: every place that names a release, what it names, what it should, what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from opslore import steps
from opslore.cards import Record, Release
from opslore.config import Agent
from opslore.config_deploy import Ollama
from opslore.errors import MissingInput, OpsloreError
from opslore.release import jobs as importjobs
from opslore.release import registry, rollout
from opslore.release.champion import Champion
from opslore.release.cluster import Cluster
from opslore.release.current import Current, history
from opslore.release.importing import OllamaJob
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
    state: Literal["ok", "differs", "unreachable", "empty", "unknown"]
    mend: str = ""
    """The command that mends it."""
    as_of: str = ""
    """When it was so, ISO 8601; empty is now."""


class Job(Record):
    """One Job of the agent in a cluster, or a cluster that cannot be asked."""

    name: str
    version: str = ""
    state: Literal["running", "done", "failed", "deadline exceeded", "unreachable"]
    created: str = ""
    """ISO 8601, by the cluster's clock."""
    reason: str = ""
    mend: str = ""
    """The command that mends it."""


def places(agent: Agent, ask: bool = False) -> Iterator[Place]:
    """Every place in the order in which the pointers move; nothing is changed.

    Args:
        agent: the agent file.
        ask: run a Job for the pointer of an Ollama that only its cluster reaches; else it is what
            the last Job told.
    """
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
        if isinstance(target, OllamaJob) and not ask:
            yield _told(target, now.version)
        elif not isinstance(target, Current):
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


def jobs(agent: Agent) -> Iterator[Job]:
    """The import Jobs that clusters still have, the newest first; of others what is not done."""
    asked = []
    for section in agent.deploy:
        if not isinstance(section, Ollama) or section.via != "job":
            continue
        context, namespace = where = (section.job.context, section.job.namespace)
        if where in asked:
            continue
        asked.append(where)
        cluster = Cluster(context)
        try:
            for raw in reversed(importjobs.of_agent(cluster, namespace, agent.name)):
                found = importjobs.described(cluster, raw)
                if found.verb == "install" or found.state != "done":
                    yield _job(found, section)
        except OpsloreError as error:
            what = f"Jobs in {namespace}" + (f" of {context}" if context else "")
            why = error.message.partition("\n")[0]
            yield Job(name=what, state="unreachable", reason=why, mend=error.hint)


def _job(found: importjobs.ImportJob, section: Ollama) -> Job:
    mend = ""
    if found.state in ("failed", "deadline exceeded"):
        mend = "opslore deploy AGENT.yaml" + ("" if found.verb == "install" else " --again")
    if found.state == "deadline exceeded" and found.verb == "install":
        mend = f"raise job.deadline above {section.job.deadline}, then: {mend}"
    return Job(
        name=f"{found.namespace}/{found.name}",
        version=found.version,
        state=found.state,
        created=found.created,
        reason=found.reason,
        mend=mend,
    )


def _told(target: OllamaJob, version: str) -> Place:
    """A pointer as the last Job told it; only a Job could say what it is now."""
    ask = "opslore status AGENT.yaml --ask"
    try:
        known = target.known()
    except OpsloreError as error:
        return _unreachable(target.name, error)
    if known is None:
        told = "no Job has told yet"
        return Place(name=target.name, names=told, should="", state="unknown", mend=ask)
    missing = f"{target.model}:{version} is not installed there"
    should = known.versions.get(version, missing) if version else known.now
    return _compared(target.name, known.now, should, version, known.at)


def _place(target: Target, agent: str, version: str) -> Place:
    try:
        names = should = target.now()
        if version:
            should = target.aim(agent, version)
    except MissingInput as error:  # what is deployed was never there, or is gone
        should = error.message
    except OpsloreError as error:
        return _unreachable(target.name, error)
    return _compared(target.name, names, should, version)


def _compared(
    name: str, names: str | None, should: str | None, version: str, as_of: str = ""
) -> Place:
    equal = names == should
    return Place(
        name=name,
        names=names or "",
        should=should or "",
        state="empty" if not version else "ok" if equal else "differs",
        mend="" if equal else "opslore deploy AGENT.yaml --again",
        as_of=as_of,
    )


def _unreachable(name: str, error: OpsloreError) -> Place:
    return Place(
        name=name,
        names=error.message.partition("\n")[0],
        should="",
        state="unreachable",
        mend=error.hint,
    )


def ago(moment: str) -> str:
    """How long ago that was, such as `5 min ago`; another machine's clock may be a bit ahead."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return "at an unknown time"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def short(text: str) -> str:
    """A pointer's state that fits a table."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
