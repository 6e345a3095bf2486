"""Change keys of one section of an agent file; every other character stays as it was.

A YAML writer, even one that keeps comments, rewrites quotes, indents and long lines. So the parser
only tells where values stand; theirs are replaced, and keys that are not there yet are put behind
the last one, in the section's own style. The result is loaded before it is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from opslore import agentfile, store
from opslore.config import Agent, load
from opslore.errors import ConfigError
from opslore.release.yamltext import documents, lookup
from opslore.release.yamltree import Node

Number = float | int

Splice = tuple[int, int, str]
"""From, to, and the characters that take the place."""

BOM = b"\xef\xbb\xbf"


def write(path: Path, before: Agent, section: str, values: Mapping[str, Number]) -> None:
    """Set numbers in a section of an agent file, all of them or none.

    Args:
        path: the agent file; of a link what it points to.
        before: what the file said when the values were found.
        section: `train`.
        values: the keys' new values.

    Raises:
        ConfigError: the file says something else by now, or cannot be edited; it is as it was.
    """
    wanted = "\n".join(f"  {key}: {written(value)}" for key, value in values.items())
    by_hand = f"set by hand below {section}:\n{wanted}"
    if load(path) != before:
        raise ConfigError(
            f"{path} was changed meanwhile; nothing was written", hint=f"run again, or {by_hand}"
        )
    real = path.resolve()
    raw = real.read_bytes()
    text = raw.decode("utf-8-sig")
    fresh = changed(text, str(path), section, values).encode()
    after = before.model_dump()
    after[section] |= values
    try:
        same = Agent.model_validate(agentfile.parse(path, fresh)) == Agent.model_validate(after)
    except ValidationError:
        same = False
    if not same:
        raise ConfigError(f"{path}: cannot be edited by a program", hint=by_hand)
    mode = real.stat().st_mode & 0o7777
    store.write(real, (BOM if raw.startswith(BOM) else b"") + fresh)
    os.chmod(real, mode)


def changed(text: str, file: str, section: str, values: Mapping[str, Number]) -> str:
    """The text with these values in a section.

    Args:
        text: the whole file.
        file: its name, for messages.
        section: a key of the file; it need not be there.
        values: its keys' new values.

    Raises:
        ConfigError: no YAML, or a key stands twice.
    """
    root = documents(text, file)[0]
    node = lookup(root, section)
    if node is None:
        return _spliced(text, [_added(text, root, section, values)])
    splices: list[Splice] = []
    missing: dict[str, Number] = {}
    for key, value in values.items():
        there = lookup(node, key)
        if there is None:
            missing[key] = value
        else:
            old = text[there.start : there.end]
            splices.append((there.start, there.end, written(value, old)))
    if missing:
        splices.append(_more(text, node, missing))
    return _spliced(text, splices)


def written(value: Number, like: str = "") -> str:
    """A number as YAML, with an exponent or a dot where the old one had them: 2e-3 becomes 4e-3."""
    if isinstance(value, float) and "e" in like.lower():
        digits, _, power = f"{Decimal(repr(value)).normalize():e}".partition("e")
        return f"{digits}{'.0' if '.' in like and '.' not in digits else ''}e{int(power)}"
    if isinstance(value, float) and value.is_integer() and "." not in like and value < 1e15:
        return str(int(value))
    return repr(value)


def _spliced(text: str, splices: list[Splice]) -> str:
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _more(text: str, node: Node, values: Mapping[str, Number]) -> Splice:
    """New keys behind the last one of a map."""
    flow = text[node.start : node.start + 1] == "{"
    if flow:
        quote = '"' if node.children and text[node.children[0][0].start] == '"' else ""
        items = ", ".join(f"{quote}{key}{quote}: {written(v)}" for key, v in values.items())
        at = node.children[-1][1].end if node.children else node.start + 1
        return at, at, f", {items}" if node.children else items
    first, last = node.children[0][0], node.children[-1][1]
    indent = first.start - (text.rfind("\n", 0, first.start) + 1)
    return _lines(text, last.end, [f"{' ' * indent}{k}: {written(v)}" for k, v in values.items()])


def _added(text: str, root: Node, section: str, values: Mapping[str, Number]) -> Splice:
    """A new section behind the last one of the file."""
    items = ", ".join(f"{key}: {written(value)}" for key, value in values.items())
    first, last = root.children[0][0], root.children[-1][1]
    if text[root.start : root.start + 1] == "{":
        items = ", ".join(f'"{key}": {written(value)}' for key, value in values.items())
        return last.end, last.end, f', "{section}": {{{items}}}'
    indent = first.start - (text.rfind("\n", 0, first.start) + 1)
    return _lines(text, _tail(last), [f"{' ' * indent}{section}: {{{items}}}"])


def _tail(node: Node) -> int:
    """Where the last thing that is written of a value ends; a block's own end is behind it."""
    return _tail(node.children[-1][1]) if node.children else node.end


def _lines(text: str, behind: int, lines: list[str]) -> Splice:
    """New lines below the one where something ends."""
    ending = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", behind)
    if end < 0:
        return len(text), len(text), ending + ending.join(lines)
    return end + 1, end + 1, "".join(line + ending for line in lines)
