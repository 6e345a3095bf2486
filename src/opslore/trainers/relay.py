"""A training that one machine began, another goes on with: its checkpoints, in the bucket.

{agent}/.work/adapter-{id16}/checkpoint-000050.tar    one object each, so that none is half there

A pod's disk ends with the pod. Without a bucket the work folder itself is what survives.
"""

from __future__ import annotations

import logging
import shutil
import tarfile
from pathlib import Path

from opslore import files
from opslore.bucket import Bucket
from opslore.errors import IntegrityError, OpsloreError, ServerError
from opslore.store import Store

ROOM = ".work"
"""Folder of the bucket for what is not made yet; nobody looks for a card in it."""

_logger = logging.getLogger(__name__)


class Relay:
    """The checkpoints of one training, as another machine finds them."""

    def __init__(self, home: Store, work: Path) -> None:
        """Look at nothing yet.

        Args:
            home: the agent's store.
            work: the training's work folder, named by its id.
        """
        self.home = home
        self.scratch = work / "scratch"
        self.aside = self.scratch / "relay"
        """Where archives are packed: among the checkpoints a half one would be taken for one."""
        self.key = f"{home.agent}/{ROOM}/{work.name}"
        self.given = ""
        """Name of the newest checkpoint that the bucket has."""

    def take(self) -> None:
        """Fetch the newest checkpoint that somebody left, if it is newer than what is here.

        Raises:
            ServerError: the bucket does not answer or refuses.
        """
        if (bucket := self.home.bucket) is None:
            return
        left = sorted(key for key in bucket.sizes(self.key) if key.endswith(".tar"))
        for key in reversed(left):
            name = Path(key).stem
            if name <= self._newest():
                break
            try:
                self._fetch(bucket, key)
            except IntegrityError as error:  # a torn one must not stop what can begin anew
                _logger.warning("%s is not taken up: %s", bucket.uri(key), error.message)
                continue
            self.given = name
            _logger.warning("the training goes on from %s", bucket.uri(key))
            break

    def give(self) -> None:
        """Leave the newest checkpoint for others, if they have not got it.

        A bucket that is away for a while must not end a training: that is said, and the next
        checkpoint is tried.
        """
        bucket, name = self.home.bucket, self._newest()
        if bucket is None or name <= self.given:
            return
        self.given = name
        try:
            bucket.ready()
            self._send(bucket, name)
        except ServerError as error:
            _logger.warning("%s stays on this machine: %s", name, error.message)

    def _newest(self) -> str:
        found = sorted(self.scratch.glob("checkpoint-??????"))
        return found[-1].name if found else ""

    def _send(self, bucket: Bucket, name: str) -> None:
        packed = self.aside / f"{name}.tar"
        try:
            with files.whole(packed) as file, tarfile.open(fileobj=file, mode="w") as archive:
                for path in sorted((self.scratch / name).iterdir()):
                    archive.add(path, path.name)
            bucket.send(f"{self.key}/{name}.tar", packed, files.sha256(packed))
        finally:
            packed.unlink(missing_ok=True)
        for key in bucket.sizes(self.key):  # one is enough: what is there is there whole
            if Path(key).stem < name:
                bucket.remove(key)

    def _fetch(self, bucket: Bucket, key: str) -> None:
        there = bucket.stat(key)
        if there is None:
            raise IntegrityError("it is gone")
        packed, fresh = self.aside / Path(key).name, self.aside / Path(key).stem
        kept = self.home.root / ".quarantine"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            bucket.load(key, packed, there.size, there.sha256, kept)
            with tarfile.open(packed) as archive:
                archive.extractall(fresh, filter="data")
        except tarfile.TarError as error:
            raise IntegrityError(f"no archive: {error}") from error
        finally:
            packed.unlink(missing_ok=True)
        fresh.rename(self.scratch / Path(key).stem)
        files.sync(self.scratch)


def clear(home: Store) -> None:
    """Delete the checkpoints of trainings whose adapter is in the bucket by now.

    Nothing is lost with them, so a bucket that refuses is not worth an error.
    """
    if (bucket := home.bucket) is None:
        return
    try:
        for key in bucket.sizes(f"{home.agent}/{ROOM}"):
            kind, _, identity = key.split("/")[-2].partition("-")
            if bucket.stat(f"{home.agent}/{kind}/{identity}/card.json") is not None:
                bucket.remove(key)
    except OpsloreError as error:
        _logger.warning("checkpoints stay in the bucket: %s", error.message)
