"""Content-addressed folders, on disk or in a bucket: what was made once is never made again.

`made()` names a card by the digest of everything it depends on, fills a work folder with the same
name, moves it into place and writes `card.json` last: its existence means done. With a bucket
(`s3://bucket/prefix`) the folder is a cache: what is made here goes there, card last, and what
others made there is fetched when its files are asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from opslore import mirror
from opslore.bucket import Bucket
from opslore.cards import Card
from opslore.errors import IntegrityError, MissingInput, OpsloreError
from opslore.files import cache, read_rows, sha256, sync, write, write_rows
from opslore.shelf import Shelf, fetch

__all__ = [
    "STEP_OF",
    "VERSION",
    "NotMade",
    "Store",
    "fetch",
    "finding",
    "opened",
    "read_rows",
    "sha256",
    "sync",
    "write",
    "write_rows",
]

C = TypeVar("C", bound=Card)

VERSION = "0.1.0"

STEP_OF = {
    "corpus": "collect",
    "dataset": "prepare",
    "adapter": "train",
    "bundle": "export",
    "evaluation": "evaluate",
    "release": "publish",
    "deployment": "deploy",
    "harvest": "collect",
    "shard": "evaluate",
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


def is_finding() -> bool:
    """Whether the caller only wants to know what is there, see `finding`."""
    return _finding.get()


def opened(url: str, agent: str) -> Store:
    """The store at a folder or at `s3://bucket/prefix`, for one agent; nothing is sent yet.

    Raises:
        ConfigError: the URL is none, or a key of the bucket is not in the environment.
    """
    if "://" not in url:
        return Store(Path(url), agent)
    bucket = Bucket.open(url)
    where = hashlib.sha256(f"{bucket.place.endpoint} {bucket.uri()}".encode()).hexdigest()
    return Store(cache() / "stores" / where[:16], agent, bucket)


class Store(Shelf):
    """The folders one agent's steps made, and what is published from them."""

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
        """Where this card's files lie on this machine; fetched and checked if they did not yet.

        Raises:
            IntegrityError: a file in the bucket is not what its listing says.
        """
        folder = self.folder(type(card), card.id)
        if self.bucket is not None and not (folder / mirror.CARD).is_file():
            mirror.fetch(self.bucket, folder, self._key(type(card), card.id), self._aside)
        return folder

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
            if _finding.get() and not self._is_shared(found):
                raise NotMade(kind.kind, begun=True)
            if not _finding.get():
                found = self._shared(found)
                self._point(found)
            return found
        if _finding.get():
            raise NotMade(kind.kind, work.is_dir())
        work.mkdir(parents=True, exist_ok=True)
        fields = make(work)
        return self._keep(kind, identity, [p.id for p in parents], work, fields)

    def find(self, kind: type[C], identity: str) -> C | None:
        """The finished card with this id, or None; of the bucket's only the card is read."""
        path = self.folder(kind, identity) / mirror.CARD
        if path.is_file():
            return self._read(kind, path.read_bytes(), str(path))
        if self.bucket is None:
            return None
        key = f"{self._key(kind, identity)}/{mirror.CARD}"
        there = self.bucket.get(key)
        return self._read(kind, there.data, self.bucket.uri(key)) if there else None

    def parent(self, card: Card, kind: type[C]) -> C | None:
        """The first card of a kind that another card was made from; None when it is gone."""
        return next(filter(None, (self.find(kind, one) for one in card.parents)), None)

    def latest(self, kind: type[C]) -> C:
        """The card the newest run of a step made or found again.

        Raises:
            MissingInput: the step never finished for this agent.
        """
        identity, _ = self._said(f"{self.agent}/{kind.kind}/latest")
        if identity and (found := self.find(kind, identity)) is not None:
            return found
        step = STEP_OF[kind.kind]
        raise MissingInput(
            f"no {kind.kind} of {self.agent} in {self.place}",
            hint=f"run `opslore {step} AGENT.yaml` first (or `opslore run AGENT.yaml`)",
        )

    def cards(self, kind: type[C]) -> list[C]:
        """Every finished card of a kind, oldest first."""
        home = self.home / kind.kind
        names = {path.parent.name for path in home.glob(f"[!.]*/{mirror.CARD}")}
        if self.bucket is not None:
            keys = [key.split("/") for key in self.bucket.sizes(f"{self.agent}/{kind.kind}")]
            names = {key[2] for key in keys if key[3:] == [mirror.CARD]}
        found = [card for name in sorted(names) if (card := self.find(kind, name)) is not None]
        return sorted(found, key=lambda card: card.created)

    def leftovers(self) -> list[Path]:
        """Work folders of steps that were stopped half-way."""
        return sorted((self.home / ".work").glob("*")) if (self.home / ".work").is_dir() else []

    def unfinished(self) -> list[str]:
        """Folders of the bucket whose upload was stopped half-way; running the step completes it.

        Parts of a stopped multipart upload are the server's to forget: give the bucket a rule
        (AbortIncompleteMultipartUpload) for them.
        """
        if self.bucket is None:
            return []
        keys = [key.split("/") for key in self.bucket.sizes(self.agent)]
        folders = {tuple(key[:3]) for key in keys if len(key) > 3 and key[1] in STEP_OF}
        done = {tuple(key[:3]) for key in keys if key[3:] == [mirror.CARD]}
        return [self.bucket.uri("/".join(folder)) for folder in sorted(folders - done)]

    @property
    def _aside(self) -> Path:
        return self.root / ".quarantine"

    def _key(self, kind: type[Card], identity: str) -> str:
        return f"{self.agent}/{kind.kind}/{identity[:16]}"

    def _read(self, kind: type[C], data: bytes, where: str) -> C:
        try:
            card = kind.model_validate_json(data)
        except ValidationError as error:
            reason = f"not a {kind.__name__} card: {error.errors()[0]['msg']}"
        else:
            if card.id[:16] == where.split("/")[-2]:
                return card
            reason = f"the card of another folder: its id is {card.id[:16]}"
        folder = where.rpartition("/")[0]
        raise IntegrityError(
            f"{where}: {reason}",
            hint=f"delete {folder}, run `opslore {STEP_OF[kind.kind]} AGENT.yaml` again",
        )

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
        write(target / mirror.CARD, card.model_dump_json(indent=2) + "\n")
        card = self._shared(card)
        self._point(card)
        return card

    def _is_shared(self, card: Card) -> bool:
        """Whether the bucket has this card, if there is a bucket."""
        key = f"{self._key(type(card), card.id)}/{mirror.CARD}"
        return self.bucket is None or self.bucket.get(key) is not None

    def _shared(self, card: C) -> C:
        """See that the bucket has this card; the bucket's own when another machine was first."""
        folder = self.folder(type(card), card.id)
        if self.bucket is None or not (folder / mirror.CARD).is_file():
            return card
        ours, key = (folder / mirror.CARD).read_bytes(), self._key(type(card), card.id)
        there = self.bucket.get(f"{key}/{mirror.CARD}")
        data = there.data if there else mirror.push(self.bucket, folder, key)
        if data == ours:
            return card
        mirror.fetch(self.bucket, folder, key, self._aside, replace=True)
        return self._read(type(card), data, self.bucket.uri(f"{key}/{mirror.CARD}"))

    def _point(self, card: Card) -> None:
        self._say(f"{self.agent}/{card.kind}/latest", card.id)
