"""The commands a bundle knows, and the same limit on a reply written three ways.

A reply is one of the runbook's commands, its holes verbatim or filled with a plain value, or the
word that asks for a person. `grammar` says so to llama.cpp, `schema` to Ollama, `accepts` to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from opslore.cards import ESCALATE
from opslore.commands.holes import holes

FIRST = "A-Za-z0-9/"
"""Characters that may start a value: no dash, so that a value is never read as a flag."""
REST = "A-Za-z0-9._:/@-"
"""The others: nothing a shell gives a meaning to."""
LONGEST = 100
"""Characters of a value; names in Kubernetes have at most 63, image references more."""

VALUE = f"[{FIRST}][{REST}]{{0,{LONGEST - 1}}}"


class Catalogue(BaseModel):
    """The known commands, each once, in the runbook's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: list[str]
    """Commands as the runbook has them, holes included."""
    values: list[str] | None = None
    """What may fill a hole; None is any plain value."""


def build(commands: Iterable[str]) -> Catalogue:
    """A catalogue of these commands; repetitions, blanks and the escalation are left out."""
    known = dict.fromkeys(c for c in commands if c.strip() and c != ESCALATE)
    return Catalogue(templates=list(known))


def grammar(catalogue: Catalogue) -> str:
    """The limit as a GBNF grammar (llama.cpp, grammars/README.md).

    Common beginnings are shared, as in a trie: llama.cpp follows every alternative that is still
    open, and hundreds of them that all start with `kubectl` would be followed one by one.
    """
    rules: list[str] = []
    root = _write(_trie(_symbols(text) for text in [*catalogue.templates, ESCALATE]), rules)
    value = f"[{FIRST}] [{REST}]{{0,{LONGEST - 1}}}"
    if catalogue.values is not None:
        value = _write(_trie(_fillings(catalogue)), rules)
    value = f"value ::= {value}"
    return "\n".join([f"root ::= {root}", *rules, value]) + "\n"


def schema(catalogue: Catalogue) -> dict[str, Any]:
    """The limit as a JSON schema for Ollama's `format`: an object with one key, `command`.

    A filled hole is a pattern, and llama.cpp copies a pattern into the JSON text without escaping
    it, so a template with a quote, a backslash or a line break is offered verbatim only.
    """
    plain: dict[str, Any] = {"type": "string", "enum": [*catalogue.templates, ESCALATE]}
    filled = [
        {"type": "string", "pattern": f"^{_pattern(template, _value(catalogue))}$"}
        for template in catalogue.templates
        if holes(template) and not re.search(r'["\\\x00-\x1f]', template)
    ]
    return {
        "type": "object",
        "properties": {"command": {"anyOf": [plain, *filled]}},
        "required": ["command"],
        "additionalProperties": False,
    }


def accepts(catalogue: Catalogue, text: str) -> bool:
    """Whether a reply is within the limit; the same replies as `grammar` lets through."""
    known = _compiled(tuple(catalogue.templates), _value(catalogue))
    return any(pattern.fullmatch(text) for pattern in known)


@lru_cache(maxsize=8)
def _compiled(templates: tuple[str, ...], value: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_pattern(template, value)) for template in (*templates, ESCALATE))


def _value(catalogue: Catalogue) -> str:
    """What may fill a hole, as a regular expression."""
    return VALUE if catalogue.values is None else "|".join(map(_escaped, _fillings(catalogue)))


def _pattern(template: str, value: str) -> str:
    return "".join(
        f"({_escaped(text)}|{value})" if hole else _escaped(text)
        for text, hole in _pieces(template)
    )


def _escaped(text: str) -> str:
    """Escape for a regular expression, and only what llama.cpp knows to be escaped: no slash."""
    return re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", text)


def _pieces(template: str) -> Iterator[tuple[str, bool]]:
    """Literal text and holes in turn; the flag says which."""
    last = 0
    for hole in holes(template):
        if hole.start > last:
            yield template[last : hole.start], False
        yield template[hole.start : hole.end], True
        last = hole.end
    if last < len(template):
        yield template[last:], False


_Node = dict[str, Any]
"""Next symbol to next node; the empty symbol ends a command. A symbol is one character, or a hole
with a mark before it."""
HOLE = "\0"


def _fillings(catalogue: Catalogue) -> list[str]:
    """What may fill a hole; where nothing may, another open place, so that there is something."""
    open_places = {hole.text for text in catalogue.templates for hole in holes(text)}
    return sorted(catalogue.values or open_places or {ESCALATE})


def _trie(texts: Iterable[Iterable[str]]) -> _Node:
    tree: _Node = {}
    for text in texts:
        node = tree
        for piece in text:
            node = node.setdefault(piece, {})
        node[""] = {}
    return tree


def _symbols(template: str) -> Iterator[str]:
    for text, hole in _pieces(template):
        if hole:
            yield HOLE + text
        else:
            yield from text


def _write(node: _Node, rules: list[str], before: str = "") -> str:
    """The GBNF of a node, after literal text; where ways part, they become a rule."""
    parts: list[str] = []
    literal = before
    while len(node) == 1:
        ((symbol, node),) = node.items()
        if symbol == "":
            return " ".join([*parts, *_quoted(literal)]) or '""'
        if symbol.startswith(HOLE):
            parts += [*_quoted(literal), _hole(symbol)]
            literal = ""
        else:
            literal += symbol
    ways = [_way(symbol, after, rules) for symbol, after in node.items()]
    name = f"r{len(rules)}"
    rules.append(f"{name} ::= " + " | ".join(ways))
    return " ".join([*parts, *_quoted(literal), name])


def _way(symbol: str, after: _Node, rules: list[str]) -> str:
    if symbol == "":
        return '""'
    if symbol.startswith(HOLE):
        return f"{_hole(symbol)} {_write(after, rules)}"
    return _write(after, rules, symbol)


def _hole(symbol: str) -> str:
    return f"( {_quoted(symbol[1:])[0]} | value )"


def _quoted(text: str) -> list[str]:
    """A GBNF literal, or nothing for no text; what is not printable ASCII becomes a code point."""
    out = []
    for letter in text:
        code = ord(letter)
        if letter in '"\\':
            out.append("\\" + letter)
        elif 32 <= code < 127:
            out.append(letter)
        elif code < 256:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return ['"' + "".join(out) + '"'] if out else []
