"""Who fills a folder of the bucket right now: a small object that its writer keeps touching.

Two machines may make the same card at once, and their bytes may differ (a training is timed). So
one of them writes the folder, and the other waits for its card. A writer that died is known by
its claim standing still; no clock of one machine is compared with another's.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from opslore.bucket import Bucket
from opslore.errors import OpsloreError, ServerError

BEAT = 10.0
"""Seconds between two touches."""
STILL = 60.0
"""Seconds without a touch after which a claim is taken over."""
PATIENCE = 3600.0
"""Seconds to wait for another writer that goes on touching its claim."""

_logger = logging.getLogger(__name__)
_mine: set[str] = set()


class Claim:
    """The right to write one folder, as long as nobody has taken it over."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._beats = 0
        self._etag = ""
        self._lost = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def take(self, etag: str | None) -> bool:
        """Write the claim over the one with this etag (None: over none); False: lost the race."""
        written = self._bucket.swap(self._key, self._text(), etag)
        if written is None:
            return False
        self._etag = written
        _mine.add(self._token)
        self._thread.start()
        return True

    def check(self) -> None:
        """Go on only while the claim is ours.

        Raises:
            ServerError: somebody took it over, or it could not be touched.
        """
        if self._lost:
            raise ServerError(self._lost, hint="run again", retryable=True)

    def give_back(self) -> None:
        """Let the next writer in."""
        self._end.set()
        self._thread.join()
        _mine.discard(self._token)
        if self._lost:
            return
        try:
            self._bucket.remove(self._key)
        except OpsloreError as error:  # whatever ended the block is what a person should read
            _logger.warning("the claim stays until it is taken over: %s", error.message)

    def _text(self) -> bytes:
        self._beats += 1  # another text has another etag
        return json.dumps(
            {
                "host": _host(),
                "pid": os.getpid(),
                "since": self._since,
                "token": self._token,
                "beats": self._beats,
            }
        ).encode()

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            try:
                written = self._bucket.swap(self._key, self._text(), self._etag)
            except OpsloreError as error:
                self._lost = f"cannot keep the claim {self._bucket.uri(self._key)}: {error.message}"
                return
            if written is None:
                self._lost = f"{self._bucket.uri(self._key)} was taken over by another run"
                return
            self._etag = written


@contextmanager
def held(bucket: Bucket, key: str, done: Callable[[], bool]) -> Iterator[Claim | None]:
    """Hold the claim `key` while the block runs; None when `done()` became true before.

    Args:
        bucket: where.
        key: the claim's own object.
        done: whether another writer has finished what we would write.

    Raises:
        ServerError: another writer goes on and on (retryable); its host, process and start.
    """
    claim = Claim(bucket, key)
    until = time.monotonic() + PATIENCE
    seen, still = "", time.monotonic()
    while True:
        if done():
            yield None
            return
        found = bucket.get(key)
        if found is not None and found.etag != seen:
            if not seen and not _is_dead(found.data):
                _logger.info("%s is being written by %s; waiting", bucket.uri(key), _who(found))
            seen, still = found.etag, time.monotonic()
        free = found is None or _is_dead(found.data) or time.monotonic() - still > STILL
        if free and claim.take(found.etag if found else None):
            break
        if time.monotonic() > until:
            raise ServerError(
                f"{bucket.uri(key)}: held by {_who(found)}",
                hint="wait for that run, or end it, then run again",
                retryable=True,
            )
        time.sleep(min(1.0, BEAT / 4))
    try:
        yield claim
    finally:
        claim.give_back()


def _host() -> str:
    # Two machines may both be called localhost; the hardware address tells them apart.
    return f"{socket.gethostname()}-{uuid.getnode():012x}"


def _is_dead(data: bytes) -> bool:
    """Whether the writer was a process of this machine that has ended."""
    said = _parsed(data)
    pid, token = said.get("pid"), said.get("token")
    if said.get("host") != _host() or not isinstance(pid, int) or pid <= 0:
        return False
    if pid == os.getpid():
        return token not in _mine  # an earlier process had our number, as in a container
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _who(found: object) -> str:
    said = _parsed(getattr(found, "data", b""))
    return f"pid {said.get('pid')} on {said.get('host')} since {said.get('since')}"


def _parsed(data: bytes) -> dict[str, object]:
    try:
        said = json.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
