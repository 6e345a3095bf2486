"""Files to clean text: which files of a folder count, how bytes become lines, what was refused.

Lines are what an editor shows: LF, CRLF and CR end one, nothing else does, and no cleaning here
ever adds or removes a line, so a line number found later is the file's own.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from opslore.cards import Dropped, Span

MAX_BYTES = 20 << 20
"""Largest file that is read; the largest real runbook seen has 0.4 MB."""

MARKDOWN = (".md", ".markdown")

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Cf is zero-width and bidi marks, Cc is control codes (an ESC repaints a terminal), Zs without the
# space is blanks that bash takes for letters, Zl and Zp are line breaks that Markdown ignores.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


class Unreadable(Exception):
    """A file that cannot be read; the message is the reason that goes into `dropped.jsonl`."""


def printable(path: str | Path) -> str:
    """A path as valid Unicode: bytes of a name that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def walk(
    folder: Path, dropped: list[Dropped], suffixes: tuple[str, ...] = MARKDOWN
) -> Iterator[Path]:
    """The Markdown files below a folder, sorted; each real file once, links kept inside it.

    Other suffixes may be asked for.

    Everything passed over is added to `dropped` with its reason.
    """
    inside = os.path.realpath(folder)
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        dropped.append(
            Dropped(what=printable(error.filename), reason=f"unreadable: {error.strerror}")
        )

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refused):
        folders[:] = [
            name for name in sorted(folders) if _enter(Path(parent, name), inside, seen, dropped)
        ]
        for name in sorted(files):
            path = Path(parent, name)
            reason = _refusal(path, inside, seen, suffixes)
            if reason:
                dropped.append(Dropped(what=printable(path), reason=reason))
            else:
                yield path


def _enter(path: Path, inside: str, seen: set[tuple[int, int]], dropped: list[Dropped]) -> bool:
    reason = ""
    if path.name.startswith("."):
        reason = "hidden folder"
    else:
        try:
            reason = _elsewhere(path, path.stat(), inside, seen)
        except OSError as error:
            reason = f"unreadable: {error.strerror}"
    if reason:
        dropped.append(Dropped(what=printable(path), reason=reason))
    return not reason


def _refusal(path: Path, inside: str, seen: set[tuple[int, int]], suffixes: tuple[str, ...]) -> str:
    if path.suffix.lower() not in suffixes:
        what = "Markdown" if suffixes == MARKDOWN else "documentation"
        return f"not a {what} file ({', '.join(suffixes)})"
    try:
        found = path.stat()
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    return _elsewhere(path, found, inside, seen)


def _elsewhere(path: Path, found: os.stat_result, inside: str, seen: set[tuple[int, int]]) -> str:
    real = os.path.realpath(path)
    if real != inside and not real.startswith(inside.rstrip(os.sep) + os.sep):
        return "a link that leaves the folder"
    key = (found.st_dev, found.st_ino)
    if key in seen or real == inside:
        return "the same file or folder was read under another name"
    seen.add(key)
    return ""


def load(path: Path) -> bytes:
    """The bytes of a file, at most MAX_BYTES.

    Raises:
        Unreadable: no such file, no permission, a device, or too large.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("not a regular file")
        if found.st_size > MAX_BYTES:
            raise Unreadable(_too_large(found.st_size))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"unreadable: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise Unreadable(_too_large(len(raw)))
    return raw


def _too_large(size: int) -> str:
    return f"{size} bytes; the limit is {MAX_BYTES} bytes (20 MiB)"


def decode(raw: bytes, name: str, dropped: list[Dropped]) -> str:
    """Bytes to text, lines ended by LF; what had to be guessed or taken out goes to `dropped`.

    Raises:
        Unreadable: empty, binary, or a Unicode encoding that does not decode.
    """
    text = _characters(raw, name, dropped).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Unreadable("empty")
    return _visible(text, name, dropped)


def _characters(raw: bytes, name: str, dropped: list[Dropped]) -> str:
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            try:
                text = raw[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise Unreadable(
                    f"{encoding} text that breaks off at byte {error.start}"
                ) from error
            if "\0" in text:
                raise Unreadable("binary: NUL characters")
            return text
    if b"\0" in raw:
        raise Unreadable("binary: NUL bytes (or UTF-16 without a byte order mark)")
    if len(raw.translate(None, _CONTROL)) < 0.9 * len(raw):
        raise Unreadable("binary: control characters")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        dropped.append(
            Dropped(
                what="the file's encoding",
                reason="not UTF-8; read as Latin-1, so letters with accents may be wrong",
                span=Span(file=name, first=line, last=line),
            )
        )
        return _latin(raw)


_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")


def _latin(raw: bytes) -> str:
    # Windows-1252 is Latin-1 with quotes and dashes where Latin-1 has control codes.
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _visible(text: str, name: str, dropped: list[Dropped]) -> str:
    """Text without characters that nobody sees: they hide words from a reader, or break a shell."""
    if not _INVISIBLE.search(text):
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        found = _INVISIBLE.findall(line)
        if not found:
            continue
        lines[number - 1] = _INVISIBLE.sub(_replacement, line)
        kinds = Counter(f"U+{ord(char):04X}" for char in found)
        dropped.append(
            Dropped(
                what=", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items())),
                reason="invisible characters, taken out",
                span=Span(file=name, first=number, last=number),
            )
        )
    return "\n".join(lines)


def _replacement(found: re.Match[str]) -> str:
    return " " if unicodedata.category(found.group()) in ("Zs", "Zl", "Zp") else ""
