"""What a step has of its unfinished work in the bucket, so that another machine goes on with it.

A pod that dies takes its disk along. So the newest checkpoint of a training lies in the bucket too,
until the card is there:

{agent}/.work/{kind}-{id16}/checkpoint-000050/...   its files
{agent}/.work/{kind}-{id16}/checkpoint.json         which one is whole: each file's size and SHA-256
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from opslore.bucket import Bucket
from opslore.cards import Card, Record
from opslore.errors import IntegrityError, ServerError
from opslore.files import NAME, sync
from opslore.mirror import Files, listing

C = TypeVar("C", bound=Card)

NOTE = "checkpoint.json"

_logger = logging.getLogger(__name__)


class Checkpoint(Record):
    """The one that is whole."""

    name: str
    listing: Files


class Far:
    """The place of one step's unfinished work in a bucket."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.bucket = bucket
        self.key = key

    def keep(self, folder: Path) -> None:
        """Upload a checkpoint, then say that it is the one; those before it go.

        A bucket that does not answer is no reason to stop: the checkpoint lies on this disk.
        """
        files = listing(folder)
        try:
            self.bucket.ready()
            for name, entry in files.files.items():
                self.bucket.send(f"{self.key}/{folder.name}/{name}", folder / name, entry.sha256)
            note = Checkpoint(name=folder.name, listing=files).model_dump_json(indent=1)
            self.bucket.put(f"{self.key}/{NOTE}", (note + "\n").encode())
            self._remove(but=folder.name)
        except ServerError as error:
            _logger.warning("%s is kept on this machine only: %s", folder.name, error.message)

    def fetch(self, into: Path) -> None:
        """Download the checkpoint, if there is one and none as new is here.

        Raises:
            IntegrityError: a file is not what was uploaded.
        """
        if (there := self.bucket.get(f"{self.key}/{NOTE}")) is None:
            return
        where = self.bucket.uri(f"{self.key}/{NOTE}")
        hint = f"aws s3 rm --recursive {self.bucket.uri(self.key)}, then run the step again"
        try:
            found = Checkpoint.model_validate_json(there.data)
        except ValidationError as error:
            raise IntegrityError(f"{where}: {error.errors()[0]['msg']}", hint=hint) from error
        names = [found.name, *found.listing.files]
        if not all(NAME.fullmatch(name) for name in names) or "/" in found.name:
            raise IntegrityError(f"{where}: a name in it is none of a checkpoint", hint=hint)
        if max((path.name for path in into.glob("checkpoint-??????")), default="") >= found.name:
            return
        fresh = into / f"{found.name}.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, entry in found.listing.files.items():
            key = f"{self.key}/{found.name}/{name}"
            self.bucket.load(key, fresh / name, entry.size, entry.sha256, into / "torn")
        fresh.rename(into / found.name)
        sync(into)
        _logger.warning("goes on from %s of %s", found.name, self.bucket.uri(self.key))

    def forget(self) -> None:
        """The work is done: nothing of it is needed any more. Writes nothing when nothing is."""
        try:
            if self.bucket.get(f"{self.key}/{NOTE}") is not None:
                self._remove()
                self.bucket.remove(f"{self.key}/{NOTE}")
        except ServerError as error:
            _logger.warning("%s is left over: %s", self.bucket.uri(self.key), error.message)

    def _remove(self, but: str = "") -> None:
        for key in self.bucket.sizes(self.key):
            name = key.removeprefix(f"{self.key}/").partition("/")[0]
            if name not in (NOTE, but):
                self.bucket.remove(key)


_far: ContextVar[Far | None] = ContextVar("opslore_far", default=None)


@contextmanager
def kept(bucket: Bucket | None, agent: str, work: str) -> Iterator[None]:
    """Inside the block checkpoints go to a bucket too, if there is one.

    Args:
        bucket: the store's.
        agent: its name.
        work: the name of the work folder, `{kind}-{id16}`.
    """
    token = _far.set(Far(bucket, f"{agent}/.work/{work}") if bucket is not None else None)
    try:
        yield
    finally:
        _far.reset(token)


def done(bucket: Bucket | None, card: C) -> C:
    """Forget what there was of a card before it was whole."""
    if bucket is not None:
        agent, kind, name = card.uri.split("/")
        Far(bucket, f"{agent}/.work/{kind}-{name}").forget()
    return card


def keep(folder: Path) -> None:
    """Keep a checkpoint that is whole on this disk."""
    if (far := _far.get()) is not None:
        far.keep(folder)


def fetch(into: Path) -> None:
    """See that the newest checkpoint is in this folder."""
    if (far := _far.get()) is not None:
        far.fetch(into)
