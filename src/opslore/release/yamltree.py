"""Where every value of a YAML text stands: ruamel.yaml's events as a tree with positions.

Events, not the composer: a composer puts the anchor's node in an alias's place and gives a scalar
the position of its anchor or tag.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opslore.errors import ConfigError

MAX_DEPTH = 100
"""Levels; the parser and this module call themselves once a level."""


@dataclass(frozen=True)
class Node:
    """A value in the text."""

    kind: str
    """`scalar`, `map`, `list` or `alias`."""
    start: int
    """Characters from the beginning of the text."""
    end: int
    line: int
    """From 1."""
    text: str = ""
    """A scalar's value, quotes and escapes undone; an alias's name."""
    style: str = ""
    """A scalar's first character if it is one of `'` `"` `|` `>`; empty when it is plain."""
    tag: str = ""
    nothing: bool = False
    """A scalar that is not written at all, as in `key:`; where it would begin is -1 when nothing
    could be written there."""
    children: tuple[tuple[Node, Node], ...] = ()
    """A map's keys and values; a list's items, each as both."""


def trees(text: str, file: str) -> list[Node]:
    """One tree per document.

    Raises:
        ConfigError: it is no YAML, or nested too deeply.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        marks = _Marks(YAML(typ="safe", pure=True).scan(text), text, file)
        return list(_documents(YAML(typ="safe", pure=True).parse(text), marks))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{mark.line + 1}" if mark is not None else "?"
        raise ConfigError(
            f"{file}:{line}: no YAML: {error.problem or error.context}",
            hint=f"mend {file}; a chart's template cannot be edited, its values file can",
        ) from error
    except YAMLError as error:
        raise ConfigError(f"{file}: no YAML: {str(error).splitlines()[0]}") from error


class _Marks:
    """Where scalars begin without their anchor and tag, and where `:` ends."""

    def __init__(self, tokens: Any, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.starts: dict[int, int] = {}
        self.colons: list[tuple[int, int]] = []
        for token in tokens:
            name = type(token).__name__
            if name == "ScalarToken":
                self.starts[token.end_mark.index] = token.start_mark.index
            elif name == "ValueToken":
                self.colons.append((token.start_mark.index, token.end_mark.index))

    def behind(self, key: Node) -> int | None:
        """Where a value that is not written would stand: behind the colon of its key."""
        number = bisect_left(self.colons, (key.end, 0))
        if number == len(self.colons):
            return None
        start, end = self.colons[number]
        return None if self.text[key.end : start].strip() else end


def _documents(events: Any, marks: _Marks) -> Iterator[Node]:
    stream = iter(events)
    for event in stream:
        if type(event).__name__ == "DocumentStartEvent":
            yield _node(next(stream), stream, marks, None, 0)


def _node(event: Any, stream: Any, marks: _Marks, key: Node | None, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise ConfigError(
            f"{marks.file}:{event.start_mark.line + 1}: nested over {MAX_DEPTH} levels"
        )
    name = type(event).__name__
    start, end, line = event.start_mark.index, event.end_mark.index, event.start_mark.line + 1
    if name == "AliasEvent":
        return Node("alias", start, end, line, str(event.anchor))
    if name == "ScalarEvent":
        return _scalar(event, marks, key)
    children: list[tuple[Node, Node]] = []
    is_map = name == "MappingStartEvent"
    closing = "MappingEndEvent" if is_map else "SequenceEndEvent"
    while type(event := next(stream)).__name__ != closing:
        first = _node(event, stream, marks, None, depth + 1)
        second = _node(next(stream), stream, marks, first, depth + 1) if is_map else first
        children.append((first, second))
    return Node(
        "map" if is_map else "list", start, event.end_mark.index, line, children=tuple(children)
    )


def _scalar(event: Any, marks: _Marks, key: Node | None) -> Node:
    end, line = event.end_mark.index, event.start_mark.line + 1
    tag = str(event.ctag) if event.ctag is not None else ""
    style = event.style or ""
    if end in marks.starts and marks.starts[end] >= event.start_mark.index:
        return Node("scalar", marks.starts[end], end, line, event.value, style, tag)
    place = marks.behind(key) if key is not None else None
    if place is None or event.anchor is not None or tag:
        place = -1
    return Node("scalar", place, place, key.line if key else line, nothing=True, tag=tag)
