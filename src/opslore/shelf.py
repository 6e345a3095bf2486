"""What a store keeps under a name: release archives, and pointers such as `current`.

Keys are the same on disk and in a bucket: `agent-sre/v20260131-0123abcd/adapters.tar.gz`.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path

from opslore.bucket import Bucket
from opslore.errors import ConfigError, IntegrityError, MissingInput, ServerError
from opslore.files import NAME, alone, sha256, sync, write

RACES = 8
"""Lost races for a pointer after which to give up."""

_logger = logging.getLogger(__name__)

_POINTER = re.compile(r"[a-z][a-z0-9-]{0,40}")


class Shelf:
    """Archives and pointers of one agent, in a folder or in a bucket with a folder as its cache."""

    def __init__(self, root: Path, agent: str, bucket: Bucket | None = None) -> None:
        self.root = root
        """The store's folder; with a bucket, the cache of what was made or fetched here."""
        self.agent = agent
        self.home = root / agent
        self.bucket = bucket

    @property
    def place(self) -> str:
        """What people call the store: its folder, or `s3://bucket/prefix`."""
        return self.bucket.uri() if self.bucket else str(self.root)

    def uri(self, key: str) -> str:
        """Where somebody else finds an archive: `s3://bucket/prefix/key`, or its path."""
        return self.bucket.uri(key) if self.bucket else str((self.root / key).absolute())

    def upload(self, file: Path, key: str) -> str:
        """Keep a file under a key, for ever; returns its URI. The same bytes twice write nothing.

        In a bucket the whole of it is read back and compared before this returns.

        Raises:
            IntegrityError: other bytes are kept under this key, or did not arrive.
            ServerError: the bucket does not answer or refuses.
        """
        _checked(key)
        digest = sha256(file)
        if self.bucket is None:
            self._copy(file, key, digest)
            return self.uri(key)
        self.bucket.ready()
        there = self.bucket.stat(key)
        if there is not None and (there.size, there.sha256) != (file.stat().st_size, digest):
            raise _other(self.uri(key), there.sha256 or f"{there.size} bytes", digest)
        if self.bucket.send(key, file, digest):
            came = self.bucket.digest(key, file.stat().st_size)
            if came != digest:
                raise IntegrityError(
                    f"{self.uri(key)}: sha256 {came} read back, {digest} was sent",
                    hint=f"aws s3 rm {self.uri(key)}, then run again",
                )
        return self.uri(key)

    def fetch(self, key: str, digest: str = "") -> Path:
        """The file kept under a key, on this disk and checked.

        Args:
            key: as for `upload`.
            digest: SHA-256 it must have; empty takes the one its writer noted in the bucket.

        Raises:
            MissingInput: nothing is kept under this key.
            IntegrityError: its bytes are not what the digest says; the bucket's are put aside.
        """
        _checked(key)
        path = self.root / key
        if path.is_file() and (not self.bucket or digest):
            if not digest or sha256(path) == digest:
                return path
            if not self.bucket:
                raise _other(str(path), sha256(path), digest)
        if self.bucket is None:
            raise MissingInput(f"no file {path}", hint="run `opslore publish AGENT.yaml` first")
        return _fetched(self.bucket, key, path, digest, self.root / ".quarantine")

    def pointer(self, name: str) -> str | None:
        """What a pointer of this agent says, or None when it was never set or is unset."""
        return self._said(self._pointer(name))[0] or None

    def point(self, name: str, text: str | None, expected: str | None) -> None:
        """Move a pointer in one step, if it still says what is expected; None unsets it.

        Raises:
            ServerError: it says something else by now; the message says what (retryable).
        """
        line = f"{text or ''}\n"
        if self.bucket is None:
            path = self.root / self._pointer(name)
            with alone(path.with_name(f".{name}.lock")):
                if (now := self.pointer(name)) != expected:
                    raise self._moved(name, now, expected)
                if now != text:
                    write(path, line)
            return
        self.bucket.ready()
        said, etag = self._said(self._pointer(name))
        if (now := said or None) != expected:
            raise self._moved(name, now, expected)
        if now == text:
            return
        written = self.bucket.swap(self._pointer(name), line.encode(), etag)
        # Lost, or our own write whose answer was lost: what it says now tells which.
        if written is None and (now := self.pointer(name)) != text:
            raise self._moved(name, now, expected)

    def note(self, name: str, text: str) -> None:
        """Let a pointer say something, whatever it says now: the newest writer has the word.

        Raises:
            ServerError: the bucket does not answer, or others write all the time.
        """
        if self.bucket is not None:
            self.bucket.ready()
        self._say(self._pointer(name), text)

    def _said(self, key: str) -> tuple[str, str | None]:
        """A pointer's text ("" when there is none), and in a bucket what a swap compares with."""
        if self.bucket is not None:
            there = self.bucket.get(key)
            return (there.data.decode().strip(), there.etag) if there else ("", None)
        path = self.root / key
        return path.read_text("utf-8").strip() if path.is_file() else "", None

    def _say(self, key: str, text: str) -> None:
        """Move a pointer whose newest writer has the word, whoever moves it beside us."""
        for _ in range(RACES):
            now, etag = self._said(key)
            if now == text:
                return
            if self.bucket is None:
                write(self.root / key, f"{text}\n")
                return
            if self.bucket.swap(key, f"{text}\n".encode(), etag) is not None:
                return
            _logger.info("%s: another run moved it to %s", self.uri(key), self._said(key)[0])
        raise ServerError(
            f"{self.uri(key)}: other runs moved it {RACES} times before us",
            hint="run again when they have ended",
            retryable=True,
        )

    def _pointer(self, name: str) -> str:
        if not _POINTER.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a pointer")
        return f"{self.agent}/{name}"

    def _moved(self, name: str, now: str | None, expected: str | None) -> ServerError:
        return ServerError(
            f"{self.uri(self._pointer(name))} says {now}, not {expected}: another run moved it",
            hint="run `opslore status AGENT.yaml` and decide; nothing was changed",
            retryable=True,
        )

    def _copy(self, file: Path, key: str, digest: str) -> None:
        target = self.root / key
        if target.is_file():
            if (there := sha256(target)) != digest:
                raise _other(str(target), there, digest)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copying-", dir=target.parent) as room:
            fresh = Path(room) / target.name
            shutil.copyfile(file, fresh)
            if sha256(fresh) != digest:
                raise IntegrityError(f"{file} changed while it was copied", hint="run again")
            fresh.replace(target)
        sync(target.parent)


def fetch(uri: str, folder: Path) -> Path:
    """Bring a release archive to this machine, knowing its URI only.

    Args:
        uri: `s3://bucket/key` or a path, as `Store.uri` gives it; `#sha256=<64 hex digits>` at its
            end says what it must be, else the digest that its writer noted in the bucket does.
        folder: where to; the file keeps its name.

    Returns:
        The file, checked. That of a path is the path itself.

    Raises:
        ConfigError: no such URI, or a key of the bucket is not in the environment.
        MissingInput: there is no such object.
        IntegrityError: its bytes are not what the digest says; they are put aside in `folder`.
    """
    bare, _, digest = uri.partition("#sha256=")
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ConfigError(f"{uri}: after #sha256= stand 64 hex digits")
    if "://" not in bare:
        path = Path(bare)
        if not path.is_file():
            raise MissingInput(f"no file {path}", hint="run `opslore publish AGENT.yaml` first")
        if digest and (there := sha256(path)) != digest:
            raise _other(bare, there, digest)
        return path
    place, _, name = bare.rpartition("/")
    if not NAME.fullmatch(name) or place.count("/") < 2:
        raise ConfigError(f"{uri!r} is not s3://bucket/key")
    return _fetched(Bucket.open(place), name, folder / name, digest, folder / ".quarantine")


def _fetched(bucket: Bucket, key: str, path: Path, digest: str, aside: Path) -> Path:
    there = bucket.stat(key)
    if there is None:
        if not bucket.there():
            raise MissingInput(
                f"{bucket.uri(key)}: there is no such bucket", hint=bucket.place.make()
            )
        raise MissingInput(
            f"{bucket.uri(key)} is not there", hint="run `opslore publish AGENT.yaml` first"
        )
    wanted = digest or there.sha256
    if not wanted:
        raise IntegrityError(
            f"{bucket.uri(key)} has no digest noted, so it cannot be checked",
            hint=f"name it as {bucket.uri(key)}#sha256=... with the release's digest",
        )
    if path.is_file() and sha256(path) == wanted:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=path.parent) as room:
        fresh = Path(room) / path.name
        bucket.load(key, fresh, there.size, wanted, aside)
        fresh.replace(path)
    sync(path.parent)
    return path


def _checked(key: str) -> None:
    if not NAME.fullmatch(key):
        raise ConfigError(f"{key!r} is no key below a store")


def _other(where: str, there: str, ours: str) -> IntegrityError:
    return IntegrityError(
        f"{where} is kept with {there}; now it would be {ours}",
        hint="a release never changes under its name: move the old one away, or keep it",
    )
