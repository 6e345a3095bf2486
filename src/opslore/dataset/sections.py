"""A page to its sections: each stands under its headings, and is long enough to answer something.

Markdown's own tokens say what a heading is, so a comment in a shell block never becomes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from opslore.cards import Document
from opslore.dataset import cut, posts

PACKED = 1200
"""A heading whose whole subtree has at most so many characters is one answer, not several."""

_DEFINED = re.compile(r"^\s{0,3}\[([^\]^][^\]]*)\]:\s+<?(\S+?)>?(?:\s+[\"'(].*)?\s*$")
_REFERRED = re.compile(r"(?<!!)\[([^\[\]]+)\](?:\[([^\[\]]*)\]|(?![(\[:]))")
_LINKED = re.compile(
    r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(\s*<?([^()\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)"
)
_AUTOLINK = re.compile(r"<(https?://[^\s>]+)>")
_ASIDE = re.compile(r"[ \t]*\([^()\n]*\b(?:see|cf\.?)\b[^()\n]*\b(?:above|below)\b[^()\n]*\)", re.I)
"""`(see "Flags" below)`: a section alone has no below."""
_ADMONITION = re.compile(r"^\s*>?\s*\[!(\w+)\]\s*$", re.M)
_STARTS = re.compile(r"^\s*(?:[-*+]\s|\d{1,3}[.)]\s|#{1,6}\s|>|\||\+[-=]|:\w+:|<|={3,}|-{3,})")


@dataclass(frozen=True)
class Section:
    """A part of a page that answers something."""

    title: str
    above: list[str]
    """The headings above it, the page's title first."""
    text: str
    first: int
    """Line of its heading in the page's text, from 1."""
    last: int


@dataclass
class _Node:
    title: str
    level: int
    first: int
    last: int = 0
    own: str = ""
    children: list[_Node] = field(default_factory=list)

    def whole(self) -> str:
        """Own text and everything below, with the headings of what is below."""
        parts = [self.own]
        for child in self.children:
            parts += [f"**{child.title}**", child.whole()]
        return posts.tidy("\n\n".join(part for part in parts if part.strip()))

    def end(self) -> int:
        """The last line of everything below."""
        return max([self.last, *(child.end() for child in self.children)])


def sections(page: Document) -> Iterator[Section]:
    """The sections of a page in order; small neighbours under one heading stay together."""
    root = _tree(page)
    top = root
    if not root.own.strip() and len(root.children) == 1:
        top = root.children[0]
    yield from _packed(top, [])


def _packed(node: _Node, above: list[str]) -> Iterator[Section]:
    whole = node.whole()
    if not node.children or (len(whole) <= PACKED and above):
        yield Section(node.title, above, whole, node.first, node.end())
        return
    if node.own.strip():
        yield Section(node.title, above, node.own, node.first, node.last)
    for child in node.children:
        yield from _packed(child, [*above, node.title])


def _tree(page: Document) -> _Node:
    """The page's headings as a tree; the root is the page itself."""
    from markdown_it import MarkdownIt

    text = page.text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    links = _definitions(lines)
    tokens = MarkdownIt("commonmark").disable("inline").parse(text)
    marks = [
        (token.map[0], int(token.tag[1]), _bare(tokens[place + 1].content), token.map[1])
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]
    root = _Node(_bare(page.title), 0, 1)
    stack = [root]
    starts = [mark[0] for mark in marks] + [len(lines)]
    root.last = max(starts[0], 1)
    root.own = clean("\n".join(lines[: starts[0]]), links)
    for place, (start, level, title, after) in enumerate(marks):
        end = starts[place + 1]
        node = _Node(title, level, start + 1, end, clean("\n".join(lines[after:end]), links))
        while stack[-1].level >= level:
            stack.pop()
        stack[-1].children.append(node)
        stack.append(node)
    return root


def _definitions(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line, code in zip(lines, cut.fences(lines), strict=True):
        match = None if code else _DEFINED.match(line)
        if match:
            found.setdefault(match[1].lower(), match[2])
    return found


def _bare(title: str) -> str:
    """A heading without markup, numbering and closing hashes."""
    text = _LINKED.sub(r"\1", title)
    text = re.sub(r"[*_]{1,3}([^*_]+)[*_]{1,3}", r"\1", text.replace("`", ""))
    text = re.sub(r"\{#[\w-]+\}|<[^>]+>|:[a-z_]+:", "", text)
    return re.sub(r"^\d+(?:\.\d+)*[.)]\s+", "", text.strip().strip("#").strip()).strip()


def clean(text: str, links: dict[str, str]) -> str:
    """A section's text on one line per paragraph, links resolved to what leads somewhere."""

    def label(name: str, target: str) -> str:
        absolute = target.startswith(("https://", "http://"))
        if not absolute or re.fullmatch(r"`?#?\w{1,10}\d+`?", name) or name == target:
            return name
        return f"[{name}]({target})"

    def referred(match: re.Match[str]) -> str:
        target = links.get((match[2] or match[1]).lower())
        if target is None:  # a box of a list, an index in code, or a link to nowhere
            return match[0] if match[2] is None else match[1]
        return label(match[1], target)

    def change(part: str) -> str:
        bare = "\n".join(line for line in part.split("\n") if not _DEFINED.match(line))
        bare = _ADMONITION.sub(lambda m: f"> {m[1].capitalize()}:", posts.plain_tags(bare))
        bare = _ASIDE.sub("", bare)
        bare = _LINKED.sub(lambda m: label(m[1], m[2]), bare)
        return _AUTOLINK.sub(r"\1", _REFERRED.sub(referred, bare))

    return posts.tidy(reflowed(posts.outside(text, change)))


def reflowed(text: str) -> str:
    """Paragraphs and list items on one line each: where an editor wrapped them says nothing."""
    lines = text.split("\n")
    out: list[str] = []
    joins = False
    for line, code in zip(lines, cut.fences(lines), strict=True):
        plain = not code and bool(line.strip())
        if plain and joins and not _STARTS.match(line) and not out[-1].endswith("  "):
            out[-1] = f"{out[-1].rstrip()} {line.strip()}"
        else:
            out.append(line.rstrip() if not line.endswith("  ") or code else line)
        joins = plain and not re.match(r"\s*(?:\||#{1,6}\s|<|\+[-=]|={3,}|-{3,}$)", line)
    return "\n".join(out)
