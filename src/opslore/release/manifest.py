"""What an archive promises: every file by name, with its size and digest, within limits."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from opslore.cards import Record

MANIFEST = "MANIFEST.json"

MAX_FILES = 1000
"""A release has about ten files."""
MAX_BYTES = 64 << 30
"""64 GiB unpacked: a 32 B model in f16; ours are a thousand times smaller."""
MAX_MANIFEST = 1 << 20
"""Bytes of the manifest itself."""
MAX_NAME = 100
"""Bytes of a name that fit a tar header without an extension record."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class Entry(Record):
    """What the manifest promises of one file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=MAX_BYTES)]
    """Bytes."""


class Manifest(Record):
    """Every file of an archive, by name."""

    format: Literal[1] = 1
    files: Annotated[dict[str, Entry], Field(min_length=1, max_length=MAX_FILES)]


def is_name(name: str) -> bool:
    """Whether a file may have this name: relative, no `..`, nothing hidden, at most 100 bytes."""
    return len(name) <= MAX_NAME and name != MANIFEST and _NAME.fullmatch(name) is not None


def inside_another(files: dict[str, Entry]) -> str:
    """The first name that would need another file to be a folder (`a` and `a/b`), or ""."""
    for name in files:
        parts = name.split("/")
        if any("/".join(parts[:n]) in files for n in range(1, len(parts))):
            return name
    return ""
