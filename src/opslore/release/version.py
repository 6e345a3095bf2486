"""The name of a release: the day its bundle was made and the bundle's digest."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from opslore.errors import DataError

VERSION = re.compile(r"v[0-9]{8}-[0-9a-f]{8}")
"""What a version looks like; safe inside a path, a registry filter and a tag."""


def version(bundle_id: str, created: str) -> str:
    """Name the release of a bundle: `v{YYYYMMDD}-{first 8 hex digits of the bundle's id}`.

    Args:
        bundle_id: the bundle card's id, 64 hex digits.
        created: the bundle card's time, ISO 8601; the day is taken in UTC, so that the same
            bundle has the same version wherever it is published.

    Raises:
        DataError: the id is no digest or the time is no time.
    """
    if not re.fullmatch(r"[0-9a-f]{8,64}", bundle_id):
        raise DataError(f"bundle id {bundle_id!r} is not a SHA-256 in lower-case hex digits")
    try:
        made = datetime.fromisoformat(created)
    except ValueError as error:
        raise DataError(f"bundle {bundle_id[:8]}: {created!r} is not an ISO 8601 time") from error
    moment = made.astimezone(UTC) if made.tzinfo else made
    return f"v{moment:%Y%m%d}-{bundle_id[:8]}"


def checked(name: str) -> str:
    """The version itself, if it is one.

    Raises:
        DataError: the name is not `v{YYYYMMDD}-{8 hex}` and could be anything, `../..` too.
    """
    if not VERSION.fullmatch(name):
        raise DataError(
            f"{name!r} is not a release version", hint="one looks like v20260131-0123abcd"
        )
    return name
