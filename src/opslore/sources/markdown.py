"""CommonMark tokens to a flat list of blocks, each with its lines in the file.

The text inside a block is parsed only when somebody asks for it: most of a runbook is prose that
decides nothing, and an inline parser is the slow half of Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

MAX_INLINE = 1 << 16
"""Longer paragraphs stay plain text: nested brackets cost quadratic time."""

_CONTAINERS = frozenset(
    f"{kind}_{end}"
    for kind in ("bullet_list", "ordered_list", "blockquote")
    for end in ("open", "close")
)
_MARKUP = re.compile(r"[\\`*_!\[\]<>&]")
_FRONT = re.compile(r"[\w.-]+\s*[:=]|\s|#|[-\]}]|$")
_PAIR = re.compile(r"([\w.-]+)\s*[:=]\s*(.*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, a piece of prose (paragraph, list item, table row) or a piece of code."""

    kind: Literal["heading", "text", "code"]
    first: int
    """First line in the file, from 1; of code, the line of its first row."""
    last: int
    """Last line, the closing fence included."""
    raw: str
    level: int = 0
    """Heading level, 1 to 6."""
    info: str = ""
    """What stands behind the opening fence."""
    fenced: bool = False
    depth: int = 0
    """How many lists and quotes it stands in."""


@dataclass(slots=True)
class Line:
    """One line of prose: without markup, its leading bold words, and the code inside."""

    text: str = ""
    label: str = ""
    """Bold or italic words that open the line."""
    codes: list[tuple[str, int, int]] = field(default_factory=list)
    """Back-ticked pieces with their first and last line in the file."""
    bare: str = ""
    """The text without the back-ticked pieces."""


@dataclass(frozen=True)
class Page:
    """A parsed file."""

    blocks: list[Block]
    front: dict[str, str]
    """Simple `key: value` pairs of the front matter."""
    references: MutableMapping[str, Any]
    """Link definitions, wherever they stand in the file."""
    prose: dict[Block, list[Line]] = field(default_factory=dict)
    """The blocks whose text was asked for."""


@cache
def _structure() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@cache
def _inline() -> MarkdownIt:
    return MarkdownIt("commonmark")


def parse(text: str) -> Page:
    """Parse a file; line numbers are the file's own, with the front matter counted."""
    front, body = front_matter(text)
    references: MutableMapping[str, Any] = {}
    tokens = _structure().parse(body, references)
    return Page(list(_blocks(tokens)), front, references)


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """Its pairs, and the text with its lines blanked."""
    fence = text[:3]
    if fence not in ("---", "+++") or text[3:].split("\n", 1)[0].strip():
        return {}, text
    lines = text.split("\n")
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() in (fence, "..." if fence == "---" else fence):
            pairs = [_PAIR.match(inner) for inner in lines[1:number]]
            front = {pair[1].lower(): pair[2].strip().strip("\"'") for pair in pairs if pair}
            return front, "\n" * (number + 1) + "\n".join(lines[number + 1 :])
        if not _FRONT.match(line):
            break
    return {}, text


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    depth = 0
    heading: Token | None = None
    row: list[str] = []
    where = (1, 1)
    for token in tokens:
        kind = token.type
        if kind in _CONTAINERS:
            depth += token.nesting
        elif kind == "heading_open":
            heading = token
        elif kind in ("fence", "code_block"):
            yield _code(token, depth)
        elif kind in ("td_open", "th_open", "tr_open"):
            row = [] if kind == "tr_open" else [*row, ""]
        elif kind == "tr_close":
            yield Block("text", *where, " | ".join(row), depth=depth)
            row = []
        elif kind == "inline" and row:
            row[-1], where = token.content, _lines(token)
        elif kind == "inline":
            # A heading inside a list or a quote titles nothing: it is prose.
            if heading and not depth:
                level = int(heading.tag[1])
                yield Block("heading", *_lines(heading), token.content, level=level)
            else:
                yield Block("text", *_lines(heading or token), token.content, depth=depth)
            heading = None


def _lines(token: Token) -> tuple[int, int]:
    first, end = token.map or (0, 1)
    return first + 1, max(end, first + 1)


def _code(token: Token, depth: int) -> Block:
    first, last = _lines(token)
    fenced = token.type == "fence"
    # A fence's rows begin below its opening line.
    return Block(
        "code",
        first + 1 if fenced else first,
        last,
        token.content,
        info=token.info.strip(),
        fenced=fenced,
        depth=depth,
    )


def lines(block: Block, page: Page) -> list[Line]:
    """The lines of a block's prose, markup taken off; read once, and not to be changed."""
    if block not in page.prose:
        page.prose[block] = _read(block, page)
    return page.prose[block]


def _read(block: Block, page: Page) -> list[Line]:
    if len(block.raw) > MAX_INLINE or not _MARKUP.search(block.raw):
        rows = [" ".join(row.split()) for row in block.raw.split("\n")]
        return [Line(text, bare=text) for text in rows if text]
    children = _inline().parseInline(block.raw, page.references)[0].children or []
    return _Reader(block).read(children)


def plain(block: Block, page: Page) -> str:
    """A block's text on one line."""
    return " ".join(" ".join(line.text for line in lines(block, page)).split())


class _Reader:
    """Walks the inline tokens of one block."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.cursor = 0
        self.found = [Line()]
        self.strong = 0
        """Nesting of bold and italic; counts only while it opened its line."""

    def read(self, children: list[Token]) -> list[Line]:
        for token in children:
            if token.type in ("softbreak", "hardbreak"):
                self.found.append(Line())
                self.strong = 0
            elif token.type in ("strong_open", "em_open"):
                opens = not self.found[-1].text.strip() and not self.found[-1].label
                self.strong += 1 if self.strong or opens else 0
            elif token.type in ("strong_close", "em_close"):
                self.strong = max(0, self.strong - 1)
            elif token.type == "code_inline":
                self.code(token)
            elif token.type in ("text", "text_special", "image"):
                self.words(token.content)
        return [line for line in self.found if line.text.strip() or line.codes]

    def words(self, content: str) -> None:
        line = self.found[-1]
        line.text += content
        line.bare += content
        if self.strong:
            line.label += content

    def code(self, token: Token) -> None:
        line = self.found[-1]
        line.text += token.content
        if self.strong:
            line.label += token.content
        line.codes.append((token.content, *self.lines_of(token)))

    def lines_of(self, token: Token) -> tuple[int, int]:
        """Where a back-ticked piece stands in the file; the token itself does not say."""
        raw, mark = self.block.raw, token.markup
        wanted = "".join(token.content.split())
        at = raw.find(mark, self.cursor)
        while at >= 0:
            start = at + len(mark)
            end = raw.find(mark, start)
            if end < 0:
                break
            if "".join(raw[start:end].split()) == wanted:
                self.cursor = end + len(mark)
                first = self.block.first + raw.count("\n", 0, at)
                return first, first + raw.count("\n", at, end)
            at = raw.find(mark, at + 1)
        return self.block.first, self.block.first
