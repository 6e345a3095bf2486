"""MediaWiki's text to CommonMark: headings, code, lists, links, tables; templates are left out.

No small package does this (the parsers that exist give a tree and no text), and a wiki's own
repository holds the plain subset that people type.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

from opslore.sources.pages_fences import fenced
from opslore.sources.pages_normal import normal

DEEPEST = 20
"""Templates inside templates."""
_BLOCK = re.compile(r"<(syntaxhighlight|source|pre)\b([^<>]*)>", re.IGNORECASE)
_REF = re.compile(r"<(ref)\b([^<>]*)(?<!/)>", re.IGNORECASE)
_COMMENT = re.compile(r"<(!)(--)")
_ENDS = {
    name: re.compile(f"</{name}\\s{{0,9}}>", re.IGNORECASE)
    for name in ("syntaxhighlight", "source", "pre", "ref")
} | {"!": re.compile("-->")}
_LANG = re.compile(r"lang\s*=\s*[\"']?([\w+#-]+)")
_TOKEN = "opslorecode{}endofcode"
_FOUND = re.compile(r"opslorecode(\d+)endofcode")
_HEADING = re.compile(r"\s*(={1,6})\s*(.+?)\s*\1\s*$")
_ITEM = re.compile(r"([*#:;]+)\s*(.*)$")
_GONE = re.compile(
    r"<ref\b[^<>]*/>|<references\s*/?>|__[A-Z]{3,20}__"
    r"|</?(?:noinclude|includeonly|onlyinclude|nowiki|div|span|center|small|big|br|u|s)\b[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{(?P<name>[^{}|]*)(?P<more>(?:\|[^{}]*)?)\}\}")
_BOXES = ("note", "warning", "tip", "important", "caution", "info")
_FILE = re.compile(r"\[\[\s*(?:file|image|category|media)\s*:[^\[\]]*\]\]", re.IGNORECASE)
_INNER = re.compile(r"\[\[([^\[\]|]+)(?:\|([^\[\]]*))?\]\]")
_OUTER = re.compile(r"(?<!\[)\[(https?://[^\s\]]+)(?:\s+([^\]]*))?\]")
_CODE = re.compile(r"<(code|tt|kbd|samp)\b[^<>]*>(.*?)</\1\s*>", re.IGNORECASE)


def clean(text: str) -> str:
    """A page as CommonMark; never raises on any text."""
    codes: list[list[str]] = []

    def take(attributes: str, code: str) -> str:
        language = _LANG.search(attributes)
        rows = html.unescape(code).strip("\n").split("\n")
        codes.append(fenced(rows, language[1].lower() if language else ""))
        return f"\n{_TOKEN.format(len(codes) - 1)}\n"

    text = _replaced(text, _BLOCK, take)
    text = _replaced(text, _COMMENT, lambda *_: "")
    text = _templates(_GONE.sub("", _replaced(text, _REF, lambda *_: "")))
    out: list[str] = []
    for line in _lines(text.split("\n")):
        found = _FOUND.fullmatch(line.strip())
        if found and int(found[1]) < len(codes):
            out += ["", *codes[int(found[1])], ""]
        else:
            out.append(line)
    return normal(out)


def _replaced(text: str, begins: re.Pattern[str], made: Callable[[str, str], str]) -> str:
    """Text with every tag and what it holds replaced; a tag that never closes stays.

    Args:
        text: the page.
        begins: the opening tag: its name and its attributes.
        made: from the attributes and what the tag holds to what stands there instead.
    """
    out: list[str] = []
    at = 0
    never: set[str] = set()
    for found in begins.finditer(text):
        name = found[1].lower()
        if found.start() < at or name in never:
            continue
        ends = _ENDS[name].search(text, found.end())
        if ends is None:
            never.add(name)
            continue
        out += [text[at : found.start()], made(found[2], text[found.end() : ends.start()])]
        at = ends.end()
    return "".join([*out, text[at:]])


def _templates(text: str) -> str:
    """Without templates; the words of a note stay."""

    def words(found: re.Match[str]) -> str:
        name = found["name"].strip().lower()
        said = [part for part in found["more"].split("|")[1:] if "=" not in part.split(" ")[0]]
        return f"\n'''{name.capitalize()}:''' {said[-1]}\n" if name in _BOXES and said else ""

    for _ in range(DEEPEST):
        text, count = _TEMPLATE.subn(words, text)
        if not count:
            break
    return text


def _lines(rows: list[str]) -> Iterator[str]:
    code: list[str] = []
    table: list[list[str]] | None = None
    for row in [*rows, ""]:
        if code and not row.startswith(" "):
            yield from ["", *fenced([line[1:] for line in code]), ""]
            code = []
        if table is not None or row.lstrip().startswith("{|"):
            table = [] if table is None else table
            if row.lstrip().startswith("|}"):
                yield from _drawn(table)
                table = None
            else:
                _cells(row.strip(), table)
        elif row.startswith(" ") and row.strip():
            code.append(row)
        else:
            yield from _row(row)
    if table:  # never closed: its cells are kept
        yield from _drawn(table)


def _row(row: str) -> Iterator[str]:
    heading = _HEADING.match(row)
    item = _ITEM.match(row)
    if heading:
        yield from ["", f"{'#' * len(heading[1])} {_inline(heading[2])}", ""]
    elif row.startswith("----"):
        yield ""
    elif item and item[2]:
        marks = item[1]
        pad = "".join("   " if mark == "#" else "  " for mark in marks[:-1])
        mark = {"#": "1. ", "*": "- ", ":": "", ";": ""}[marks[-1]]
        words = _inline(item[2])
        yield f"{pad if mark else ''}{mark}{f'**{words}**' if marks[-1] == ';' else words}"
    else:
        # A line of prose that Markdown would take for a heading or a fence is none.
        yield re.sub(r"^\s*(?=#{1,6}(?: |$)|`{3}|~{3}|=+\s*$|-+\s*$)", r"\\", _inline(row))


def _inline(text: str) -> str:
    text = _CODE.sub(lambda found: f"`{html.unescape(found[2]).replace('`', '')}`", text)
    text = _FILE.sub("", text)
    text = _INNER.sub(_link, text)
    text = _OUTER.sub(lambda found: f"[{found[2] or found[1]}]({found[1]})", text)
    text = re.sub(r"'''''(.+?)'''''", r"***\1***", text)
    return re.sub(r"''(.+?)''", r"*\1*", re.sub(r"'''(.+?)'''", r"**\1**", text))


def _link(found: re.Match[str]) -> str:
    target = found[1].strip()
    words = (found[2] or target).strip() or target
    return f"[{words}]({target.replace(' ', '_')})"


def _cells(row: str, table: list[list[str]]) -> None:
    """Add a line of a table to its rows."""
    if row.startswith("|-") or not table:
        table.append([])
    if row.startswith(("{|", "|-", "|+")):
        return
    if row[:1] in "|!" and row:
        for cell in re.split(r"\|\||!!", row[1:]):
            words = cell.rpartition("|")[2] if "|" in cell and "[[" not in cell else cell
            table[-1].append(_inline(words.strip()).replace("|", r"\|"))
    elif row and table[-1]:
        table[-1][-1] = f"{table[-1][-1]} {_inline(row)}".strip()


def _drawn(table: list[list[str]]) -> list[str]:
    rows = [row for row in table if row]
    if not rows:
        return []
    width = max(len(row) for row in rows)
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return ["", lines[0], "|" + " --- |" * width, *lines[1:], ""]
