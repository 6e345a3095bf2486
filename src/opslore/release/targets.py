"""What a deploy target is: first everything is staged, then every pointer moves, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opslore import progress
from opslore.errors import OpsloreError


@dataclass(frozen=True)
class Staged:
    """A release on its way: verified, unpacked, not yet seen by anybody."""

    agent: str
    version: str
    """`v{YYYYMMDD}-{8 hex}`."""
    files: Path
    """Folder with model.gguf, Modelfile, catalogue.json, index.jsonl and settings.json."""
    uri: str
    """Where the archive lies for somebody else: `s3://...`, or a path on this machine."""
    sha256: str
    """SHA-256 of the archive."""
    signer: str = ""
    """The trusted public key that signed it, PEM; empty where nobody verified it."""


class Target(Protocol):
    """A place that a release goes to, with one pointer that its readers follow.

    Staging changes nothing that a reader sees and may be repeated. A pointer's state is opaque
    text, so that what was there before opslore came can be put back letter by letter.
    """

    @property
    def name(self) -> str:
        """What people call it in a message, such as `Ollama http://127.0.0.1:11434 sre:latest`."""

    def stage(self, release: Staged) -> None:
        """Bring the release there and verify it; refuse now whatever could be refused later."""

    def aim(self, agent: str, version: str) -> str:
        """The pointer's state when it names this version."""

    def now(self) -> str | None:
        """The pointer's state now, None when there is no pointer yet."""

    def move(self, state: str | None) -> None:
        """Move the pointer in one step that readers see whole; None takes a new one away."""


def switch(targets: Sequence[Target], agent: str, version: str) -> list[str]:
    """Move every pointer to a version, last and together; returns the names of those that moved.

    If one refuses, those before it are put back where they were, then its error is raised.

    Raises:
        OpsloreError: what the refusing target said; if a pointer could not be put back, its name
            and state are in the message.
    """
    states = [(target, target.now(), target.aim(agent, version)) for target in targets]
    moved: list[tuple[Target, str | None]] = []
    try:
        for number, (target, before, after) in enumerate(states):
            progress.report("switch", number, len(states), target.name)
            if before != after:
                moved.append((target, before))
                target.move(after)
    except BaseException as error:
        _put_back(moved, error)
        raise
    progress.report("switch", len(states), len(states), version)
    return [target.name for target, _ in moved]


def _put_back(moved: Sequence[tuple[Target, str | None]], cause: BaseException) -> None:
    stuck = []
    for target, before in reversed(moved):
        try:
            if target.now() != before:
                target.move(before)
        except (OpsloreError, OSError) as error:  # one that is stuck does not keep the others
            stuck.append(f"{target.name} could not be put back to {before}: {error}")
    if stuck:
        raise OpsloreError(
            "\n".join([str(cause), *stuck]),
            hint="run `opslore status AGENT.yaml`: it shows where every pointer is",
        ) from cause
