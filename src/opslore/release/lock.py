"""One writer at a time on this machine: a lock the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opslore.errors import ServerError

WAIT = 120.0
"""Seconds to wait for another writer; a registration on a fresh database takes about ten."""


@contextmanager
def held(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the file itself stays.

    Raises:
        ServerError: another process held it for `wait` seconds (retryable).
        OSError: the lock file cannot be made.
    """
    # Never deleted: a second process could lock the unlinked file and a third one a new file.
    with path.open("ab") as file:
        _acquire(file.fileno(), path, wait)
        yield


def _acquire(handle: int, path: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise ServerError(
                    f"{path}: another process has held this lock for {wait:.0f} s",
                    hint="wait until the other opslore run has ended, then run again",
                    retryable=True,
                ) from None
        time.sleep(0.05)
