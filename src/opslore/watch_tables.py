"""What `opslore watch` shows: which alerts changed, and the proof of what was learned."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table

from opslore.changes import Change, Changes
from opslore.console import clean
from opslore.proving import Learned, Proof
from opslore.watching import Seen

SHOWN = 40
"""Rows of a table; `--json` has all of them."""

_WHAT = {"commands": "commands changed", "text": "text changed"}

_TODO = {
    "nothing": "nothing to do",
    "refused": "the gate has refused this already",
    "run": "a new release is to be made",
    "resume": "the release that was begun goes on",
}


def seen(found: Seen) -> list[RenderableType]:
    """A look: the table of what matters, then a line for the rest and what follows."""
    changes, base = found.changes, found.base
    parts: list[RenderableType] = []
    if base is None:
        parts.append(f"no release yet: {changes.total} documents are new")
    elif changes.alerts:
        parts.append(_table(changes))
    if base is not None and changes.pages:
        told = ", ".join(f"{count} {name}" for name, count in changes.pages.items())
        parts.append(f"documents: {told}")
    for name, count in changes.passed.items():
        parts.append(f"does not matter: {name}{_count(name, count)}")
    since = f" since {base.version}" if base else ""
    same = "" if changes.matters or changes.passed else f"no change{since}: "
    parts.append(f"{same}{_TODO[found.todo]}")
    return parts


def _count(name: str, count: int) -> str:
    if name.startswith("order"):
        return ""
    noun = "document" if name.startswith("pages") else "alert"
    return f" ({count} {noun}{'' if count == 1 else 's'})"


def _table(changes: Changes) -> Table:
    table = Table("alert", "", "was", "is", box=box.SIMPLE)
    for change in changes.alerts[:SHOWN]:
        table.add_row(*(clean(text) for text in _row(change)))
    if len(changes.alerts) > SHOWN:
        table.add_row(f"and {len(changes.alerts) - SHOWN} more", "", "", "")
    return table


def _row(change: Change) -> tuple[str, str, str, str]:
    what = _WHAT.get(change.what, change.what)
    old = [text for text in change.old if text not in change.new]
    new = [text for text in change.new if text not in change.old]
    if change.what == "text":
        return change.alert, f"{what}: {', '.join(change.fields)}", "", ""
    if change.what == "commands" and not (old or new):
        return change.alert, f"{what}: their order", "\n".join(change.old), "\n".join(change.new)
    return change.alert, what, "\n".join(old), "\n".join(new)


def proof(found: Proof) -> list[RenderableType]:
    """The proof: each changed alert, what is gone, the others, the verdict."""
    parts: list[RenderableType] = []
    if found.changed:
        table = Table("alert", "", "right", "old command", "learned", box=box.SIMPLE)
        for one in found.changed[:SHOWN]:
            right = f"{one.right} of {one.asked}"
            table.add_row(clean(one.alert), one.what, right, str(one.old), _learned(one))
        if len(found.changed) > SHOWN:
            table.add_row(f"and {len(found.changed) - SHOWN} more", "", "", "", "")
        parts.append(table)
    for gone in found.removed:
        offered = ", ".join(gone.offered)
        parts.append(
            f"{gone.alert}: {'STILL OFFERED: ' + offered if offered else 'what it had is gone'}"
        )
    others = found.others
    parts.append(
        f"the other alerts: {others.prompts} prompts in both evaluations, {others.won} won,"
        f" {others.lost} lost (by chance {others.p:.2g})"
        + (": WORSE" if others.worse else ": no worse")
    )
    parts += [
        f"  was right: {one.alert}: {one.expected!r}, now {one.now!r}"
        for one in others.fallen[:SHOWN]
    ]
    verdict = "the proof holds" if found.holds else "THE PROOF DOES NOT HOLD"
    parts.append(f"{verdict}: {found.before} -> {found.version}, kept in {found.kept}")
    return parts


def _learned(one: Learned) -> str:
    return one.reason or ("yes" if one.learned else "NO")
