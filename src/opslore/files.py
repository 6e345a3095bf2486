"""Files that are there whole or not at all, also after a crash, and their digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from opslore.cards import Record
from opslore.errors import IntegrityError, ServerError

R = TypeVar("R", bound=Record)

NAME = re.compile(r"(?!\.{1,2}(/|$))[^/\\\0]+(/(?!\.{1,2}(/|$))[^/\\\0]+)*")
"""A name below a folder, with `/`: relative, and never out of it again."""

WAIT = 120.0
"""Seconds to wait for another program; a registration on a fresh database takes about ten."""


def cache() -> Path:
    """The folder for what can be made again: OPSLORE_CACHE, or ~/.cache/opslore."""
    return Path(os.environ.get("OPSLORE_CACHE") or Path.home() / ".cache" / "opslore")


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file piece by piece; readers see the old one or the whole new one, as ever."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    with whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def sync(folder: Path) -> None:
    """Make a folder's renames survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """Write records as JSON Lines, atomically, a record at a time."""
    with whole(path) as file:
        for row in rows:
            put(file, row)


def put(file: BinaryIO, row: BaseModel) -> None:
    """Write one record as a line of JSON."""
    file.write(row.model_dump_json().encode() + b"\n")


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Read the records of a JSON Lines file.

    Raises:
        IntegrityError: the file is missing or a line is not such a record.
    """
    try:
        # In bytes: text would be split at U+2028 and its like too, which JSON leaves as they are.
        file = path.open("rb")
    except OSError as error:
        raise IntegrityError(f"{path}: {error.strerror or error}") from error
    with file:
        for number, line in enumerate(file, 1):
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


def check(path: Path, digest: str) -> None:
    """See that a card's file has the digest that its card says.

    Raises:
        IntegrityError: it is gone, torn or edited.
    """
    if not path.is_file() or sha256(path) != digest:
        raise IntegrityError(
            f"{path} is not what its card says", hint=f"delete {path.parent}, run again"
        )


@contextmanager
def alone(lock: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold a lock file while the block runs; the kernel drops it when its holder dies.

    Raises:
        ServerError: another process held it for `wait` seconds (retryable).
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    # Never deleted: a second process could lock the unlinked file and a third one a new file.
    with lock.open("ab") as file:
        while True:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise ServerError(
                        f"{lock}: another process has held this lock for {wait:.0f} s",
                        hint="wait until the other opslore run has ended, then run again",
                        retryable=True,
                    ) from None
            time.sleep(0.02)
        yield
