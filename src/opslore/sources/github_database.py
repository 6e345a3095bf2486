"""The SQLite file of one repository: whole transactions, and failures in our own words."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opslore import files
from opslore.errors import IntegrityError, OpsloreError

FORMAT = 1
"""What was kept in another format is read anew from the server."""

_TABLES = """
CREATE TABLE threads (number INTEGER PRIMARY KEY, updated TEXT NOT NULL, comments INTEGER NOT NULL,
  pull INTEGER NOT NULL, node TEXT NOT NULL, data TEXT NOT NULL, crc INTEGER NOT NULL,
  counted TEXT NOT NULL DEFAULT '', reviewed TEXT NOT NULL DEFAULT '',
  facts TEXT NOT NULL DEFAULT '{}');
CREATE TABLE posts (kind TEXT NOT NULL, id INTEGER NOT NULL, number INTEGER NOT NULL,
  created TEXT NOT NULL, updated TEXT NOT NULL, data TEXT NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY (kind, id));
CREATE TABLE listings (name TEXT PRIMARY KEY, place TEXT NOT NULL);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE INDEX threads_by_update ON threads (updated);
CREATE INDEX posts_by_update ON posts (kind, updated);
CREATE INDEX posts_by_thread ON posts (number, created, kind, id)
"""


class Database:
    """One file, shared by the threads of a run."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; one that is whole is not changed by that.

        Raises:
            IntegrityError: it is there and no such file.
            OpsloreError: the disk is full or cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        new = not path.exists()
        if new:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._db = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
            # The folder is synced, too, when a transaction ends: it survives a power cut.
            self._db.execute("PRAGMA synchronous = EXTRA")
        (found,) = self.all("PRAGMA user_version")[0]
        if found != FORMAT:
            self._renew()
        if new:
            files.sync(path.parent)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        with self._lock, self._explained():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that happens in the block is kept, or nothing."""
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute(
                    "INSERT INTO notes VALUES ('revision', '1') ON CONFLICT (name)"
                    " DO UPDATE SET value = CAST(value AS INTEGER) + 1"
                )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def note(self, name: str) -> str:
        """Something that is written beside the records; `revision` changes with every change."""
        found = self.all("SELECT value FROM notes WHERE name = ?", (name,))
        return str(found[0][0]) if found else ""

    def sound(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row that ends with its data and their checksum, without the checksum.

        Raises:
            IntegrityError: the data are not what was written.
        """
        if zlib.crc32(str(row[-2]).encode()) != row[-1]:
            raise IntegrityError(f"{self.path}: a record of thread {row[0]} is damaged", self._mend)
        return row[:-1]

    @property
    def _mend(self) -> str:
        return f"delete {self.path} and run the same command again: it is fetched anew"

    def _renew(self) -> None:
        with self._lock, self._explained():
            named = self.all("SELECT name FROM sqlite_master WHERE type = 'table'")
            self._db.execute("BEGIN IMMEDIATE")
            for (name,) in named:
                self._db.execute(f'DROP TABLE "{name}"')
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            self._db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of the file in our own words."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OpsloreError(
                f"{self.path}: {error}",
                hint="make room on its disk, see that it can be written and that no other run "
                "uses it, then run the same command again: it goes on where it stopped",
                retryable=True,
            ) from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{self.path}: {error}", self._mend) from error
