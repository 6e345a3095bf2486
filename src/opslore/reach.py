"""Whether every place that names a release can be reached; asking changes nothing, runs no Job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from opslore.check import Check, failed
from opslore.config import Agent
from opslore.config_deploy import Folder
from opslore.errors import OpsloreError
from opslore.release import rollout
from opslore.release.importing import OllamaJob
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Target
from opslore.release.values import Values
from opslore.store import Store


def checks(agent: Agent, home: Store) -> Iterator[Check]:
    """A line for every deploy target, the registry and the store's own pointer."""
    for section in agent.deploy:
        if isinstance(section, Folder):
            yield _writable(Path(section.path))
    try:
        targets = rollout.targets(agent, home)
    except OpsloreError as error:
        yield failed("deploy targets", error)
        return
    for target in targets:
        if isinstance(target, OllamaJob) and home.bucket is None:
            yield Check(
                name=f"store {home.place}",
                state="fail",
                found=f"the Job of {target.name} cannot read a folder of this machine",
                mend="keep the store in a bucket: `store: s3://...` in the agent file",
            )
        try:
            found = _reached(target)
        except OpsloreError as error:
            yield failed(target.name, error)
        else:
            yield Check(name=target.name, state="ok", found=f"reached; {found}")


def _reached(target: Target) -> str:
    """What a place says of itself.

    Raises:
        OpsloreError: it does not answer, or something there would stop a deployment.
    """
    if isinstance(target, OllamaJob):
        target.check()
        return "a Job would be taken (server dry-run)"
    programs = []
    if isinstance(target, OllamaTarget):
        programs.append(f"Ollama {target.server()}")
    if isinstance(target, Values) and target.helm is not None:
        programs.append(f"helm {target.helm.version()}")
    named = "it names a release" if target.now() else "it names no release yet"
    return ", ".join([*programs, named])


def _writable(path: Path) -> Check:
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    usable = there.is_dir() and os.access(there, os.W_OK)
    return Check(
        name=f"deploy {path}",
        state="ok" if usable else "fail",
        found="can be written" if usable else f"cannot write to {there}",
        mend="" if usable else f"make {there} writable, or change deploy[].path",
    )
