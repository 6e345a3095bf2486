"""Text to tree: the shell grammar is tree-sitter-bash, holes are taken out before it runs."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from opslore.commands.plain import plain
from opslore.commands.redirects import Item, Joined, Redirects
from opslore.commands.scan import Slot, mask, may_hold, prepare, scan
from opslore.commands.syntax import (
    Assignment,
    Clause,
    Compound,
    Redirect,
    Script,
    Simple,
    Word,
    simple_commands,
    word,
)
from opslore.commands.words import MAX_DEPTH, TooDeep

MAX_CHARACTERS = 65_536
"""Longer text is no command that a person would run."""

_OPERATORS = frozenset({";", "&", "&&", "||", "|", "|&"})
_LABELS = frozenset({"if", "then", "elif", "else", "do", "while", "until"})
_BEYOND_ASCII = re.compile("[^\x01-\x7f]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
"""A shell drops some of these and takes others for letters; none belongs in a command."""
_RESERVED = frozenset(["do", "done", "then", "fi", "else", "elif", "esac", "}", "!"])
"""Words that bash never takes for a program; the grammar is more lenient."""


def parse(command: str) -> Script:
    """Parse a command; never raises.

    `ok` is False, with a reason, for text that is empty, too long, nested too deep, or no shell.
    """
    return _parse(prepare(command))


def holeless(command: str) -> Script | None:
    """The tree of a line of printable ASCII without holes, not remembered; None for other text.

    Reading such a line again costs less than keeping it.
    """
    if not (command.isascii() and command.isprintable()) or len(command) > MAX_CHARACTERS:
        return None
    if "#" in command or may_hold(command):  # a prompt ends in `$` or `#`
        return None
    return plain(command) or _grammar(command, ())


@lru_cache(maxsize=2048)
def _parse(text: str) -> Script:
    if len(text) > MAX_CHARACTERS:
        return Script(ok=False, reason="too long")
    if _CONTROL.search(text):
        return Script(ok=False, reason="control characters")
    slots = scan(text)
    source = mask(text, slots) if slots else text
    return plain(source, slots) or _grammar(source, slots)


def _grammar(source: str, slots: tuple[Slot, ...]) -> Script:
    root = _parser().parse(_ascii(source)).root_node
    try:
        items, operators = _unzip(_Builder(source).sequence(root, 0))
    except TooDeep:
        return Script(ok=False, reason="nested too deep", slots=slots)
    reserved = [one.program in _RESERVED for one in simple_commands(Script(items, operators))]
    if root.has_error or any(reserved):
        return Script(items, operators, False, "not shell syntax", slots)
    if not items:
        return Script(ok=False, reason="no command", slots=slots)
    return Script(items, operators, True, "", slots)


def _ascii(text: str) -> bytes:
    """The text with a letter for every character beyond ASCII, so that byte offsets are its own.

    The grammar's scanner looks code points up in C's 256-entry character table and crashes on some.
    """
    return (text if text.isascii() else _BEYOND_ASCII.sub("x", text)).encode("ascii")


@cache
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _unzip(joined: Joined) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    return tuple([item for _, item in joined]), tuple([operator for operator, _ in joined[1:]])


class _Builder(Redirects):
    """Turns tree-sitter nodes into our tree; `source` is the masked text in bytes."""

    def script(self, nodes: list[Any], depth: int) -> Script:
        items, operators = _unzip(self.joined(nodes, depth))
        return Script(items, operators)

    def sequence(self, node: Any, depth: int) -> Joined:
        return self.joined(node.children, depth)

    def joined(self, nodes: list[Any], depth: int) -> Joined:
        if depth > MAX_DEPTH:
            raise TooDeep
        found: Joined = []
        pending = ";"
        for node in nodes:
            kind = node.type
            if kind in _OPERATORS:
                pending = kind
            elif kind != "comment" and node.is_named:
                rows = self.statement(node, depth + 1)
                if rows:
                    found.append((pending, rows[0][1]))
                    found += rows[1:]
                    pending = ";"
        return found

    def statement(self, node: Any, depth: int) -> Joined:
        kind = node.type
        if kind in ("list", "pipeline", "program"):
            return self.sequence(node, depth)
        if kind == "redirected_statement":
            return self.redirected(node, depth)
        if kind == "negated_command":
            rows = self.sequence(node, depth)
            return [(rows[0][0], rows[0][1]._replace(negated=True)), *rows[1:]] if rows else []
        if kind in ("command", "declaration_command", "unset_command"):
            return self.command(node, depth)
        if kind in ("variable_assignment", "variable_assignments"):
            nodes = [node] if kind == "variable_assignment" else node.named_children
            values = tuple(self.assignment(child, depth) for child in nodes)
            return [("", Simple(assignments=values))]
        return [("", self.compound(node, depth))]

    def command(self, node: Any, depth: int) -> Joined:
        words: list[Word] = []
        assignments: list[Assignment] = []
        redirects: list[Redirect] = []
        rest: Joined = []
        for child in node.children:
            kind = child.type
            if kind == "variable_assignment":
                assignments.append(self.assignment(child, depth))
            elif kind == "command_name":
                below = child.children
                words.append(self.word(below[0] if below else child, depth))
            elif kind.endswith("_redirect"):
                more, rows = self.redirect(child, depth)
                redirects += more
                rest += rows
                words += self.behind(child, depth)
            elif kind != "comment":
                words.append(self.word(child, depth))
        return [("", Simple(tuple(words), tuple(assignments), tuple(redirects))), *rest]

    def assignment(self, node: Any, depth: int) -> Assignment:
        value = node.child_by_field_name("value")
        name = node.child_by_field_name("name")
        sign = "+" if any(child.type == "+=" for child in node.children) else ""
        return Assignment(
            (self.text(name) if name else "") + sign, self.word(value, depth) if value else word("")
        )

    def redirected(self, node: Any, depth: int) -> Joined:
        body = node.child_by_field_name("body")
        rows = self.statement(body, depth + 1) if body else []
        redirects: list[Redirect] = []
        rest: Joined = []
        words = self.dropped(node, body) if body else []
        for child in node.children:
            if child.type.endswith("_redirect"):
                more, follow = self.redirect(child, depth)
                redirects += more
                rest += follow
                words += self.behind(child, depth)
        if not rows or (words and not isinstance(rows[-1][1], Simple)):
            return [*rows, (";", Simple(tuple(words), (), tuple(redirects))), *rest]
        operator, last = rows[-1]
        last = last._replace(redirects=(*last.redirects, *redirects))
        if isinstance(last, Simple) and words:
            last = last._replace(words=(*last.words, *words))
        return [*rows[:-1], (operator, last), *rest]

    def compound(self, node: Any, depth: int) -> Compound:
        kind = node.type
        if kind == "for_statement":
            values = [self.word(child, depth) for child in node.children_by_field_name("value")]
            body = node.child_by_field_name("body")
            name = node.child_by_field_name("variable")
            clause = Clause("do", self.script(body.children if body else [], depth))
            return Compound("for", self.text(name) if name else "", tuple(values), (clause,))
        if kind in ("while_statement", "if_statement"):
            return Compound(node.children[0].type, clauses=tuple(self.clauses(node, depth)))
        if kind in ("subshell", "compound_statement"):
            clause = Clause("", self.script(node.children, depth))
            return Compound("(" if kind == "subshell" else "{", clauses=(clause,))
        if kind == "case_statement":
            value = node.child_by_field_name("value")
            items = [child for child in node.children if child.type == "case_item"]
            clauses = tuple(self.case_item(child, depth) for child in items)
            return Compound(
                "case", words=(self.word(value, depth),) if value else (), clauses=clauses
            )
        if kind == "function_definition":
            name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
            script = self.script(_body(body), depth) if body else Script()
            return Compound("function", self.text(name) if name else "", (), (Clause("", script),))
        keyword = "test" if kind == "test_command" else "other"
        if kind == "c_style_for_statement":
            keyword = "arithmetic for"
        flat = " ".join(self.text(node).split())
        return Compound(
            keyword, flat, clauses=tuple(Clause("", inner) for inner in self.nested(node, depth))
        )

    def clauses(self, node: Any, depth: int) -> list[Clause]:
        """The labelled parts of `while` and `if`: `if a; then b; elif c; then d; else e; fi`."""
        found: list[Clause] = []
        label = ""
        nodes: list[Any] = []
        for child in [*node.children, None]:
            if child is None or child.type in _LABELS or child.type.endswith("_clause"):
                if nodes:
                    found.append(Clause(label, self.script(nodes, depth)))
                label, nodes = (child.type if child else ""), []
                if child is not None and child.type.endswith("_clause"):
                    found += self.clauses(child, depth + 1)
            elif child.type == "do_group":
                found.append(Clause(label, self.script(nodes, depth)))
                found.append(Clause("do", self.script(child.children, depth)))
                label, nodes = "", []
            else:
                nodes.append(child)
        return [clause for clause in found if clause.script.items]

    def case_item(self, node: Any, depth: int) -> Clause:
        values = node.children_by_field_name("value")
        label = "|".join(self.text(value) for value in values)
        paren = next((i for i, child in enumerate(node.children) if child.type == ")"), -1)
        return Clause(label, self.script(node.children[paren + 1 :], depth))

    def nested(self, node: Any, depth: int) -> list[Script]:
        """The statements below a node of unknown kind, so that no command stays unseen."""
        statements = [
            child
            for child in node.named_children
            if child.type.endswith(
                ("command", "statement", "pipeline", "list", "do_group", "subshell", "definition")
            )
        ]
        found = [self.script([child], depth + 1) for child in statements]
        return found + list(self.inner(node, depth, skip=frozenset(map(id, statements))))


def _body(node: Any) -> list[Any]:
    """A function's statements without their braces."""
    children: list[Any] = node.children if node.type == "compound_statement" else [node]
    return children
