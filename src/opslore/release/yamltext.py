"""Change one value in the text of a YAML file; every other character stays as it was.

A YAML writer, even one that keeps comments, rewrites quotes, indents, long lines and line ends. So
the parser only tells where a value stands, those characters are replaced, and the result is parsed
again: it must be the same tree with this one value changed.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import Any, NoReturn

from opslore.errors import ConfigError
from opslore.release.yamltree import Node, trees

MAX_BYTES = 4 << 20
"""Bytes of a file; a values file or a manifest is far smaller, and the parser is slow."""

Step = str | int
"""A key of a map, or the number of an item of a list from 0."""

_STEP = re.compile(r'(?:^|\.)([^.\[\]"]+)|(?:^|\.)?\["((?:[^"\\]|\\.)+)"\]|\[([0-9]+)\]')
# Plain text that YAML 1.1 and 1.2 and both of Go's readers take for a string.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def path(text: str) -> tuple[Step, ...]:
    """The steps of a key path such as `models[0].name` or `annotations["example.com/model"]`.

    Raises:
        ConfigError: it cannot be read.
    """
    steps: list[Step] = []
    at = 0
    for match in _STEP.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        plain, quoted, number = match.groups()
        steps.append(plain or (int(number) if number else json.loads(f'"{quoted}"')))
    if not steps or at != len(text):
        raise ConfigError(
            f"deploy: {text!r} is no key path",
            hint='one looks like ollamaHub.agentModel, models[0].name or labels["a.b/c"]',
        )
    return tuple(steps)


def shown(steps: tuple[Step, ...]) -> str:
    """A key path as `path` reads it."""
    found = ""
    for step in steps:
        if isinstance(step, int):
            found += f"[{step}]"
        elif re.search(r'[.\[\]"]', step) or not step:
            found += f"[{json.dumps(step, ensure_ascii=False)}]"
        else:
            found += f".{step}" if found else step
    return found


def documents(text: str, file: str) -> list[Node]:
    """The tree of every document in the text.

    Args:
        text: the whole file, its line ends as they are.
        file: its name, for the message.

    Raises:
        ConfigError: it is no YAML, or a key stands twice in one map.
    """
    found = trees(text, file)
    for tree in found:
        _refuse_twice(tree, file)
    return found


def find(tree: Node, steps: tuple[Step, ...], file: str) -> Node:
    """The value at a key path.

    Raises:
        ConfigError: there is none; the message names the nearest key.
    """
    node = tree
    for depth, step in enumerate(steps):
        below = lookup(node, step)
        if below is None:
            _missing(node, steps, depth, file)
        node = below
    return node


def lookup(node: Node, step: Step) -> Node | None:
    """The value one step below, or None."""
    if isinstance(step, int):
        return node.children[step][1] if node.kind == "list" and step < len(node.children) else None
    if node.kind != "map":
        return None
    return next((value for key, value in node.children if key.text == step), None)


def scalar(tree: Node, steps: tuple[Step, ...], file: str) -> Node:
    """The scalar at a key path, one that can be replaced.

    Raises:
        ConfigError: there is none, or it is something else; the message says what.
    """
    node = find(tree, steps, file)
    where = f"{file}:{node.line}: {shown(steps)}"
    if node.kind == "alias":
        raise ConfigError(
            f"{where} is the alias *{node.text}: the value stands elsewhere, others use it too",
            hint="write the value out there, or name the key that has the anchor in deploy[].key",
        )
    if node.kind != "scalar":
        below = [key.text for key, _ in node.children] if node.kind == "map" else []
        raise ConfigError(
            f"{where} is a {node.kind}, not a text" + (f"; it has {_few(below)}" if below else ""),
            hint="name the key inside it that names the model in deploy[].key",
        )
    if node.style in ("|", ">"):
        raise ConfigError(
            f"{where} is a block of text ({node.style}); a model's name stands on one line",
            hint="write it on the key's own line",
        )
    if node.nothing and node.start < 0:
        raise ConfigError(f"{where} is not written at all", hint='write "" there first')
    if node.tag not in ("", "!", "tag:yaml.org,2002:str"):
        raise ConfigError(f"{where} has the tag {node.tag}; only a text can name a model")
    return node


def raw(text: str, node: Node) -> str:
    """A scalar's characters in the file, quotes included."""
    return text[node.start : node.end]


def written(text: str, node: Node, value: str) -> str:
    """The characters that write a value where the scalar stands, in the quotes it has there.

    Args:
        text: the whole file.
        node: the scalar.
        value: what a reader shall get.
    """
    if node.text == value and not node.nothing and (node.style or _is_plain(value)):
        return raw(text, node)
    if node.style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if not node.style and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def change(text: str, edits: list[tuple[Node, str]], file: str) -> str:
    """The text with each scalar's characters replaced, and nothing else.

    Args:
        text: the whole file.
        edits: scalars of `documents(text)`, each with the characters that take its place; empty
            characters leave a key with nothing behind it, as it may have been before.
        file: its name, for the message.

    Raises:
        ConfigError: the result would not be the same tree with other values in these places.
    """
    before = documents(text, file)
    fresh = text
    for node, new in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
        start, end = node.start, node.end
        if node.nothing and new:
            new = f" {new}"
        elif not new and not node.nothing and text[start - 1 : start] == " ":
            start -= 1
        fresh = fresh[:start] + new + fresh[end:]
    places = {node.start for node, _ in edits}
    for old, now in zip(before, documents(fresh, file), strict=True):
        if _outline(old, places) != _outline(now, _moved(old, now, places)):
            raise ConfigError(
                f"{file}: changing line {edits[0][0].line} would change other values too",
                hint="put the value in double quotes there, then deploy again",
            )
    return fresh


def _moved(old: Node, now: Node, places: set[int]) -> set[int]:
    """Where the changed scalars stand in the changed tree."""
    if old.kind == "scalar":
        return {now.start} if old.start in places else set()
    found: set[int] = set()
    for (old_key, old_value), (key, value) in zip(old.children, now.children, strict=False):
        found |= _moved(old_value, value, places)
        if old_key is not old_value:
            found |= _moved(old_key, key, places)
    return found


def _outline(node: Node, places: set[int]) -> Any:
    """The tree without positions; a scalar that is to change counts only as a scalar."""
    if node.kind == "scalar" and node.start in places:
        return "changed"
    children = tuple((_outline(k, places), _outline(v, places)) for k, v in node.children)
    return node.kind, node.text, node.style, node.tag, node.nothing, children


def _refuse_twice(tree: Node, file: str) -> None:
    seen: dict[str, int] = {}
    for key, value in tree.children:
        if tree.kind == "map" and key.kind == "scalar" and key.text != "<<":
            if key.text in seen:
                raise ConfigError(
                    f"{file}:{key.line}: the key {key.text} stands twice, "
                    f"first on line {seen[key.text]}; readers disagree on which one counts",
                    hint=f"remove one of them from {file}",
                )
            seen[key.text] = key.line
        _refuse_twice(value, file)


def _missing(node: Node, steps: tuple[Step, ...], depth: int, file: str) -> NoReturn:
    above, step = shown(steps[:depth]) or "the file", steps[depth]
    there = f"{file}: no {shown(steps)}: {above} (line {node.line})"
    if node.kind == "alias":
        raise ConfigError(
            f"{there} is the alias *{node.text}; what it stands for has other users too",
            hint="write the map out there, or name the key that has the anchor in deploy[].key",
        )
    if isinstance(step, int):
        count = len(node.children)
        kind = f"a list of {count} from [0]" if node.kind == "list" else f"a {node.kind}, no list"
        raise ConfigError(f"{there} is {kind}", hint=f"mend deploy[].key, or {file}")
    if node.kind != "map":
        raise ConfigError(f"{there} is a {node.kind}", hint=f"mend deploy[].key, or {file}")
    keys = [key.text for key, _ in node.children]
    near = get_close_matches(step, keys, n=1)
    merged = "; keys that come through << cannot be changed here" if "<<" in keys else ""
    raise ConfigError(
        f"{there} has {_few(keys)}" + merged,
        hint=f"did you mean {shown((*steps[:depth], near[0], *steps[depth + 1 :]))}?"
        if near
        else f"write the key into {file} first: a key nobody reads would switch nothing",
    )


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:12]) + (", ..." if len(keys) > 12 else "") if keys else "no keys"


def _is_plain(value: str) -> bool:
    return bool(_PLAIN.fullmatch(value)) and value.lower() not in _WORDS
