"""Which headings are alerts: the ones that fields belong to, at whatever level they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from opslore.sources.fields import Fields, Key
from opslore.sources.markdown import Block, Line, Page, lines, plain

Tier = Literal["heading", "bold", "item", "words", "none"]
"""How an alert marks its fields; where a better way is used, a worse one is only prose."""

COLONS = ":\uff1a"
"""The colon, and the one of Chinese text."""

_MAYBE_LABEL = re.compile(r"^\s*[*_]{0,3}[^\n:\uff1a*_`]{1,60}[*_:\uff1a]", re.M)
_WORDS = re.compile(r"([^:\uff1a]{1,40})[:\uff1a]\s*(.*)", re.S)


@dataclass(eq=False)
class Node:
    """A heading with the blocks below it, up to the next heading."""

    level: int
    title: str
    explicit: bool = False
    """The heading says `Alert:`."""
    name: Key | None = None
    """The field that the heading names."""
    heading: Block | None = None
    parent: Node | None = None
    own: list[Block] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    labels: dict[Tier, set[Key]] = field(default_factory=dict)
    strong: bool = False
    """Called an alert, or has two different fields."""
    weak: bool = False
    """Has one field."""
    strong_below: bool = False
    weak_below: bool = False
    alert: bool = False

    @property
    def first(self) -> int:
        """First line, from 1."""
        return self.heading.first if self.heading else 1

    @cached_property
    def names(self) -> set[Key]:
        """The fields that the headings directly below name."""
        return {child.name for child in self.children if child.name}

    def inside(self) -> Iterator[Node]:
        """The heading and everything below it, without the alerts nested in it."""
        yield self
        for child in self.children:
            if not child.alert:
                yield from child.inside()

    def every(self) -> Iterator[Node]:
        """The heading and everything below it."""
        yield self
        for child in self.children:
            yield from child.every()


def outline(page: Page, fields: Fields) -> Node:
    """The tree of a file's headings, with `alert` set on those that are one."""
    root = _tree(page, fields)
    for node in list(root.every()):
        _adopt(node)
    order = list(root.every())
    for node in order:
        node.labels = _labels(node, page, fields)
    for node in reversed(order):
        _judge(node)
    _select(root, inside=False)
    return root


def _tree(page: Page, fields: Fields) -> Node:
    root = Node(0, "")
    path = [root]
    for block in page.blocks:
        if block.kind != "heading":
            path[-1].own.append(block)
            continue
        words = plain(block, page)
        title, explicit = fields.title(words)
        while path[-1].level >= block.level:
            path.pop()
        name = None if explicit else fields.key(words)
        node = Node(block.level, title, explicit, name, block, parent=path[-1])
        path[-1].children.append(node)
        path.append(node)
    return root


def _adopt(node: Node) -> None:
    """Put fields under the alert before them where both have the same heading level."""
    groups: dict[Node, list[Node]] = {}
    owner: Node | None = None
    for child in node.children:
        if child.name is None:
            owner = None if any(below.name for below in child.children) else child
        elif owner:
            groups.setdefault(owner, []).append(child)
    names = Counter(child.title.casefold() for group in groups.values() for child in group)
    repeated = len(groups) > 1 and max(names.values()) > 1
    # A heading that is a field itself, or none, cannot be the alert whose fields follow.
    homeless = node.level == 0 or node.name is not None
    moved: set[Node] = set()
    for owner, group in groups.items():
        if repeated or homeless or owner.explicit:
            owner.children += group
            moved.update(group)
            for child in group:
                child.parent = owner
    node.children = [child for child in node.children if child not in moved]


def _labels(node: Node, page: Page, fields: Fields) -> dict[Tier, set[Key]]:
    """The fields that a heading's own prose marks, by the way they are marked."""
    found: dict[Tier, set[Key]] = {}
    for block in node.own:
        if block.kind == "text" and block.depth <= 1 and _MAYBE_LABEL.search(block.raw):
            for line in lines(block, page):
                key, tier, _ = label(line, block, fields)
                if key:
                    found.setdefault(tier, set()).add(key)
    return found


def label(line: Line, block: Block, fields: Fields) -> tuple[Key | None, Tier, str]:
    """The field that a line opens, how it is marked, and the words behind the mark."""
    text = line.text.strip()
    name = line.label.strip()
    if name:
        rest = text[len(name) :]
        if rest.strip() and name[-1] not in COLONS and rest.lstrip()[0] not in COLONS:
            return None, "none", ""
        tier: Tier = "item" if block.depth else "bold"
        key = fields.exact(name) if block.depth else fields.key(name)
        return key, tier, rest.strip(" " + COLONS)
    words = _WORDS.match(text)
    if words and not block.depth:
        return fields.exact(words[1]), "words", words[2]
    return None, "none", ""


def _judge(node: Node) -> None:
    node.strong_below = any(child.strong or child.strong_below for child in node.children)
    node.weak_below = any(
        child.name is None and (child.weak or child.weak_below) for child in node.children
    )
    own = keys(node) if _may_be_alert(node) else set()
    node.strong = node.explicit or len(own) > 1
    node.weak = not node.strong and bool(own - {"severity"})


def _may_be_alert(node: Node) -> bool:
    # `# Recovery` may be an alert's name, unless the headings beside it are fields as well.
    return node.name is None or bool(
        node.parent and node.parent.level == 0 and len(node.parent.names) < 2
    )


def keys(node: Node) -> set[Key]:
    """The fields that belong to a heading directly."""
    found = {child.name for child in node.children if child.name and not child.strong_below}
    found |= node.labels.get("bold", set())
    # A lone `Fix:` in a list or a sentence is prose; two different fields are a layout.
    for tier in ("item", "words"):
        marked = node.labels.get(tier, set())
        found |= marked if len(marked) > 1 else set()
    return found


def tier(node: Node) -> Tier:
    """The best way in which an alert marks its fields."""
    if node.names:
        return "heading"
    ways: tuple[Tier, ...] = ("bold", "item", "words")
    for way in ways:
        if node.labels.get(way, set()) - {"severity"}:
            return way
    return "none"


def _select(node: Node, inside: bool) -> None:
    """Mark the alerts, from the top; `inside` an alert's field only an explicit one counts."""
    # One label is also how a section's introduction looks: then the headings below decide.
    lone = node.weak and not node.strong_below and bool(node.names or not node.weak_below)
    node.alert = node.explicit or (not inside and (node.strong or lone))
    for child in node.children:
        below = inside or (node.alert and (child.name is not None or not child.strong))
        _select(child, below)
