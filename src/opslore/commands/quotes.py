"""Literal text as it is written in the canonical form."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from opslore.commands.scan import MARK, OPEN

_PLAIN = re.compile(r"[\w@%+=:,./^-]+", re.ASCII)


@lru_cache(maxsize=16_384)
def literal(text: str) -> str:
    """Text with the quotes that it needs, its JSON made compact."""
    if _PLAIN.fullmatch(text):
        return text
    return _quote(_compact(text))


def _quote(text: str) -> str:
    if _PLAIN.fullmatch(MARK.sub("_", text) if OPEN in text else text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _compact(text: str) -> str:
    """JSON with its spaces and key order taken out; any other text as it is."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(
            json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
    except (ValueError, RecursionError):
        return text
