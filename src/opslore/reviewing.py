"""The desk where persons decide: what waits in the newest dataset, and what was decided before."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from opslore import commands, steps, store
from opslore.cards import Dataset, Span
from opslore.config import Agent
from opslore.dataset import approved
from opslore.dataset.approved import Approved, Decision, Waiting
from opslore.dataset.prescribed import prescribed
from opslore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

WAITING = "waiting.jsonl"
"""The file of a dataset's folder that lists what waits."""

_WORST = ("read", "reversible", "unknown", "disruptive", "destructive", "denied")


class Desk:
    """Rows that wait, and the file of decisions."""

    def __init__(self, rows: list[Waiting], path: Path) -> None:
        self.rows = rows
        self.path = path

    def waiting(self) -> list[Waiting]:
        """What nobody decided yet; the file is read anew, for another reviewer may be at it."""
        return approved.waiting(self.rows, Approved.read(self.path))

    def row(self, key: str) -> Waiting:
        """The row with this key or its beginning; one that was decided before, too.

        Raises:
            ConfigError: there is none, or more than one.
        """
        decided = Approved.read(self.path).decisions.values()
        rows = [*map(_again, decided), *self.rows]
        found = {row.key: row for row in rows if key and row.key.startswith(key)}
        if len(found) != 1:
            raise ConfigError(
                f"{key!r} is the beginning of {len(found)} keys",
                hint="`opslore review AGENT.yaml --list` shows every key",
            )
        return next(iter(found.values()))

    def decide(self, row: Waiting, what: str, text: str = "") -> None:
        """Write a decision down.

        Raises:
            DataError: an edit without a text.
            IntegrityError: the file has a line that is no decision.
        """
        if what == "edit" and not text.strip():
            raise DataError("the edited answer is empty", hint="reject the row instead")
        # What a person saw is what is approved: a quarantined row may hold commands, too.
        seen = [*row.commands, *prescribed(row.answer)]
        allowed = prescribed(text) if what == "edit" else list(dict.fromkeys(seen))
        decision = Decision(
            key=row.key,
            decision=cast(Literal["approve", "reject", "edit"], what),
            commands=[] if what == "reject" else allowed,
            text=text.strip() if what == "edit" else "",
            who=approved.who(),
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            question=row.question,
            answer=row.answer,
            url=row.url,
        )
        approved.decide(self.path, decision)

    def worst(self, row: Waiting) -> str:
        """The highest risk among a row's commands."""
        levels = [commands.risk(command).level for command in row.commands]
        return max(levels, key=_rank, default="read")


def _again(decision: Decision) -> Waiting:
    """A row that no longer waits, as it was when it was decided."""
    return Waiting(
        key=decision.key,
        kind="command",
        question=decision.question,
        answer=decision.answer,
        commands=prescribed(decision.answer),
        url=decision.url,
        source=Span(file=decision.url, first=1, last=1),
    )


def _rank(level: str) -> int:
    return _WORST.index(level) if level in _WORST else len(_WORST)


def desk(agent: Agent) -> Desk:
    """The desk of the newest dataset.

    Raises:
        MissingInput: nothing was prepared yet.
    """
    home = steps.store_of(agent)
    file = home.path(home.latest(Dataset)) / WAITING
    rows = list(store.read_rows(file, Waiting)) if file.is_file() else []
    return Desk(rows, Path(agent.prepare.answers.approvals).expanduser())


def interactive(at: Desk) -> int:
    """Show each row and ask what to do with it; returns how many were decided."""
    from rich.console import Console

    screen = Console(file=sys.stdout, highlight=False)
    rows, decided = at.waiting(), 0
    for number, row in enumerate(rows, 1):
        _show(screen, at, row, f"{number} of {len(rows)}")
        while (said := _ask()) not in ("a", "e", "r", "s", "q"):
            screen.print("a, e, r, s or q")
        if said == "q":
            break
        if said == "e":
            text = _edited(screen)
            if not text.strip():
                screen.print("nothing written: skipped")
                continue
            at.decide(row, "edit", text)
        elif said in ("a", "r"):
            at.decide(row, "approve" if said == "a" else "reject")
        decided += said in ("a", "e", "r")
    return decided


def _ask() -> str:
    try:
        return input("[a]pprove  [e]dit  [r]eject  [s]kip  [q]uit: ").strip().lower()[:1]
    except EOFError:
        return "q"


def _edited(screen: Console) -> str:
    screen.print("write the whole answer; a line with a single dot ends it")
    lines: list[str] = []
    try:
        while (line := input()) != ".":
            lines.append(line)
    except EOFError:
        pass
    return "\n".join(lines)


def _show(screen: Console, at: Desk, row: Waiting, place: str) -> None:
    from rich.panel import Panel
    from rich.text import Text

    body = Text(legible(row.question) + "\n\n", style="bold")
    body.append(legible(row.answer) + "\n", style="not bold")
    for command in row.commands:
        level = commands.risk(command).level
        body.append(f"\n$ {legible(command)}", style="not bold cyan")
        body.append(f"  {level}", style="not bold red" if _rank(level) > 1 else "not bold")
    if row.reason:
        body.append(f"\n{row.reason}", style="not bold red")
    who = f"{row.author or 'unknown'} {row.trust} {row.url}".strip()
    screen.print(Panel(body, title=f"{place}  {row.key}", subtitle=Text(legible(who))))


def legible(text: str) -> str:
    """A text as a person must see it: what has no glyph is written as its number."""
    return "".join(
        c if c == "\n" or c == "\t" or c.isprintable() else f"<U+{ord(c):04X}>" for c in text
    )
