"""Bring a release to every place that names one, and back: stage all, then move every pointer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opslore import config_deploy, progress
from opslore.config import Agent
from opslore.errors import GateFailed, IntegrityError, MissingInput
from opslore.release import archive, counter, issue, signing
from opslore.release.current import Current, history
from opslore.release.targets import Staged, Target, switch
from opslore.store import Store


def targets(agent: Agent, home: Store, back: bool = False) -> list[Target]:
    """Everything that names a release of this agent, in the order in which the pointers move.

    The agent file's targets first, then the registry's champion, the store's own pointer last.
    """
    return [*(target(agent, section, home) for section in agent.deploy), *_own(agent, home, back)]


def _own(agent: Agent, home: Store, back: bool) -> list[Target]:
    from opslore.release.champion import Champion

    return [Champion(agent.publish.registry, agent.name), Current(home, back)]


def target(agent: Agent, section: config_deploy.Target, home: Store) -> Target:
    """The program behind one entry of the `deploy` section."""
    model = model_name(agent)
    if isinstance(section, config_deploy.Folder):
        from opslore.release.foldertarget import FolderTarget

        return FolderTarget(Path(section.path))
    if isinstance(section, config_deploy.Values):
        from opslore.release.values import Values

        return Values(section, model)
    if isinstance(section, config_deploy.Resource):
        from opslore.release.resource import ResourceFile, ResourceObject

        kind = ResourceFile if section.file else ResourceObject
        return kind(section, agent.name, model)
    if section.via == "job":
        from opslore.release.importing import OllamaJob

        return OllamaJob(section, agent.name, home)
    from opslore.release.ollama import OllamaTarget

    return OllamaTarget(section, agent.name)


def model_name(agent: Agent) -> str:
    """The model's name in Ollama: what the first Ollama target calls it, else the agent's name."""
    named = (s.model for s in agent.deploy if isinstance(s, config_deploy.Ollama) and s.model)
    return next(named, agent.name)


def put(agent: Agent, home: Store, version: str, again: bool = False) -> list[str]:
    """Deploy a release; returns the names of the pointers that moved.

    A release that is there already is checked, and nothing is written.

    Args:
        agent: the agent file.
        home: the agent's store.
        version: the release.
        again: stage and verify everything anew, also a release that was rolled back before.

    Raises:
        GateFailed: the release was rolled back.
        IntegrityError: it is not what was signed, or older than what is deployed.
        ServerError: a target refused; every pointer is where it was.
    """
    if version in history(home).withdrawn and not again:
        raise GateFailed(
            [f"{version} was rolled back, so it is not deployed again by itself"],
            hint="to deploy it all the same: opslore deploy AGENT.yaml --again",
        )
    places = targets(agent, home)
    if not again and all(_names(place, agent.name, version) for place in places):
        return []
    return _bring(agent, home, version, places, back=again)


def _names(place: Target, agent: str, version: str) -> bool:
    """Whether a place names a version already; one that was never staged there, it does not."""
    try:
        return place.now() == place.aim(agent, version)
    except MissingInput:
        return False


def back(agent: Agent, home: Store, version: str = "") -> list[str]:
    """Return every pointer to the release before, or to an older one that is named.

    Raises:
        MissingInput: there is no such release to go back to.
    """
    then = history(home)
    if not then.before:
        now = then.version or "nothing"
        raise MissingInput(
            f"{agent.name}: {now} is deployed, and nothing was before it",
            hint="`opslore status AGENT.yaml` shows what is where",
        )
    wanted = version or then.before[0]
    if wanted not in then.before:
        raise MissingInput(
            f"{wanted} was not deployed before {then.version}; there are {', '.join(then.before)}",
            hint=f"opslore rollback AGENT.yaml --to {then.before[0]}",
        )
    return _bring(agent, home, wanted, targets(agent, home, back=True), back=True)


def _bring(
    agent: Agent, home: Store, version: str, places: Sequence[Target], back: bool
) -> list[str]:
    with staged(agent, home, version, back) as release:
        for number, place in enumerate(places):
            progress.report("stage", number, len(places), place.name)
            place.stage(release)
        # What was verified before the staging may have been changed while it took its time.
        signing.verify(issue.folder(home, version), agent, version)
        return switch(places, agent.name, version)


@contextmanager
def staged(agent: Agent, home: Store, version: str, back: bool = False) -> Iterator[Staged]:
    """A release fetched, verified and unpacked, as long as the block runs; one at a time.

    Raises:
        IntegrityError: it is not what was signed, or older than what is deployed.
    """
    folder = issue.fetched(home, version)
    try:
        verified = signing.verify(folder, agent, version)
    except IntegrityError as error:
        if home.bucket is not None and folder.is_dir():
            aside = signing.quarantine(folder, error.message)
            error.add_note(f"the copy was moved to {aside}")
        raise
    with (
        counter.accepted(counter.place(agent), verified, back),
        tempfile.TemporaryDirectory() as room,
    ):
        files = Path(room) / "files"
        archive.unpack(folder / issue.MODEL, files)
        yield Staged(
            agent=agent.name,
            version=version,
            files=files,
            uri=home.uri(issue.key(home, version, issue.MODEL)),
            sha256=verified.files[issue.MODEL],
            signer=verified.pem,
        )
