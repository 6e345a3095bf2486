"""Numbers that only grow: which release of an agent is newer, without asking any clock.

The publisher gives every version its number; it stands in release.json, under the signature. Who
deploys remembers the greatest number it has deployed, and refuses a smaller one: an older signed
release that somebody has put in the place of a newer one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

from pydantic import Field, ValidationError

from opslore.cards import Record
from opslore.config import Agent
from opslore.errors import IntegrityError, ServerError
from opslore.files import alone, write
from opslore.release.signing import Verified

R = TypeVar("R", bound=Record)

RACES = 16
"""Times that another publisher may be faster before we give up."""

Number = Annotated[int, Field(ge=1)]


class Numbers(Record):
    """Every number an agent's versions were given; the pointer `counter` of its store."""

    versions: dict[str, Number] = Field(default_factory=dict)

    @property
    def last(self) -> int:
        """The greatest number given so far; 0 when there is none."""
        return max(self.versions.values(), default=0)

    def given(self, version: str) -> Numbers:
        """These numbers and one for the version; the same object if it has one already."""
        if version in self.versions:
            return self
        return Numbers(versions={**self.versions, version: self.last + 1})


class Deployed(Record):
    """What was deployed from this machine."""

    agent: str
    newest: Number
    """Greatest number ever deployed; going back does not lower it."""
    newest_version: str
    current: Number
    """Number of the release deployed last."""
    current_version: str


class Pointers(Protocol):
    """A store that several machines share: small texts that move only from what was expected."""

    def pointer(self, name: str) -> str | None:
        """What a pointer says, None when it was never set."""

    def point(self, name: str, text: str, expected: str | None) -> None:
        """Move it if it still says what is expected, else a retryable ServerError."""


def next(store: Pointers, version: str) -> int:
    """The number of a version: the one it has, or the next. The store keeps them in a pointer.

    Raises:
        IntegrityError: what the pointer says was damaged.
        ServerError: the store does not answer, or others were faster again and again.
    """
    for turn in range(RACES):
        text = store.pointer("counter")
        try:
            known = Numbers.model_validate_json(text) if text else Numbers()
        except ValidationError as error:
            raise IntegrityError(
                f"the store's pointer `counter` says {text!r}, which are no release numbers",
                hint="put back what it said before; a lost number could let a replay pass",
            ) from error
        fresh = known.given(version)
        if fresh is known:
            break
        try:
            store.point("counter", fresh.model_dump_json(), text)
            break
        except ServerError as error:
            # Whoever was faster has moved it; then the next turn reads another text.
            if not error.retryable or turn == RACES - 1:
                raise
    return fresh.versions[version]


def place(agent: Agent) -> Path:
    """Where this user remembers what was deployed: `$XDG_STATE_HOME/opslore/{agent}-{8 hex}.json`.

    It is outside the store, because whoever can replay a release there could change it too. The
    digits are the store's, so that two stores with an agent of one name do not refuse each other.
    """
    named = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state"
    store = agent.store if "://" in agent.store else os.path.realpath(agent.store)
    return (
        folder / "opslore" / f"{agent.name}-{hashlib.sha256(store.encode()).hexdigest()[:8]}.json"
    )


def accept(state: Path, verified: Verified, rollback: bool = False) -> None:
    """Refuse a release that is older than the newest one deployed, unless going back is meant.

    Args:
        state: what was deployed before, see `place()`; nothing is known when it is missing.
        verified: the release, from signing.verify().
        rollback: going back to an older release is meant.

    Raises:
        IntegrityError: it is older, another agent's, or another release of the same number.
    """
    before = _read(state, Deployed, f"look at it, then move it away: mv {state} {state}.damaged")
    if before is None:
        return
    if before.agent != verified.agent:
        raise IntegrityError(f"{state} is of {before.agent}, not of {verified.agent}")
    seen = {before.newest: before.newest_version, before.current: before.current_version}
    if seen.get(verified.counter, verified.version) != verified.version:
        raise IntegrityError(
            f"{verified.version} and {seen[verified.counter]} are both release {verified.counter}"
            f" of {verified.agent}; one of them is not from this store",
            hint="publish it again from the store whose releases are deployed here",
        )
    again = verified.counter == before.current
    if verified.counter < before.newest and not rollback and not again:
        raise IntegrityError(
            f"{verified.version} is release {verified.counter} of {verified.agent}, older than"
            f" {before.newest_version} (release {before.newest}), which was deployed already",
            hint="if going back is meant: `opslore rollback AGENT.yaml`",
        )


def record(state: Path, verified: Verified) -> None:
    """Remember that a release is deployed; writes nothing when that is known already.

    Raises:
        IntegrityError: what was remembered is damaged.
    """
    before = _read(state, Deployed, f"look at it, then move it away: mv {state} {state}.damaged")
    newest, name = verified.counter, verified.version
    if before is not None and before.newest > newest:
        newest, name = before.newest, before.newest_version
    after = Deployed(
        agent=verified.agent,
        newest=newest,
        newest_version=name,
        current=verified.counter,
        current_version=verified.version,
    )
    if after != before:
        write(state, after.model_dump_json(indent=2) + "\n")


@contextmanager
def accepted(state: Path, verified: Verified, rollback: bool = False) -> Iterator[None]:
    """Accept a release, let the block deploy it, then record it; one deployment at a time.

    If the block fails nothing is recorded: what was deployed is still the release before.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    with alone(state.with_name(f".{state.name}.lock")):
        accept(state, verified, rollback)
        yield
        record(state, verified)


def _read(path: Path, kind: type[R], mend: str) -> R | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path} is damaged or not readable: {error}", hint=mend) from error
