"""The tree of a command: scripts of simple and compound commands, made of words.

`opslore.commands.parse` builds it from the tree-sitter tree; everything else reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from opslore.commands.scan import Slot


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a word.

    `text` is its literal text (quotes taken off), `bare` the same but unquoted with characters that
    the shell expands (`*`, `~`, `{a,b}`); the others keep their source text, and scripts inside.
    """

    kind: Literal["text", "bare", "variable", "substitution", "process", "expansion"]
    text: str
    scripts: tuple[Script, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command, with its quotes taken off."""

    parts: tuple[Part, ...] = ()
    text: str = field(init=False, compare=False, repr=False)
    """The word as text; what the shell would expand stays as it is written."""

    def __post_init__(self) -> None:
        parts = self.parts
        text = parts[0].text if len(parts) == 1 else "".join([part.text for part in parts])
        object.__setattr__(self, "text", text)

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def literal(self) -> str | None:
        """The word's value, or None when only a running shell could tell it."""
        if all(part.kind in ("text", "bare") for part in self.parts):
            return self.text
        return None

    @property
    def scripts(self) -> tuple[Script, ...]:
        """The commands inside its substitutions."""
        return tuple(script for part in self.parts for script in part.scripts)


def word(text: str) -> Word:
    """A literal word."""
    return Word((Part("text", text),))


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=value` before a command, alone, or after `export`."""

    name: str
    value: Word


@dataclass(frozen=True, slots=True)
class Redirect:
    """`2> file`, `<<< text`, or a heredoc with its body kept verbatim."""

    operator: str
    descriptor: str
    target: Word
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Simple:
    """A program with its words, assignments and redirects."""

    words: tuple[Word, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    negated: bool = False

    @property
    def program(self) -> str:
        """The first word's text; empty for a bare assignment or redirect."""
        return self.words[0].text if self.words else ""


@dataclass(frozen=True, slots=True)
class Clause:
    """One labelled part of a compound command: `then ...`, `do ...`, a case pattern."""

    label: str
    script: Script


@dataclass(frozen=True, slots=True)
class Compound:
    """A loop, a condition, a group, a subshell, a test, or text nobody knows (`other`)."""

    keyword: str
    head: str = ""
    words: tuple[Word, ...] = ()
    clauses: tuple[Clause, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed command line: its commands, and the operators that stand between them.

    `items[i]` and `items[i + 1]` are joined by `operators[i]`, one of `; & && || | |&`; a pipe
    binds tighter than the others, as in bash. `ok` is False when the text is not shell, and
    `reason` says why.
    """

    items: tuple[Simple | Compound, ...] = ()
    operators: tuple[str, ...] = ()
    ok: bool = True
    reason: str = ""
    slots: tuple[Slot, ...] = ()

    @property
    def joined(self) -> list[tuple[str, Simple | Compound]]:
        """The items, each with the operator before it; "" before the first."""
        return list(zip(("", *self.operators), self.items, strict=False))

    @property
    def commands(self) -> list[Simple]:
        """Every simple command in order, those in loops and substitutions included."""
        return list(simple_commands(self))


def words_of(item: Simple | Compound) -> Iterator[Word]:
    """Every word of an item: arguments, values of assignments, targets of redirects."""
    if isinstance(item, Simple):
        yield from (assignment.value for assignment in item.assignments)
    yield from item.words
    yield from (redirect.target for redirect in item.redirects)


def simple_commands(script: Script) -> Iterator[Simple]:
    """Walk all simple commands, the outer one before those in its substitutions."""
    for item in script.items:
        if isinstance(item, Simple):
            yield item
        else:
            for clause in item.clauses:
                yield from simple_commands(clause.script)
        for part in words_of(item):
            for inner in part.scripts:
                yield from simple_commands(inner)
