"""CommonMark in one spelling: headings with `#`, code between fences, every fence closed.

So whoever reads the text line by line sees the same headings and the same code as a parser.
"""

from __future__ import annotations

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from opslore.sources.pages_fences import fenced


@cache
def _structure() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def normal(lines: list[str]) -> str:
    """The lines as one text that ends with a line break; empty when nothing is left."""
    rows: list[str | None] = list(lines)
    code: set[int] = set()
    heading: Token | None = None
    for token in _structure().parse("\n".join(lines)):
        first, end = token.map or (0, 0)
        if token.type == "fence":
            _close(rows, token, first, end)
            code.update(range(first, end))
        elif token.type == "code_block" and token.level == 0:
            body = _body(lines, first, end)
            rows[first:end] = [None] * (end - first)
            rows[first] = "\n".join([*fenced(body), ""])
            code.update(range(first, end))
        elif token.type == "code_block":
            code.update(range(first, end))
        elif token.type == "heading_open" and token.markup in ("=", "-") and token.level == 0:
            heading = token
        elif token.type == "inline" and heading is not None:
            first, end = heading.map or (0, 0)
            mark = "#" * int(heading.tag[1])
            rows[first:end] = [None] * (end - first)
            rows[first] = f"{mark} {' '.join(token.content.split())}"
            heading = None
    return _tight(rows, code)


def _body(lines: list[str], first: int, end: int) -> list[str]:
    """The lines of an indented block without its indent and the blank lines at its end."""
    body = [re.sub(r"^(?: {4}| {0,3}\t)", "", line) for line in lines[first:end]]
    while body and not body[-1].strip():
        body.pop()
    return body


def _close(rows: list[str | None], token: Token, first: int, end: int) -> None:
    """Add the closing fence when the file forgot it."""
    last = (rows[end - 1] or "").lstrip(" \t>").rstrip()
    mark = token.markup
    if end - 1 > first and len(last) >= len(mark) and not last.strip(mark[0]):
        return
    opening = rows[first] or ""
    before = opening[: opening.find(mark)]
    before = "".join(char if char in ">\t" else " " for char in before)
    rows[end - 1] = f"{rows[end - 1]}\n{before}{mark}"


def _tight(rows: list[str | None], code: set[int]) -> str:
    """One blank line where there were several; none at the ends, and code as it is."""
    out: list[str] = []
    for at, row in enumerate(rows):
        if row is None:
            continue
        for line in row.split("\n") if at in code else [row.rstrip()]:
            if line or at in code:
                out.append(line)
            elif out and out[-1]:
                out.append("")
    while out and not out[-1].strip():
        out.pop()
    start = next((at for at, line in enumerate(out) if line.strip()), 0)
    return "\n".join(out[start:]) + "\n" if out else ""
