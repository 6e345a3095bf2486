"""The store's own pointer: which release is deployed, which were before it, which were taken back.

It moves last of all pointers and is one small text, so that a reader sees the old or the new one.
"""

from __future__ import annotations

from pydantic import Field, ValidationError

from opslore.cards import Record
from opslore.errors import IntegrityError
from opslore.release.targets import Staged
from opslore.store import Store

POINTER = "current"


class History(Record):
    """What the pointer holds."""

    version: str = ""
    """The release that is deployed, empty before the first."""
    before: list[str] = Field(default_factory=list)
    """What `rollback` goes back to, the newest first."""
    withdrawn: list[str] = Field(default_factory=list)
    """Releases that were rolled back: they are deployed again only when asked for by name."""

    def to(self, version: str) -> History:
        """After a deployment."""
        if version == self.version:
            return self
        before = [v for v in (self.version, *self.before) if v and v != version]
        return History(
            version=version,
            before=before,
            withdrawn=[v for v in self.withdrawn if v != version],
        )

    def back(self, version: str) -> History:
        """After a rollback to one of `before`."""
        place = self.before.index(version)
        gone = [self.version, *self.before[:place]]
        return History(
            version=version,
            before=self.before[place + 1 :],
            withdrawn=[*self.withdrawn, *(v for v in gone if v not in self.withdrawn)],
        )


def history(home: Store) -> History:
    """What is deployed, and what was.

    Raises:
        IntegrityError: the pointer is no such text.
    """
    return _parsed(home, home.pointer(POINTER))


def _parsed(home: Store, text: str | None) -> History:
    if text is None:
        return History()
    try:
        return History.model_validate_json(text)
    except ValidationError as error:
        raise IntegrityError(
            f"{_uri(home)}: not a deployment pointer: {error.errors()[0]['msg']}",
            hint="put back the version in it, or move it away and run `opslore deploy AGENT.yaml`",
        ) from error


def _uri(home: Store) -> str:
    return home.uri(f"{home.agent}/{POINTER}")


class Current:
    """The pointer as a deploy target."""

    def __init__(self, home: Store, back: bool = False) -> None:
        """With `back` it aims at an older release, and remembers that the newer was taken back."""
        self.home = home
        self.back = back
        self._seen: str | None = None

    @property
    def name(self) -> str:
        """The pointer's place."""
        return f"store {_uri(self.home)}"

    def stage(self, release: Staged) -> None:
        """Nothing: the release lies in the store already."""

    def aim(self, agent: str, version: str) -> str:
        """The pointer's text after the move."""
        now = history(self.home)
        return (now.back(version) if self.back else now.to(version)).model_dump_json()

    def now(self) -> str | None:
        """The pointer's text, remembered for the move: nobody else may have moved it between."""
        self._seen = self.home.pointer(POINTER)
        return self._seen

    def move(self, state: str | None) -> None:
        """Write the pointer if it is still what was read."""
        self.home.point(POINTER, state, self._seen)
        self._seen = state
