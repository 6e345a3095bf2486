"""The objects of an S3 bucket below a prefix: read, written and compared, never half of one."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslore import s3
from opslore.errors import IntegrityError, ServerError
from opslore.files import sync

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART = 8 << 20
"""Bytes of one request; a larger file is a multipart upload, and is fetched in ranges."""
SMALL = 4 << 20
"""Bytes that a card, a listing or a pointer has at most."""


@dataclass(frozen=True)
class Found:
    """A small object as it was read."""

    data: bytes
    etag: str
    """What a conditional write compares with."""


@dataclass(frozen=True)
class Stat:
    """What a server says of an object without sending it."""

    size: int
    etag: str
    sha256: str
    """As its writer noted it, "" when it did not; the bytes are hashed when they are read."""


class Bucket:
    """The objects of one store."""

    def __init__(self, place: s3.Place, client: ObjectStore) -> None:
        self.place = place
        self.client = client
        self._ready = False

    @classmethod
    def open(cls, uri: str) -> Bucket:
        """Connect to `s3://bucket/prefix`; nothing is sent yet.

        Raises:
            ConfigError: no such URI, no such endpoint, or a key is not in the environment.
        """
        place = s3.place(uri)
        return cls(place, s3.connect(place))

    def uri(self, key: str = "") -> str:
        """`s3://bucket/prefix/key`."""
        return self.place.uri(key)

    def ready(self) -> None:
        """See that the bucket is there and ours to read, once; make it when it is not there.

        Raises:
            ServerError: it cannot be reached, read or made.
        """
        if not self._ready and not self.there():
            s3.create(self.place, self.client)  # type: ignore[arg-type]
        self._ready = True

    def there(self) -> bool:
        """Whether the bucket exists.

        Raises:
            ServerError: it cannot be reached or read.
        """
        import obstore
        from obstore.exceptions import BaseError

        try:
            # Not an object's HEAD: that is answered without a body, so without the reason.
            s3.asked(obstore.list(self.client, self.place.key(".there")).collect)
        except (BaseError, FileNotFoundError) as error:
            if s3.absent(error, "NoSuchBucket"):
                return False
            raise s3.explanation(self.place, "", error) from error
        return True

    def get(self, key: str) -> Found | None:
        """A small object, or None.

        Raises:
            IntegrityError: it is larger than any card.
        """
        import obstore

        with s3.explained(self.place, key):
            try:
                answer = s3.asked(obstore.get, self.client, self.place.key(key))
            except FileNotFoundError as error:
                if s3.absent(error):
                    return None
                raise
            if answer.meta["size"] > SMALL:
                raise IntegrityError(f"{self.uri(key)}: {answer.meta['size']} bytes; not ours")
            return Found(bytes(s3.asked(answer.bytes)), answer.meta["e_tag"] or "")

    def stat(self, key: str) -> Stat | None:
        """Size and noted digest of an object, or None."""
        import obstore

        with s3.explained(self.place, key):
            try:
                answer = s3.asked(
                    obstore.get, self.client, self.place.key(key), options={"head": True}
                )
            except FileNotFoundError as error:
                if s3.absent(error):
                    return None
                raise
            meta = answer.meta
            return Stat(meta["size"], meta["e_tag"] or "", answer.attributes.get("sha256", ""))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key and size of everything below a folder; empty when there is nothing, or no bucket."""
        import obstore
        from obstore.exceptions import BaseError

        cut = len(self.place.key(""))
        try:
            listed = s3.asked(obstore.list(self.client, self.place.key(prefix)).collect)
        except (BaseError, FileNotFoundError) as error:
            if s3.absent(error, "NoSuchBucket"):
                return {}
            raise s3.explanation(self.place, prefix, error) from error
        return {item["path"][cut:]: item["size"] for item in listed}

    def put(self, key: str, data: bytes) -> None:
        """Write a small object over whatever is there."""
        import obstore

        note = {"sha256": hashlib.sha256(data).hexdigest()}
        with s3.explained(self.place, key):
            s3.asked(obstore.put, self.client, self.place.key(key), data, attributes=note)

    def swap(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Write a small object only if it is still the one with this etag (None: not there).

        It is as strict as the server: Amazon and MinIO compare and write in one step, versitygw
        1.7 does so with `--concurrency 1` only.

        Returns:
            The new etag, or None when somebody else was first: read again and decide.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if etag is None else {"e_tag": etag}
        with s3.explained(self.place, key):
            try:
                done = s3.asked(obstore.put, self.client, self.place.key(key), data, mode=mode)
            except (AlreadyExistsError, PreconditionError):
                return None
            except FileNotFoundError as error:
                if s3.absent(error, "NoSuchKey"):
                    return None
                raise
        if not done["e_tag"]:
            raise ServerError(
                f"{self.uri(key)}: the server gives no ETag, so no write can be conditional",
                hint="use a server that knows If-Match (AWS, MinIO, versitygw, SeaweedFS, Garage)",
            )
        return done["e_tag"]

    def send(self, key: str, path: Path, sha256: str) -> bool:
        """Upload a file unless its bytes are there already; returns whether it was sent.

        Raises:
            IntegrityError: the file changed while it was sent, or the server has another size.
        """
        import obstore

        size = path.stat().st_size
        if (there := self.stat(key)) is not None and (there.size, there.sha256) == (size, sha256):
            return False
        hashing = _Parts(path)
        data: Any = iter(hashing) if size > PART else next(iter(hashing), b"")
        with s3.explained(self.place, key):
            s3.asked(
                obstore.put,
                self.client,
                self.place.key(key),
                data,
                attributes={"sha256": sha256},
                chunk_size=PART,
                max_concurrency=4,
            )
        if hashing.digest.hexdigest() != sha256:
            self.remove(key)
            raise IntegrityError(
                f"{path} changed while it was uploaded", hint="run again when nothing writes there"
            )
        if (kept := self.stat(key)) is None or kept.size != size:
            raise IntegrityError(
                f"{self.uri(key)}: {kept.size if kept else 'no'} bytes after {size} were uploaded",
                hint="run again; if it stays so, the server loses data",
            )
        return True

    def load(self, key: str, to: Path, size: int, sha256: str, aside: Path) -> None:
        """Download an object to a new file and check it; another one's bytes go to `aside`.

        Args:
            key: the object.
            to: a name that nobody reads yet.
            size: bytes it must have.
            sha256: digest it must have.
            aside: folder that keeps what is not what it should be.

        Raises:
            IntegrityError: it is missing, shorter, longer or has other bytes (exit 4).
        """
        digest = hashlib.sha256()
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("wb") as file:
            for part in self._ranges(key, size):
                digest.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        sync(to.parent)
        if digest.hexdigest() != sha256:
            kept = aside / f"{digest.hexdigest()[:16]}-{to.name}"
            aside.mkdir(parents=True, exist_ok=True)
            shutil.move(to, kept)
            raise IntegrityError(
                f"{self.uri(key)} has sha256 {digest.hexdigest()}, not {sha256}: it was changed "
                f"after it was written; what came is kept as {kept}",
                hint=f"find out who changed it, then: aws s3 rm --recursive "
                f"{self.uri(key).rpartition('/')[0]}, and run the step again",
            )

    def digest(self, key: str, size: int) -> str:
        """SHA-256 of an object's bytes as the server sends them now, 64 hex digits."""
        digest = hashlib.sha256()
        for part in self._ranges(key, size):
            digest.update(part)
        return digest.hexdigest()

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        import obstore

        with s3.explained(self.place, key):
            try:
                s3.asked(obstore.delete, self.client, self.place.key(key))
            except FileNotFoundError as error:
                if not s3.absent(error):
                    raise

    def _ranges(self, key: str, size: int) -> Iterator[bytes]:
        """An object part by part: each request is short, is tried again alone, and has a limit."""
        import obstore

        there, name = self.stat(key), self.place.key(key)
        if there is None or there.size != size:
            raise IntegrityError(
                f"{self.uri(key)}: {there.size if there else 'no'} bytes there; {size} were written"
            )
        for start in range(0, size, PART):
            end = min(start + PART, size)
            with s3.explained(self.place, key):
                part = bytes(s3.asked(obstore.get_range, self.client, name, start=start, end=end))
            if len(part) != end - start:
                raise ServerError(f"{self.uri(key)}: torn at byte {start}", retryable=True)
            yield part


class _Parts:
    """A file part by part, hashed as it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while data := file.read(PART):
                self.digest.update(data)
                yield data
