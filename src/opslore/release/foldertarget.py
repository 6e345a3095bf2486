"""A folder as a deploy target: `target/current` is the pointer its readers follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opslore.release import folder
from opslore.release.targets import Staged


@dataclass(frozen=True)
class FolderTarget:
    """A folder with every version beside the others; nothing in it is ever deleted."""

    path: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return f"folder {self.path}"

    def stage(self, release: Staged) -> None:
        """Copy the release beside the others and compare it byte for byte."""
        folder.stage(release.files, self.path, release.version)

    def aim(self, agent: str, version: str) -> str:
        """The link's text when it names this version; the agent has no part in it."""
        return folder.aim(version)

    def now(self) -> str | None:
        """The link's text now, None when there is no link."""
        return folder.now(self.path)

    def move(self, state: str | None) -> None:
        """Rename a new link over the old one."""
        folder.move(self.path, state)
