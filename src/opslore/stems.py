"""Words as the index sees them: stems, the parts of CamelCase names, trigrams, runs of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

LONGEST = 12
"""Words in a row that count as quoted: more say nothing more."""

CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+")
TOKEN = re.compile(r"\w+(?:[-.]\w+)*")


def words(text: str) -> list[str]:
    """Split a name or a sentence into lower-case stems, CamelCase parts included."""
    return list(_words(text))


# The entries of a runbook are read again for every question.
@lru_cache(maxsize=50_000)
def _words(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKC", text)
    out: list[str] = []
    for token in TOKEN.findall(plain):
        parts = [p.lower() for p in CAMEL.findall(token)]
        if len(parts) > 1:
            out.append("".join(parts))
        out += parts if parts else [token.lower()]
    return tuple(_stem(w) for w in out)


def quoted(asked: Sequence[str], said: Sequence[str]) -> int:
    """Length of the longest run of stems that both have, up to `LONGEST`."""
    runs, whole = _runs(tuple(said)), tuple(asked)
    for length in range(1, LONGEST + 1):
        if not any(whole[i : i + length] in runs for i in range(len(whole) - length + 1)):
            return length - 1
    return LONGEST


@lru_cache(maxsize=512)
def _runs(said: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Every run of up to `LONGEST` words."""
    ends = range(1, LONGEST + 1)
    return frozenset(said[i : i + n] for n in ends for i in range(len(said) - n + 1))


def terms(text: str) -> list[str]:
    """The index terms of a text: stems, and trigrams of words of five letters and more."""
    out: list[str] = []
    for word in words(text):
        out.append(word)
        if len(word) >= 5:
            out += [f"#{word[i : i + 3]}" for i in range(len(word) - 2)]
    return out


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
