"""Trying again: one policy for every endpoint that pages come from."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from opslore.errors import SourceError

T = TypeVar("T")

TRIES = 4
WAITS = (1.0, 4.0, 10.0)
"""Seconds before the second try, the third, ...; up to half as long again, by chance."""
PATIENCE = 120.0
"""Seconds; a server that asks for more (`Retry-After`) is reported instead."""


class Busy(SourceError):
    """A server that asks to wait."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        """Say how long.

        Args:
            message: which server, and what it said.
            after: seconds it asks for; 0 when it does not say.
        """
        wait = f"in {after:.0f} s" if after else "later"
        super().__init__(message, hint=f"run again {wait}; what was read is kept", retryable=True)
        self.after = after


def retried(ask: Callable[[], T]) -> T:
    """Do it, and again after a while when waiting may help; only for what only reads.

    Raises:
        SourceError: it cannot be mended by waiting, or not by waiting this long.
    """
    for wait in (*WAITS[: TRIES - 1], None):
        try:
            return ask()
        except SourceError as error:
            asked = error.after if isinstance(error, Busy) else 0.0
            if not error.retryable or wait is None or asked > PATIENCE:
                raise
            time.sleep(max(asked, wait * (1 + random.random() / 2)))
    raise AssertionError("the last try returns or raises")
