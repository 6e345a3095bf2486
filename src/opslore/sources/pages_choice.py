"""Which files or addresses to read: glob patterns with `**`, as everybody writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache


def left_out(name: str, include: Sequence[str], exclude: Sequence[str]) -> str:
    """Why a path or an address is not read; empty when it is.

    A pattern without `/` is about the last part of the name, wherever it stands.
    """
    if include and not any(_matches(name, pattern) for pattern in include):
        return "not in collect.include"
    found = next((pattern for pattern in exclude if _matches(name, pattern)), "")
    return f"in collect.exclude: {found}" if found else ""


def _matches(name: str, pattern: str) -> bool:
    return bool(_compiled(pattern).fullmatch(name))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    bare = pattern.removeprefix("./").lstrip("/")
    out = "(?:.*/)?" if "/" not in bare else "(?:https?://[^/]*/|/)?"
    if bare.startswith(("http://", "https://")):
        out = ""
    for piece in re.split(r"(\*\*/?|\*|\?)", bare.removesuffix("/")):
        known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        out += known.get(piece, re.escape(piece))
    # The name of a folder is all that is in it.
    return re.compile(out + "(?:/.*)?", re.DOTALL)
