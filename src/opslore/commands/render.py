"""Units of the canonical form, and how they are written as one text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_PLAIN_FLAG = re.compile("[\\w.:+@%,/?-]+")
_DECLARING = frozenset({"export", "declare", "local", "readonly", "typeset"})


class Unit(NamedTuple):
    """One command in canonical form; holes are still marks."""

    operator: str
    """`;`, `&&`, `|` ... before it; "" for the first."""
    program: str = ""
    verb: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    flags: tuple[tuple[str, str | None], ...] = ()
    inner: tuple[Unit, ...] = ()
    after: tuple[str, ...] = ()
    """What follows `--` and would be read as flags without it."""
    assignments: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    clauses: tuple[tuple[str, tuple[Unit, ...]], ...] = ()
    """The labelled parts, for a loop or a condition; its keyword is the program."""
    negated: bool = False
    compound: bool = False


def render(units: Sequence[Unit]) -> str:
    """Units as text; heredoc bodies come after the line they belong to."""
    if len(units) == 1 and not (units[0].redirects or units[0].operator):
        return _line(units[0])[0]
    text, bodies = "", ""
    for unit in units:
        joint = {"": "", ";": "; ", "&": " & "}.get(unit.operator, f" {unit.operator} ")
        if bodies and unit.operator == ";":
            text, bodies, joint = f"{text}\n{bodies}", "", "\n"
        line, body = _line(unit)
        text, bodies = text + joint + line, bodies + ("\n" if bodies and body else "") + body
    return f"{text}\n{bodies}\n" if bodies else text


def _line(unit: Unit) -> tuple[str, str]:
    """A unit's own line, and the heredoc bodies that follow it."""
    if not (unit.redirects or unit.assignments or unit.negated or unit.compound):
        return " ".join(filter(None, _words(unit))), ""
    words = ["!"] if unit.negated else []
    if unit.program in _DECLARING and not unit.compound:
        words += [*_words(unit), *unit.assignments]
    else:
        words += [*unit.assignments, *(_structure(unit) if unit.compound else _words(unit))]
    bodies = []
    for redirect in unit.redirects:
        mark, _, body = redirect.partition("\n")
        words.append(mark)
        bodies += [body] if body else []
    return " ".join(filter(None, words)), "\n".join(bodies)


def _words(unit: Unit) -> list[str]:
    words = [unit.program, *unit.verb, *unit.arguments]
    for name, value in unit.flags:
        dashed, joint = _dashed(name)
        words.append(dashed if value is None else f"{dashed}{joint}{value}")
    if unit.after:
        words += ["--", *unit.after]
    if unit.inner:
        words += ["--", render(unit.inner)]
    return words


@lru_cache(maxsize=4096)
def _dashed(name: str) -> tuple[str, str]:
    """A flag as it is written, and what stands between it and its value."""
    dashed = name if name.startswith("-") else f"-{name}" if len(name) == 1 else f"--{name}"
    if not _PLAIN_FLAG.fullmatch(dashed):
        escaped = dashed.replace("'", "'\\''")
        dashed = f"'{escaped}'"
    return dashed, "=" if dashed.startswith(("--", "'--")) else " "


def _structure(unit: Unit) -> list[str]:
    if unit.program == "(":
        return [f"({_body(unit.clauses[0][1]).removesuffix('; ')})"]
    if unit.program == "{":
        return [f"{{ {_body(unit.clauses[0][1])}}}"]
    if unit.program == "for":
        values = f" in {' '.join(unit.arguments[1:])}" if unit.arguments[1:] else ""
        return [f"for {unit.arguments[0]}{values}; do {_body(unit.clauses[0][1])}done"]
    if unit.program == "function":
        return [f"{unit.arguments[0]}() {{ {_body(unit.clauses[0][1])}}}"]
    if unit.program == "case":
        rows = [f"{label}) {_body(body).removesuffix('; ')} ;;" for label, body in unit.clauses]
        return [f"case {' '.join(unit.arguments)} in {' '.join(rows)} esac"]
    if unit.clauses:
        end = "fi" if unit.program == "if" else "done"
        return ["".join(f"{label} {_body(body)}" for label, body in unit.clauses) + end]
    return list(unit.arguments)


def _body(units: tuple[Unit, ...]) -> str:
    """Commands and the separator that closes them, which a heredoc's last line already is."""
    text = render(units)
    return text if text.endswith("\n") else f"{text}; "
