"""Corrections by hand: JSON Lines that win over every other source for the same question.

The newest correction of a question counts; older ones stay in the file, and `opslore collect` says
which line won over them. A line that is wrong loses no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opslore import files
from opslore.cards import Document, Dropped, Span, Turn
from opslore.config_sources import CorrectionsSource
from opslore.errors import DataError, SourceError
from opslore.sources import Collected, Ground
from opslore.sources.chats import BadRow, Post, parsed, posts
from opslore.sources.read import printable

OLDER = "an older correction of the same question"


@dataclass(frozen=True)
class Correction:
    """One line of the file."""

    line: int
    turns: list[Post]
    when: str = ""
    who: str = ""

    @property
    def question(self) -> str:
        """What was asked last."""
        return [post.text for post in self.turns if post.role == "user"][-1]

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.turns[-1].text


def collect(source: CorrectionsSource, ground: Ground) -> Collected:
    """Read the corrections; a file that is not there yet has none.

    Raises:
        SourceError: it is there and cannot be read.
    """
    path = ground.root / Path(source.path).expanduser()
    name = _name(path, ground.root)
    newest: dict[str, Correction] = {}
    dropped: list[Dropped] = []
    for number, row in _rows(path):
        span = Span(file=name, first=number, last=number)
        if isinstance(row, str):
            dropped.append(Dropped(what=f"{name}:{number}", reason=row, span=span))
            continue
        key = same(row.question)
        if (older := newest.pop(key, None)) is not None:
            reason = f"{OLDER}; line {number} wins"
            older_span = Span(file=name, first=older.line, last=older.line)
            dropped.append(Dropped(what=older.question[:80], reason=reason, span=older_span))
        newest[key] = row
    documents = [_document(row, name) for row in newest.values()]
    return Collected(documents, dropped, "", 1 if path.exists() else 0)


def same(question: str) -> str:
    """Two questions with an equal result are the same question."""
    return " ".join(question.lower().split()).rstrip(" ?.!")


def read(path: Path) -> list[Correction]:
    """Every correction of a file that can be read, older ones included, in order.

    Raises:
        SourceError: the file is there and cannot be read.
    """
    return [row for _, row in _rows(path) if isinstance(row, Correction)]


def add(path: Path, question: str, answer: str, who: str = "") -> list[Correction]:
    """Add a correction; returns the older ones of the same question with another answer.

    The file is replaced as a whole, so a crash leaves the old one or the new one. A last line that
    an earlier crash cut short stays as a line of its own, and `opslore collect` reports it.

    Raises:
        DataError: the question or the answer is empty.
        SourceError: the file is there and cannot be read.
        ServerError: another `opslore correct` held the lock too long (retryable).
    """
    question, answer = question.strip(), answer.strip()
    for what, text in (("question", question), ("answer", answer)):
        if not text:
            raise DataError(
                f"the {what} is empty",
                hint='opslore correct AGENT.yaml "QUESTION" "RIGHT ANSWER"',
            )
    row = {
        "conversations": [
            {"from": "human", "value": question},
            {"from": "gpt", "value": answer},
        ],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"who": who} if who else {}),
    }
    path = Path(path).expanduser().resolve()  # a link stays a link
    with files.alone(path.with_name(f".{path.name}.lock")):
        before = _load(path)
        older = [c for c in read(path) if same(c.question) == same(question)]
        if before and not before.endswith(b"\n"):
            before += b"\n"
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
        files.write(path, before + line + b"\n")
    return [c for c in older if c.answer.strip() != answer]


def _rows(path: Path) -> Iterator[tuple[int, Correction | str]]:
    """Each line as a correction, or what is wrong with it."""
    data = _load(path).removeprefix(b"\xef\xbb\xbf")
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parsed(line)
            found = Correction(
                number, posts(row), str(row.get("when") or ""), str(row.get("who") or "")
            )
        except BadRow as error:
            torn = number == len(lines) or not line.rstrip().endswith(b"}")
            hint = " (a write was stopped in the middle of it?)" if torn else ""
            yield number, f"{error}{hint}; mend or delete line {number}"
        else:
            yield number, found


def _load(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SourceError(
            f"{printable(path)}: {error.strerror or error}",
            hint="corrections are one file of JSON Lines: set the path of kind: corrections to it",
        ) from error


def _document(row: Correction, name: str) -> Document:
    digest = hashlib.sha256(same(row.question).encode()).hexdigest()[:16]
    turns = [
        Turn(
            kind="comment" if number else "body",
            text=post.text,
            author=row.who if post.role == "assistant" else "user",
            association="",
            trust="T1",
            created=row.when,
        )
        for number, post in enumerate(row.turns)
    ]
    return Document(
        id=f"correction:{digest}",
        kind="correction",
        title=row.question,
        text=row.answer,
        updated=row.when,
        author=row.who,
        trust="T1",
        span=Span(file=name, first=row.line, last=row.line),
        turns=turns,
    )


def _name(path: Path, root: Path) -> str:
    """The path as spans have it: relative to where the command runs, if it is below."""
    try:
        return printable(path.absolute().relative_to(root.absolute()))
    except ValueError:
        return printable(path)
