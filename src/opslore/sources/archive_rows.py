"""The rows of a JSON file, one at a time: JSON Lines, a JSON list, or one JSON value.

Memory holds one row and a piece of the file, except for a single JSON object, which is one row.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

PIECE = 1 << 20
"""Bytes read at once."""
LONGEST = 64 << 20
"""Bytes of the longest row of JSON Lines or of a list."""
WHOLE = 1 << 30
"""Bytes of the largest file that is one JSON object (an archive of a whole repository)."""


class Row(NamedTuple):
    """One value of the file, or why it is none."""

    line: int
    """Line it begins on, from 1."""
    value: Any = None
    reason: str = ""


def rows(path: Path) -> Iterator[Row]:
    """Every row of a file; a damaged one has a reason.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = _head(file)
        if head[:1] == b"[":
            yield from _listed(file)
        elif head[:1] == b"{" and not _is_lines(head):
            yield from _single(file)
        else:
            yield from _lined(file)


def _head(file: IO[bytes]) -> bytes:
    """The beginning of the file; it is read from the start again."""
    head = file.read(PIECE).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    return head


def _is_lines(head: bytes) -> bool:
    """Whether the first line is a value of its own."""
    first, newline, rest = head.partition(b"\n")
    if not newline or not rest.strip():
        return _value(first)[1] == ""
    return _value(first)[1] == "" or (len(first) > 2 and rest.lstrip()[:1] == b"{")


def _value(data: bytes) -> tuple[Any, str]:
    """A JSON value, or what is wrong."""
    try:
        return json.loads(data.decode("utf-8")), ""
    except UnicodeDecodeError as error:
        return None, f"not UTF-8: byte {error.start}; save the file as UTF-8"
    except (ValueError, RecursionError) as error:
        return None, f"no JSON: {error}"


def _single(file: IO[bytes]) -> Iterator[Row]:
    size = os.fstat(file.fileno()).st_size
    if size > WHOLE:
        yield Row(1, None, f"{size} bytes in one JSON object; the limit is {WHOLE} bytes")
        return
    value, reason = _value(file.read().removeprefix(codecs.BOM_UTF8))
    if reason.startswith("no JSON: Extra data"):  # JSON Lines whose first line is very long
        file.seek(0)
        yield from _lined(file)
    else:
        yield Row(1, value, reason)


def _lined(file: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            while line and not line.endswith(b"\n"):
                line = file.readline(PIECE)
            yield Row(number, None, f"longer than {LONGEST} bytes")
            continue
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if text.strip():
            value, reason = _value(text)
            yield Row(number, value, reason)


def _listed(file: IO[bytes]) -> Iterator[Row]:
    """The elements of a JSON list; after a broken one nothing of the list can be trusted."""
    decoder = json.JSONDecoder()
    reader = _Pieces(file)
    reader.skip("[")
    while True:
        reader.skip(", ")
        if not reader.more():
            yield Row(reader.line, None, "the list does not end: the file was cut off here")
            return
        if reader.text[reader.at] == "]":
            return
        try:
            value, end = decoder.raw_decode(reader.text, reader.at)
        except (ValueError, RecursionError) as error:
            if not isinstance(error, RecursionError) and reader.grow():
                continue
            said = str(error).partition(": line")[0]
            yield Row(reader.line, None, f"no JSON: {said}; what follows it is not read")
            return
        if end == len(reader.text) and reader.grow():
            continue  # a number at the end of a piece may go on
        yield Row(reader.line, value)
        reader.take(end)


class _Pieces:
    """The text of a file, a piece at a time, with the line it is at."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self.text, self.at, self.line = "", 0, 1
        self.size = PIECE

    def grow(self) -> bool:
        """Read more; twice as much as before, so that a long row costs no square of its length."""
        self.text, self.at = self.text[self.at :], 0
        if len(self.text) > LONGEST:
            return False
        self.size = max(PIECE, len(self.text))
        data = self.file.read(self.size)
        self.text += self.decoder.decode(data, final=not data)
        return bool(data)

    def more(self) -> bool:
        """Whether there is anything left."""
        return self.at < len(self.text) or self.grow()

    def take(self, end: int) -> None:
        """Go on behind a value."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def skip(self, signs: str) -> None:
        """Go on behind blanks and each of these signs."""
        while self.more():
            sign = self.text[self.at]
            if not sign.isspace() and sign not in signs:
                return
            if sign == "[":
                signs = ""  # the list's own bracket, once
            self.take(self.at + 1)
