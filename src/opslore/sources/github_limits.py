"""GitHub's limits: what an answer says of them, and waiting that ends.

A server that asks for patience is given it, by all requests of the run at once and up to `LONGEST`
seconds in all. When that is not enough, the run ends with the time at which it can go on: what was
fetched is kept, and the same command continues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from opslore import retry_after
from opslore.errors import SourceError

LONGEST = 900.0
"""Seconds that one run waits for limits, all waits together."""

SECONDARY = 60.0
"""Seconds to wait when a secondary limit does not say how long; twice as long each time again."""

LEAST = 1.0
"""Seconds of the shortest wait; `Retry-After: 0` must not become a busy loop."""

GO_ON = "run the same command again then: it goes on where it stopped"


class Stopped(Exception):
    """Another request of this run has failed: nothing more is asked."""


class Patience:
    """The waiting of one run, shared by its threads."""

    def __init__(self, told: Callable[[str], None], longest: float | None = None) -> None:
        """Start with nothing waited.

        Args:
            told: is given a line before each wait.
            longest: seconds for all waits, `LONGEST` by default.
        """
        self.stop = threading.Event()
        self._told = told
        self._left = LONGEST if longest is None else longest
        self._until = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float, page: str, reason: str) -> None:
        """Let nobody ask before so many seconds have passed.

        Raises:
            SourceError: the run would wait longer than it may in all (retryable).
        """
        now = time.monotonic()
        with self._lock:
            until = max(self._until, now + max(seconds, LEAST))
            more = until - max(self._until, now)
            if more > self._left:
                moment = datetime.now(UTC) + timedelta(seconds=until - now)
                raise SourceError(
                    f"{page}: {reason}; the next request is welcome at "
                    f"{moment:%Y-%m-%d %H:%M:%S} UTC",
                    hint=GO_ON,
                    retryable=True,
                )
            self._left -= more
            self._until = until
        if more > 0:
            self._told(f"{reason}: waiting {until - now:.0f} s")

    def pause(self, seconds: float = 0.0) -> None:
        """Wait so long, and for whatever is held.

        Raises:
            Stopped: another request has failed meanwhile.
        """
        until = time.monotonic() + seconds
        while True:
            left = max(self._until, until) - time.monotonic()
            if self.stop.wait(max(left, 0.0)):
                raise Stopped
            if max(self._until, until) <= time.monotonic():
                return


def asked(headers: Mapping[str, str], status: int, text: str, again: int) -> tuple[float, str]:
    """Seconds that a refusal asks to wait, and why; 0 when it is not about limits.

    Args:
        headers: of the answer.
        status: its HTTP status.
        text: what its body says.
        again: how often this request has met a limit before.
    """
    limited = status == 200 and '"RATE_LIMITED"' in text  # as GraphQL says it
    if status not in (403, 429, 503) and not limited:
        return 0.0, ""
    after = _after(headers)
    if after is not None:
        # Who comes back too early again and again waits longer than was asked.
        why = "GitHub's secondary rate limit" if status == 403 else f"the server answered {status}"
        return max(after, LEAST) * (1 if again < 2 else 2 ** (again - 1)), why
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        seconds = float(reset) - _now(headers) if reset.isdigit() else SECONDARY
        return max(seconds, LEAST) + again, "GitHub's rate limit is used up"
    lower = text.lower()
    if status == 429 or limited or "rate limit" in lower or "abuse detection" in lower:
        return SECONDARY * 2**again, "GitHub's secondary rate limit"
    return 0.0, ""


def _after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds by the server's own clock; None without one."""
    return retry_after.seconds(headers.get("retry-after", ""), _now(headers))


def _now(headers: Mapping[str, str]) -> float:
    """The server's own clock, in seconds since 1970; ours may be wrong."""
    said = retry_after.moment(headers.get("date", ""))
    return time.time() if said is None else said
