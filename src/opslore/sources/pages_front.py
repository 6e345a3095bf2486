"""What a page says about itself: the front matter, read as text so that `1.10` stays `1.10`."""

from __future__ import annotations

import io
import re
import tomllib
from typing import Any

from opslore.sources.markdown import front_matter

MAX_CHARACTERS = 1 << 16
"""Longer front matter is read pair by pair."""

_DATES = ("lastmod", "last_modified", "last_updated", "last_update", "updated", "date")
_VERSION = re.compile(r"v?\d+\.(?:\d+|x)(?:\.(?:\d+|x))?")


def split(text: str) -> tuple[dict[str, str], str]:
    """The top-level values of the front matter, and the text with its lines blanked."""
    pairs, body = front_matter(text)
    if body == text:
        return {}, text
    lines = text.split("\n")
    end = next(at for at in range(1, len(lines)) if lines[at].rstrip() in (text[:3], "..."))
    inner = "\n".join(lines[1:end])
    found: Any = None
    if len(inner) <= MAX_CHARACTERS:
        found = _toml(inner) if text.startswith("+++") else _yaml(inner)
    if isinstance(found, dict):
        pairs = {
            str(key).lower(): str(value).strip()
            for key, value in found.items()
            if isinstance(value, str | int | float | bool) or hasattr(value, "isoformat")
        }
    return pairs, body


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="base", pure=True).load(io.StringIO(text))
    except (YAMLError, ValueError, TypeError, RecursionError, KeyError):
        return None  # read pair by pair instead


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def is_draft(front: dict[str, str]) -> bool:
    """Whether the page says that it is not to be published."""
    return front.get("draft", "").lower() in ("true", "yes", "1")


def updated(front: dict[str, str]) -> str:
    """When the page says it was last changed; empty when it does not."""
    return next((front[key] for key in _DATES if front.get(key)), "")


def version_of(front: dict[str, str], path: str) -> str:
    """The version a page is about: its own word, or a folder such as `2.14` or `v1.28`."""
    said = front.get("version", "")
    folders = [part for part in path.split("/")[:-1] if _VERSION.fullmatch(part)]
    return said or (folders[-1] if folders else "")
