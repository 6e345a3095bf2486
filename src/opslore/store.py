"""Content-addressed folders on disk: what was made once is found, never made again.

`made()` names a card by the digest of everything it depends on, fills a work folder with the same
name, moves it into place and writes `card.json` last: its existence means done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from opslore.cards import Card, Record
from opslore.errors import IntegrityError, MissingInput, OpsloreError

C = TypeVar("C", bound=Card)
R = TypeVar("R", bound=Record)

VERSION = "0.1.0"

STEP_OF = {
    "corpus": "collect",
    "dataset": "prepare",
    "adapter": "train",
    "bundle": "export",
    "evaluation": "evaluate",
    "release": "publish",
    "deployment": "deploy",
}


_finding: ContextVar[bool] = ContextVar("opslore_finding", default=False)


class NotMade(MissingInput):
    """What `finding` raises for a card that is not there."""

    def __init__(self, kind: str, begun: bool) -> None:
        super().__init__(
            f"no {kind} with these settings", f"run `opslore {STEP_OF[kind]} AGENT.yaml`"
        )
        self.kind = kind
        self.begun = begun
        """A stopped run has left its work folder."""


@contextmanager
def finding() -> Iterator[None]:
    """Inside the block nothing is made or moved: a step whose card is missing raises `NotMade`."""
    token = _finding.set(True)
    try:
        yield
    finally:
        _finding.reset(token)


def write(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    raw = data.encode() if isinstance(data, str) else data
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make a folder's renames survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write records as JSON Lines, atomically."""
    write(path, "".join(row.model_dump_json() + "\n" for row in rows))


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Read the records of a JSON Lines file.

    Raises:
        IntegrityError: the file is missing or a line is not such a record.
    """
    try:
        # In bytes: text would be split at U+2028 and its like too, which JSON leaves as they are.
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise IntegrityError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise IntegrityError(
                f"{path}:{number}: not a {kind.__name__}: {error.errors()[0]['msg']}",
                hint="the file was edited or torn: delete its folder and run the step again",
            ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The folders one agent's steps made."""

    def __init__(self, root: Path, agent: str) -> None:
        self.root = root
        self.agent = agent
        self.home = root / agent

    def identity(
        self, kind: type[Card], section: Any, parents: Sequence[Card], facts: Sequence[str]
    ) -> str:
        """Digest of everything a card depends on (64 hex digits)."""
        key = {
            "kind": kind.kind,
            "schema": kind.schema_version,
            "section": section,
            "parents": [parent.id for parent in parents],
            "facts": list(facts),
        }
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()

    def folder(self, kind: type[Card], identity: str) -> Path:
        """Where a card's files lie."""
        return self.home / kind.kind / identity[:16]

    def path(self, card: Card) -> Path:
        """Where this card's files lie on this machine."""
        return self.folder(type(card), card.id)

    def work(self, kind: type[Card], identity: str) -> Path:
        """The folder an unfinished step fills; named by the id, so a second try finds it."""
        return self.home / ".work" / f"{kind.kind}-{identity[:16]}"

    def made(
        self,
        kind: type[C],
        section: Any,
        parents: Sequence[Card],
        make: Callable[[Path], dict[str, Any]],
        facts: Sequence[str] = (),
    ) -> C:
        """Return the card if it exists, else make it; a crash leaves nothing half done.

        Args:
            kind: the card's class.
            section: JSON-able settings that the step reads.
            parents: the input cards.
            make: fills the work folder and returns the card's own fields.
            facts: further digests it depends on (a base model, a corpus).
        """
        identity = self.identity(kind, section, parents, facts)
        work = self.work(kind, identity)
        if (found := self.find(kind, identity)) is not None:
            if not _finding.get():
                self._point(found)
            return found
        if _finding.get():
            raise NotMade(kind.kind, work.is_dir())
        work.mkdir(parents=True, exist_ok=True)
        fields = make(work)
        return self._keep(kind, identity, [p.id for p in parents], work, fields)

    def find(self, kind: type[C], identity: str) -> C | None:
        """The finished card with this id, or None."""
        path = self.folder(kind, identity) / "card.json"
        if not path.is_file():
            return None
        return self._read(kind, path)

    def latest(self, kind: type[C]) -> C:
        """The card the newest run of a step made or found again.

        Raises:
            MissingInput: the step never finished for this agent.
        """
        pointer = self.home / kind.kind / "latest"
        if pointer.is_file():
            found = self.find(kind, pointer.read_text().strip())
            if found is not None:
                return found
        step = STEP_OF[kind.kind]
        raise MissingInput(
            f"no {kind.kind} of {self.agent} in {self.root}",
            hint=f"run `opslore {step} AGENT.yaml` first (or `opslore run AGENT.yaml`)",
        )

    def cards(self, kind: type[C]) -> list[C]:
        """Every finished card of a kind, oldest first."""
        found = [
            self._read(kind, path) for path in sorted((self.home / kind.kind).glob("*/card.json"))
        ]
        return sorted(found, key=lambda card: card.created)

    def leftovers(self) -> list[Path]:
        """Work folders of steps that were stopped half-way."""
        return sorted((self.home / ".work").glob("*")) if (self.home / ".work").is_dir() else []

    def _read(self, kind: type[C], path: Path) -> C:
        try:
            return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise IntegrityError(
                f"{path}: not a {kind.__name__} card: {error.errors()[0]['msg']}",
                hint=f"delete {path.parent}, run `opslore {STEP_OF[kind.kind]} AGENT.yaml` again",
            ) from error

    def _keep(
        self, kind: type[C], identity: str, parents: list[str], work: Path, fields: dict[str, Any]
    ) -> C:
        target = self.folder(kind, identity)
        card = kind(
            id=identity,
            uri=f"{self.agent}/{kind.kind}/{identity[:16]}",
            parents=parents,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            made_with=f"opslore {VERSION}",
            **fields,
        )
        shutil.rmtree(work / "scratch", ignore_errors=True)
        if target.exists():  # a folder without card.json: an earlier try died after its rename
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            work.rename(target)
        except OSError as error:
            raise OpsloreError(f"cannot move {work} to {target}: {error.strerror}") from error
        sync(target.parent)
        write(target / "card.json", card.model_dump_json(indent=2) + "\n")
        self._point(card)
        return card

    def _point(self, card: Card) -> None:
        pointer = self.home / card.kind / "latest"
        if not pointer.is_file() or pointer.read_text().strip() != card.id:
            write(pointer, card.id + "\n")


def tail(text: str, length: int = 12) -> str:
    """A digest short enough to read."""
    return text[:length]
