"""What persons decided about rows that wait: a readable JSON Lines file, kept with the agent file.

A decision holds for one question with one answer, by their digest: when the source is edited, the
row waits again. The newest decision counts; older ones stay in the file as its history.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from opslore import files
from opslore.cards import Record, Span, Trust
from opslore.errors import IntegrityError


class Waiting(Record):
    """A row of the dataset that waits for a person; `prepare` writes them to waiting.jsonl."""

    key: str
    """Digest of question and answer, see `key`: edited text asks again."""
    kind: Literal["command", "quarantined"]
    """A maintainer's answer with commands, or text that looks like an attack."""
    reason: str = ""
    """What is wrong with it; empty for `command`."""
    question: str
    answer: str
    commands: list[str] = Field(default_factory=list)
    """Every command in the answer (`prescribed.prescribed`)."""
    author: str = ""
    trust: Trust = "T3"
    url: str = ""
    source: Span
    origin: str = ""


class Decision(Record):
    """One line of the approvals file."""

    key: str
    decision: Literal["approve", "reject", "edit"]
    commands: list[str]
    """The commands that may be learned."""
    text: str = ""
    """The whole answer after an edit."""
    who: str
    when: str
    """ISO 8601, UTC."""
    question: str
    """For people who read the file; the key decides."""
    answer: str = ""
    """What the person saw, so that a mind can be changed later."""
    url: str = ""


def key(question: str, answer: str) -> str:
    """The name of a question with its answer (16 hex digits)."""
    said = f"{_flat(question)}\0{_flat(answer)}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


class Approved:
    """The decisions of a file, the newest of each key."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self.decisions = {decision.key: decision for decision in decisions}

    @classmethod
    def read(cls, path: Path) -> Approved:
        """Read an approvals file; one that is not there has no decisions.

        Raises:
            IntegrityError: a line is no decision; the file is a person's and is not mended.
        """
        return cls(rows(path))

    @property
    def digest(self) -> str:
        """Digest of what was decided: a dataset depends on it."""
        said = sorted(
            f"{d.key} {d.decision} {d.text} {d.commands}" for d in self.decisions.values()
        )
        return hashlib.sha256("\n".join(said).encode()).hexdigest()

    def allows(self, example_key: str, command: str) -> bool:
        """Whether a person approved this very command in this very answer."""
        found = self.decisions.get(example_key)
        if found is None or found.decision == "reject":
            return False
        return _flat(command) in {_flat(one) for one in found.commands}

    def released(self, example_key: str) -> bool:
        """Whether a person approved or edited a quarantined row."""
        found = self.decisions.get(example_key)
        return found is not None and found.decision != "reject"

    def rejected(self, example_key: str) -> bool:
        """Whether a person said no."""
        found = self.decisions.get(example_key)
        return found is not None and found.decision == "reject"

    def answer(self, example_key: str, answer: str) -> str:
        """The answer that is learned: the edited text where a person wrote one."""
        found = self.decisions.get(example_key)
        return found.text if found is not None and found.decision == "edit" else answer


def rows(path: Path) -> list[Decision]:
    """Every decision of a file in the order they were made, superseded ones included.

    Raises:
        IntegrityError: a line is no decision.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: list[Decision] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Decision.model_validate_json(line))
        except ValidationError as error:
            raise IntegrityError(
                f"{path}:{number}: not a decision: {error.errors()[0]['msg']}",
                hint=f"mend or delete line {number} of {path}; that row then waits again",
            ) from error
    return found


def decide(path: Path, decision: Decision) -> None:
    """Add a decision; two reviewers at once lose nothing, and a crash leaves no half line.

    Raises:
        IntegrityError: the file has a line that is no decision.
        ServerError: another reviewer held the lock too long (retryable).
    """
    with files.alone(path.with_name(f".{path.name}.lock")):
        rows(path)
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        files.write(path, before + decision.model_dump_json().encode() + b"\n")


def waiting(rows_: Iterable[Waiting], approved: Approved) -> list[Waiting]:
    """The rows that nobody decided yet, each once."""
    found = {row.key: row for row in rows_ if row.key not in approved.decisions}
    return list(found.values())


def who() -> str:
    """Who decides: OPSLORE_USER, or the login of this machine."""
    import getpass

    try:
        return os.environ.get("OPSLORE_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user in a container
        return f"uid {os.getuid()}"


def _flat(text: str) -> str:
    return " ".join(text.split())
