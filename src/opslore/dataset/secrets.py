"""Secrets and personal data: found by many detectors, each masked with a placeholder of its type.

detect-secrets gives the patterns of known tokens; ours add what it misses (docs/decisions/0015).
Only its plugins' `analyze_string` is called, which reads no settings, asks no server and keeps
nothing between calls. A detector runs where one of its hints stands: most text has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from opslore.cards import Document
from opslore.errors import DataError


class Masked(NamedTuple):
    """A text in which what was found is replaced."""

    text: str
    found: dict[str, int]
    """Placeholder's type (`API_TOKEN`, `EMAIL`) -> how often."""


Span = tuple[int, int]


@dataclass(frozen=True)
class Detector:
    """Finds one kind of thing."""

    name: str
    mask: str
    """The placeholder is `<mask>`."""
    hints: tuple[str, ...]
    """It runs on the lines that hold one of these; without hints, on the whole text."""
    find: Callable[[str], Iterator[Span]]
    folded: bool = False
    """The hints are looked for in lower case."""


class Scanner:
    """Masks what a dataset may not hold."""

    def __init__(self, detectors: tuple[Detector, ...] = ()) -> None:
        """Take these detectors, or all there are."""
        self.detectors = detectors or _all()

    def masked(self, text: str, where: str = "") -> Masked:
        """Replace every secret and every piece of personal data.

        Args:
            text: what may become part of a dataset.
            where: the document, for the error.

        Raises:
            DataError: a detector failed; nothing that it did not read may go on.
        """
        spans = self.spans(text, where)
        if not spans:
            return Masked(text, {})
        found: dict[str, int] = {}
        parts: list[str] = []
        at = 0
        for start, end, mask in _merged(spans):
            parts += [text[at:start], f"<{mask}>"]
            found[mask] = found.get(mask, 0) + 1
            at = end
        return Masked("".join([*parts, text[at:]]), found)

    def document(self, document: Document) -> Document:
        """A document whose every text is masked, for a folder that others may see.

        Raises:
            DataError: a detector failed.
        """

        def clean(text: str) -> str:
            return self.masked(text, document.id).text

        turns = [turn.model_copy(update={"text": clean(turn.text)}) for turn in document.turns]
        changed = {name: clean(getattr(document, name)) for name in ("title", "text", "symptoms")}
        return document.model_copy(update={**changed, "turns": turns})

    def spans(self, text: str, where: str = "") -> list[tuple[int, int, str]]:
        """Everything found, as offsets and type; spans may overlap.

        Raises:
            DataError: a detector failed.
        """
        lower = text.lower()
        # A few letters change their length in lower case, and offsets with it.
        lower = lower if len(lower) == len(text) else text
        out: list[tuple[int, int, str]] = []
        for detector in self.detectors:
            try:
                out += [(a, b, detector.mask) for a, b in _run(detector, text, lower)]
            except _FAILURES as error:
                raise DataError(
                    f"{where or 'a document'}: the detector {detector.name!r} failed: "
                    f"{type(error).__name__}: {error}",
                    hint="nothing was written; report the document's text with this message",
                ) from error
        return out


_FAILURES = (
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, AssertionError, MemoryError, re.error),
)


def _run(detector: Detector, text: str, lower: str) -> Iterator[Span]:
    if not detector.hints:
        yield from detector.find(text)
        return
    seen = -1
    for start in _lines(detector.hints, lower if detector.folded else text, text):
        if start > seen:
            seen = start
            end = text.find("\n", start)
            line = text[start : end if end >= 0 else len(text)]
            yield from ((start + a, start + b) for a, b in detector.find(line))


def _lines(hints: tuple[str, ...], haystack: str, text: str) -> list[int]:
    """Where the lines begin that hold a hint, in order."""
    starts: set[int] = set()
    for hint in hints:
        at = haystack.find(hint)
        while at >= 0:
            starts.add(text.rfind("\n", 0, at) + 1)
            at = text.find("\n", at)
            at = haystack.find(hint, at) if at >= 0 else -1
    return sorted(starts)


def _merged(spans: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Overlapping spans as one, with the type of the longest."""
    current: tuple[int, int, str, int] | None = None
    for start, end, mask in sorted(spans):
        if current is None or start >= current[1]:
            if current is not None:
                yield current[:3]
            current = (start, end, mask, end - start)
            continue
        longer = end - start > current[3]
        current = (
            current[0],
            max(end, current[1]),
            mask if longer else current[2],
            max(end - start, current[3]),
        )
    if current is not None:
        yield current[:3]


@cache
def _all() -> tuple[Detector, ...]:
    from opslore.dataset import personal, tokens

    return (*tokens.detectors(), *personal.detectors())
