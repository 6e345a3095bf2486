"""Orders to a model inside text: "ignore previous instructions" and its kin, however spelled.

English is read without its spaces and signs, with look-alike letters and digits put back, so that
`1gn0re  pr-evious inst ructions` is found; other languages by their own words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypeVar

_SIGNS = bytes.maketrans(b"0134578@$!|l", b"oieastbasiii")
"""Digits and signs that stand for letters; `l` and `1` look like `i`, in the patterns too."""
_DROP = bytes(byte for byte in range(256) if byte not in b"abcdefghijkmnopqrstuvwxyz")


@dataclass(frozen=True)
class _Patterns:
    english: re.Pattern[bytes]
    hints: re.Pattern[bytes]
    others: re.Pattern[str]
    others_hint: re.Pattern[str]
    markers: re.Pattern[str]
    alike: dict[int, str]
    verbs: tuple[str, ...]


def found(text: str) -> str:
    """Which order to a model a text holds; empty when there is none."""
    known = _patterns()
    if marker := known.markers.search(text):
        return f"a sign of a chat template ({marker.group()})"
    if text.isascii():
        latin = folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", text).lower()
        # A letter with an accent becomes the letter and a sign, which is dropped below.
        latin = unicodedata.normalize("NFKD", folded).translate(known.alike)
    # Most text is ASCII without any of these verbs, and a plain search for a few words is fast.
    foreign = not text.isascii() or any(verb in folded for verb in known.verbs)
    if foreign and (other := _near(known.others_hint, known.others, folded)):
        return f"an order to a model ({' '.join(other.split())[:60]})"
    squashed = latin.encode("ascii", "ignore").translate(_SIGNS).translate(None, _DROP)
    if said := _near(known.hints, known.english, squashed):
        return f"an order to a model ({said.decode()[:60]})"
    return ""


AROUND = 120
"""Characters before and behind a hint in which the whole order stands."""

S = TypeVar("S", str, bytes)


def _near(hints: re.Pattern[S], pattern: re.Pattern[S], text: S) -> S | None:
    """What a pattern finds around one of its hints; most texts have none."""
    until = 0
    for hint in hints.finditer(text):
        if hint.end() <= until:
            continue
        until = hint.end() + AROUND
        if found := pattern.search(text, max(0, hint.start() - AROUND), until):
            return found.group()
    return None


@cache
def _patterns() -> _Patterns:
    file = resources.files("opslore.dataset") / "data" / "orders.json"
    given = json.loads(file.read_text("utf-8"))
    return _Patterns(
        english=re.compile("|".join(given["english"]).encode().translate(_SIGNS_IN_WORDS)),
        hints=re.compile("|".join(given["hints"]).encode().translate(_SIGNS_IN_WORDS)),
        others=re.compile("|".join(given["others"])),
        others_hint=re.compile(given["others_hint"]),
        markers=re.compile("|".join(given["markers"])),
        alike=str.maketrans(given["alike"]),
        verbs=tuple(given["verbs"]),
    )


_SIGNS_IN_WORDS = bytes.maketrans(b"l", b"i")
