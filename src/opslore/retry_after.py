"""What a server asks for with `Retry-After` (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds(text: str, now: float | None = None) -> float | None:
    """Seconds to wait: the header has a number or a date; None when it says neither.

    Args:
        text: the header's value.
        now: the server's own clock in seconds since 1970, if it is known; ours may be wrong.
    """
    text = text.strip()
    if text.isdigit():
        return float(text[:9])
    until = moment(text)
    if until is None:
        return None
    return max(0.0, until - (time.time() if now is None else now))


def moment(text: str) -> float | None:
    """A date of HTTP in seconds since 1970; None when it is none."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
