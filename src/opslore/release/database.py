"""The registry's default home: an sqlite file that is there whole or not at all.

MLflow builds its schema in about sixty migrations that do not roll back: a run killed among them
leaves a file that MLflow refuses for ever. So the schema is built in a file beside it and renamed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from opslore.errors import ConfigError, ServerError
from opslore.files import alone
from opslore.store import sync

BUSY = 10.0
"""Seconds to wait for a reader or writer that has the file open, an MLflow UI for example."""

_logger = logging.getLogger(__name__)


def path(uri: str) -> Path | None:
    """The absolute path of an sqlite URI's file; None for the URI of a server.

    Raises:
        ConfigError: an sqlite URI without a file; what it registers would be gone at once.
    """
    if not uri.startswith("sqlite"):
        return None
    name = uri.removeprefix("sqlite:///").partition("?")[0]
    if not uri.startswith("sqlite:///") or name in ("", ":memory:") or name.startswith("file:"):
        raise ConfigError(
            f"publish.registry: {uri!r} names no sqlite file",
            hint="write sqlite:///runs/mlflow.db, or sqlite:////srv/mlflow.db (absolute)",
        )
    return Path(name).absolute()


@contextmanager
def ready(uri: str, file: Path, build: Callable[[str], None]) -> Iterator[None]:
    """Hold the database for writing, made first if it is not there.

    Args:
        uri: as the agent file has it, for the messages.
        file: the database.
        build: makes an empty registry at the sqlite URI it is given.

    Raises:
        ServerError: it cannot be made, opened, locked or written; the message says which.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        holder = alone(file.with_name(f".{file.name}.lock"))
        with holder:
            # An empty file is what a killed program that only opened the database leaves.
            if not file.exists() or file.stat().st_size == 0:
                _build(file, build)
            probe(uri, file, write=True)
            yield
    except OSError as error:
        raise ServerError(
            f"MLflow registry {uri}: {error.filename or file}: {error.strerror or error}",
            hint=_elsewhere(file),
        ) from error


def probe(uri: str, file: Path, *, write: bool) -> None:
    """Find out now, with a clear message, what MLflow would meet later with a long one.

    Raises:
        ServerError: the file is locked, read-only, full or no sqlite database.
    """
    mode = "rw" if write else "ro"
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(file))}?mode={mode}", timeout=BUSY, isolation_level=None, uri=True
        )
        try:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            if write:
                # The journal is opened at the first change, so only a change shows that it can be.
                connection.execute("CREATE TABLE opslore_probe (number INTEGER)")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise _explained(uri, file, error) from error


def _build(file: Path, build: Callable[[str], None]) -> None:
    _logger.info("building the MLflow schema in %s (a few seconds, once)", file)
    fresh = file.with_name(f".{file.name}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    build(f"sqlite:///{fresh}")
    with fresh.open("rb+") as handle:
        os.fsync(handle.fileno())
    fresh.replace(file)
    sync(file.parent)


def _explained(uri: str, file: Path, error: sqlite3.DatabaseError) -> ServerError:
    text = str(error)
    if "locked" in text:
        hint = "close what has it open (an MLflow server or UI, a database browser), then run again"
        return ServerError(f"MLflow registry {uri}: {text}: {file}", hint=hint, retryable=True)
    if "not a database" in text or "malformed" in text:
        hint = f"move {file} away, or name another file in publish.registry"
        return ServerError(f"MLflow registry {uri}: {text}: {file}", hint=hint)
    return ServerError(f"MLflow registry {uri}: {text}: {file}", hint=_elsewhere(file))


def _elsewhere(file: Path) -> str:
    return f"make {file.parent} writable and not full, or name another file in publish.registry"
