"""A command with its arguments masked: what is left when every name and value is taken out."""

from __future__ import annotations

from opslore.commands.canonical import form
from opslore.commands.render import Unit, render

BLANK = "_"
"""Stands for every masked value."""


def template(command: str) -> str:
    """The canonical form with holes and argument values masked; "" when it is not parseable."""
    found = form(command)
    return "" if found.reason else render([_masked(unit) for unit in found.units])


def _masked(unit: Unit) -> Unit:
    kubernetes = unit.program in ("kubectl", "oc")
    return unit._replace(
        arguments=tuple(_argument(text, kubernetes) for text in unit.arguments),
        flags=tuple((name, None if value is None else BLANK) for name, value in unit.flags),
        inner=tuple(_masked(inner) for inner in unit.inner),
        after=tuple(BLANK for _ in unit.after),
        assignments=tuple(f"{text.partition('=')[0]}={BLANK}" for text in unit.assignments),
        redirects=tuple(_redirect(text) for text in unit.redirects),
        clauses=tuple(
            (label, tuple(_masked(inner) for inner in body)) for label, body in unit.clauses
        ),
    )


def _argument(text: str, kubernetes: bool) -> str:
    """A resource keeps its kind; every other argument is masked."""
    kind, slash, _ = text.strip("\"'").partition("/")
    if kubernetes and kind.replace(",", "").replace(".", "").isalpha():
        return f"{kind}/{BLANK}" if slash else text
    return BLANK


def _redirect(text: str) -> str:
    operator, space, _ = text.partition(" ")
    return f"{operator} {BLANK}" if space and "\n" not in text else text.partition("\n")[0]
