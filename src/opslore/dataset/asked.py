"""Questions that people wrote (JSON Lines), with the alert that each is about.

A line is `{"question": "...", "alert": "KubePodCrashLooping", "labels": {"namespace": "shop"},
"also": [], "why": "..."}`; `alert: null` says that the right answer is to ask a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from opslore.cards import ESCALATE, Record
from opslore.dataset.phrasing import Question
from opslore.errors import DataError
from opslore.index import Entry, Index

MAX_BYTES = 8 << 20
"""A file of questions; nobody writes more by hand."""

FAMILY = "people"


class Row(Record):
    """One line of the file."""

    question: Annotated[str, Field(min_length=1)]
    alert: str | None
    """Name of the alert; None when the runbook has no answer."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What the question states, as a careful reader reads it."""
    also: list[str] = Field(default_factory=list)
    """Names of other alerts whose command is right too."""
    why: str = ""
    line: int = 0
    """Line in the file, from 1; not in the file itself."""

    def asks_as(self, family: str) -> Question:
        """The row as a question of a phrasing family."""
        return Question(self.question, family, self.labels)


class Asked(Record):
    """A question with the entries that answer it."""

    row: Row
    entry: Entry | None
    """None: a person is to be asked."""
    also: list[Entry] = Field(default_factory=list)

    def answers(self) -> list[str]:
        """The commands of the other right alerts."""
        return [e.answer for e in self.also if e.answer != ESCALATE]


def read(path: Path, index: Index) -> list[Asked]:
    """Every question of a file, with its alert's entry.

    Raises:
        DataError: the file is missing or too large; a line is no such question, repeats another,
            or names an alert that the runbook does not have.
    """
    out: list[Asked] = []
    lines: dict[str, int] = {}
    for row in rows(*_text(path), Row):
        where = f"{path}:{row.line}"
        flat = " ".join(row.question.split()).lower()
        if lines.setdefault(flat, row.line) != row.line:
            raise DataError(f"{where}: the same question stands in line {lines[flat]}")
        named = [row.alert, *row.also] if row.alert is not None else []
        found = [_known(name, index, where) for name in named]
        out.append(Asked(row=row, entry=found[0] if found else None, also=found[1:]))
    return out


def facts(path: str) -> list[str]:
    """What a dataset depends on beside its settings: the digest of the questions, if there are any.

    Raises:
        DataError: the file is missing or too large, or no text.
    """
    return [hashlib.sha256(_text(Path(path))[1].encode()).hexdigest()] if path else []


def find(name: str | None, index: Index) -> Entry | None:
    """The entry with this name; of several the first that has a command."""
    among = [e for e in index.entries if name and e.title.lower() == name.lower()]
    return next((e for e in among if e.answer != ESCALATE), among[0] if among else None)


def _known(name: str, index: Index, where: str) -> Entry:
    entry = find(name, index)
    if entry is None:
        raise DataError(
            f"{where}: the runbook has no alert {name!r}",
            hint="write its name as the runbook does, or null if a person is to be asked",
        )
    return entry


R = TypeVar("R", bound=Row)


def rows(name: str, text: str, kind: type[R]) -> Iterator[R]:
    """The lines of a file; empty ones are skipped.

    Raises:
        DataError: a line is no such question.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{name}:{number}: not a question: {at + ': ' if at else ''}{first['msg']}",
                hint='a line is {"question": "...", "alert": "NAME" or null, "labels": {}}',
            ) from error
        yield row.model_copy(update={"line": number})


def packaged(name: str) -> tuple[str, str]:
    """Name and text of a data file of this room; no text when it is not there."""
    found = files("opslore.dataset") / "data" / f"{name}.jsonl"
    return found.name, found.read_text("utf-8") if found.is_file() else ""


def _text(path: Path) -> tuple[str, str]:
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise DataError(f"{path}: {len(raw)} bytes; questions have at most {MAX_BYTES}")
        return str(path), raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}",
            hint="set prepare.questions to the file, or leave it empty",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} is no UTF-8", hint="save the file as UTF-8"
        ) from error
