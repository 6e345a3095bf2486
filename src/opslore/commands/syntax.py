"""The tree of a command: scripts of simple and compound commands, made of words.

`opslore.commands.parse` builds it from the tree-sitter tree; everything else reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from opslore.commands.scan import Slot


class Part(NamedTuple):
    """A piece of a word.

    `text` is its literal text (quotes taken off), `bare` the same but unquoted with characters that
    the shell expands (`*`, `~`, `{a,b}`); the others keep their source text, and scripts inside.
    """

    kind: Literal["text", "bare", "variable", "substitution", "process", "expansion"]
    text: str
    scripts: tuple[Script, ...] = ()


class Word:
    """One word of a command, with its quotes taken off; it is not changed once it is made.

    A plain class: a frozen dataclass takes three times as long to make.
    """

    __slots__ = ("fixed", "parts", "text")

    parts: tuple[Part, ...]
    text: str
    """The word as text; what the shell would expand stays as it is written."""
    fixed: bool
    """Whether it is literal text and nothing else."""

    def __init__(self, parts: tuple[Part, ...] = ()) -> None:
        self.parts = parts
        if len(parts) == 1:
            self.text, self.fixed = parts[0].text, parts[0].kind == "text"
        else:
            self.text = "".join([part.text for part in parts])
            self.fixed = all([part.kind == "text" for part in parts])

    def __repr__(self) -> str:
        return f"Word(parts={self.parts!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Word) and self.parts == other.parts

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


class Assignment(NamedTuple):
    """`NAME=value` before a command, alone, or after `export`."""

    name: str
    value: Word


class Redirect(NamedTuple):
    """`2> file`, `<<< text`, or a heredoc with its body kept verbatim."""

    operator: str
    descriptor: str
    target: Word
    body: str | None = None


class Simple(NamedTuple):
    """A program with its words, assignments and redirects."""

    words: tuple[Word, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    negated: bool = False

    @property
    def program(self) -> str:
        """The first word's text; empty for a bare assignment or redirect."""
        return self.words[0].text if self.words else ""


class Clause(NamedTuple):
    """One labelled part of a compound command: `then ...`, `do ...`, a case pattern."""

    label: str
    script: Script


class Compound(NamedTuple):
    """A loop, a condition, a group, a subshell, a test, or text nobody knows (`other`)."""

    keyword: str
    head: str = ""
    words: tuple[Word, ...] = ()
    clauses: tuple[Clause, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    negated: bool = False


class Script(NamedTuple):
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
        for one in words_of(item):
            for inner in () if one.fixed else one.scripts:
                yield from simple_commands(inner)
