"""Words from the syntax tree: quotes taken off, expansions kept apart."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from opslore.commands.syntax import Part, Script, Word

MAX_DEPTH = 40
"""Nesting of the syntax tree beyond which text is refused; bash code that people write has < 15."""

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "f": "\f",
    "v": "\v",
}


_EXPANSIONS = frozenset(
    ["simple_expansion", "expansion", "arithmetic_expansion", "subscript", "array"]
)


_ACTIVE = re.compile(r"(?<!\\)[*?\[]|^~|(?<!\\)\{[^{}]*(?:,|\.\.)[^{}]*\}|^[{},]")
_ESCAPED = re.compile(r"\\(.)", re.S)
_ESCAPED_IN_QUOTES = re.compile(r'\\(["\\$`])')
_BLANK = re.compile(r"\s")
_PLAIN_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class TooDeep(Exception):
    """The tree nests deeper than MAX_DEPTH."""


class Words:
    """Reads the nodes of words; `source` is the masked text that the nodes' offsets count."""

    def __init__(self, source: str) -> None:
        self.source = source

    def text(self, node: Any) -> str:
        """A node's own text."""
        return self.source[node.start_byte : node.end_byte]

    def script(self, nodes: list[Any], depth: int) -> Script:
        """The statements in these nodes; the class that knows statements implements it."""
        raise NotImplementedError

    def inner(
        self, node: Any, depth: int, skip: frozenset[int] = frozenset()
    ) -> tuple[Script, ...]:
        """The scripts of all substitutions below a node."""
        if depth > MAX_DEPTH:
            raise TooDeep
        found: list[Script] = []
        for child in node.named_children:
            if child.type in ("command_substitution", "process_substitution"):
                found.append(self.script(child.children, depth + 1))
            elif id(child) not in skip:
                found += self.inner(child, depth + 1)
        return tuple(found)

    def word(self, node: Any, depth: int) -> Word:
        """A node as one word."""
        if node.type == "word" and depth <= MAX_DEPTH:
            return _unquoted_word(self.text(node))
        parts = self.parts(node, depth)
        return Word(tuple(_merge(parts) if len(parts) != 1 else parts))

    def parts(self, node: Any, depth: int) -> list[Part]:
        """The parts of a word's node, quotes taken off."""
        if depth > MAX_DEPTH:
            raise TooDeep
        kind, text = node.type, self.text(node)
        if kind in ("string", "translated_string"):
            return self.string(node, depth)
        if kind == "concatenation":
            return [part for child in node.children for part in self.parts(child, depth + 1)]
        if kind == "raw_string":
            return [Part("text", text[1:-1])]
        if kind == "ansi_c_string":
            return [Part("text", _ansi(text[2:-1]))]
        if kind in ("command_substitution", "process_substitution"):
            scripts = (self.script(node.children, depth + 1),)
            return [Part("substitution" if kind[0] == "c" else "process", text, scripts)]
        if kind == "simple_expansion" and _BLANK.search(text):
            return [Part("text", text)]
        if kind in _EXPANSIONS:
            plain = _PLAIN_VARIABLE.fullmatch(text)
            if plain:
                return [Part("variable", f"${plain.group(1)}")]
            return [Part("expansion", text, self.inner(node, depth))]
        return _unquoted(text)

    def string(self, node: Any, depth: int) -> list[Part]:
        """A double-quoted string; text between two child nodes is literal too."""
        found: list[Part] = []
        at = node.start_byte + (2 if node.type == "translated_string" else 1)
        for child in node.named_children:
            if child.type == "string_content":
                continue
            if child.type == "string":
                return self.string(child, depth + 1)
            found.append(Part("text", _unescape(self.source[at : child.start_byte])))
            found += self.parts(child, depth + 1)
            at = child.end_byte
        found.append(Part("text", _unescape(self.source[at : node.end_byte - 1])))
        return found


def _merge(parts: list[Part]) -> list[Part]:
    """Join neighbours of one kind; drop empty text beside other parts (`r""m` is `rm`)."""
    merged: list[Part] = []
    for part in parts:
        if not part.text and not part.scripts and len(parts) > 1:
            continue
        if merged and part.kind == merged[-1].kind and part.kind in ("text", "bare"):
            merged[-1] = Part(part.kind, merged[-1].text + part.text)
        else:
            merged.append(part)
    return merged or [Part("text", "")]


def _unquoted(text: str) -> list[Part]:
    """An unquoted word: backslashes go, and unescaped globs, braces and tildes stay active."""
    active = _ACTIVE.search(text)
    plain = _ESCAPED.sub(r"\1", text) if "\\" in text else text
    return [Part("bare" if active else "text", plain)]


@lru_cache(maxsize=4096)
def _unquoted_word(text: str) -> Word:
    return Word(tuple(_unquoted(text)))


def _unescape(raw: str) -> str:
    return _ESCAPED_IN_QUOTES.sub(r"\1", raw) if "\\" in raw else raw


def _ansi(text: str) -> str:
    """The value of `$'...'`."""

    def value(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "xuU" and len(code) > 1:
            number = int(code[1:], 16)
            return chr(number) if number < 0x110000 else ""
        if code[0] in "01234567":
            return chr(int(code, 8))
        return _ESCAPES.get(code, code)

    return re.sub(
        r"\\(x[0-9A-Fa-f]{1,2}|[uU][0-9A-Fa-f]{1,8}|[0-7]{1,3}|.)", value, text, flags=re.S
    )
