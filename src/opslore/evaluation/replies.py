"""Replies on disk, one line each, appended as they come: a killed run goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from opslore import store
from opslore.cards import Result

FILE = "results.jsonl"
"""The log's name in an evaluation's folder."""


class Log:
    """An append-only file of results, keyed by (column, example id)."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a torn line is forgotten, so that its prompt is asked again."""
        self.path = path
        self.found: dict[tuple[str, str], Result] = {}
        torn = False
        text = path.read_bytes() if path.is_file() else b""
        for line in text.splitlines():
            try:
                result = Result.model_validate_json(line)
            except ValidationError:
                torn = True
                continue
            self.found[result.column, result.example] = result
        if torn or not text.endswith(b"\n"):
            # Without this the next line would be glued to the torn one.
            store.write_rows(path, self.found.values())
        self.file = path.open("ab")

    def __enter__(self) -> Log:
        """Use the log in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.file.close()

    def get(self, column: str, example: str) -> Result | None:
        """The result that is there already."""
        return self.found.get((column, example))

    def add(self, result: Result) -> None:
        """Append a result; it is with the operating system when this returns."""
        self.file.write(result.model_dump_json().encode() + b"\n")
        self.file.flush()
        self.found[result.column, result.example] = result


def join(files: Sequence[Path], work: Path) -> None:
    """Put the replies of these files into an evaluation's log, as if it had asked itself.

    Raises:
        IntegrityError: a file is missing or torn.
    """
    if not files:
        return
    with Log(work / FILE) as log:
        for file in files:
            for result in store.read_rows(file, Result):
                if log.get(result.column, result.example) is None:
                    log.add(result)
