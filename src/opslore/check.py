"""One line of the pre-flight checklist."""

from __future__ import annotations

from typing import Any, Literal

from opslore.cards import Record
from opslore.errors import OpsloreError


class Check(Record):
    """One line of the checklist."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""
    """The command or edit that mends it."""
    numbers: dict[str, Any] | None = None
    """What was estimated, for programs."""


def failed(name: str, error: OpsloreError) -> Check:
    """The line of what an error stopped."""
    return Check(name=name, state="fail", found=error.message, mend=error.hint)
