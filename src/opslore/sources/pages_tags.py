"""Tags that are no Markdown on lines of their own: comments gone, tags split off and joined."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opslore.sources.pages_fences import Fences

_TAB = r"(?:TabItem|TabPanel|Tab|CodeGroupItem)"
_SPLIT = re.compile(
    r"(</?(?:Tabs|TabGroup|TabItem|TabPanel|Tab|CodeGroup|CodeGroupItem)(?:\s[^<>]*)?/?>"
    r"|\{\{[<%]\s*/?\s*(?:tabs?|tabpane|codetab|highlight|note|warning|tip|caution)\b.*?[%>]\}\}"
    r"|\{%-?\s*(?:end)?(?:tabs?|hint|highlight)\b[^%]*%\})"
)
_UNFINISHED = re.compile(rf"\s*<(?:Tabs|{_TAB}|CodeBlock|Admonition)\b[^>]*$")
_ATTRIBUTE = r"(?:label|name|title|header|tabname|text)\s*[=:]\s*\{?\s*[\"']([^\"']+)"
_LABEL = (
    re.compile(rf"\b{_ATTRIBUTE}", re.IGNORECASE),
    re.compile(r"\bvalue\s*=\s*\{?\s*[\"']([^\"']+)"),
    re.compile(r"[\"']([^\"'=]+)[\"']"),
)
_OPEN_TAB = re.compile(
    rf"\s*(?:<{_TAB}\b(?P<tag>[^>]*)>|\{{\{{[<%]\s*(?:tab|codetab)\b(?P<hugo>.*?)[%>]\}}\}}"
    r"|\{%-?\s*tab\b(?P<liquid>[^%]*)%\})\s*$"
)
_CLOSE_TAB = re.compile(
    rf"\s*(?:</{_TAB}\s*>|\{{\{{[<%]\s*/\s*(?:tab|codetab)\s*[%>]\}}\}}|\{{%-?\s*endtab\s*-?%\}})\s*$"
)
_LANGUAGE = re.compile(r"\blang(?:uage)?\s*=\s*[\"']?([\w+-]+)")
_CODE = re.compile("(`+)(?:.*?[^`])?\\1(?!`)")
_MARKS = {"<!--": "-->", "{/*": "*/}"}
LONGEST_TAG = 12
"""Lines that one opening tag may take."""
LONGEST_LINE = 1 << 14
"""Characters; in longer lines nothing is looked for."""


@dataclass(frozen=True)
class Tab:
    """An opening tag of a tab."""

    label: str
    language: str = ""
    """Language of the code inside, when the tag says that code is inside."""


def opened(line: str) -> Tab | None:
    """The tab that a line opens."""
    found = _OPEN_TAB.match(line)
    if not found:
        return None
    said = found["tag"] or found["hugo"] or found["liquid"] or ""
    if said.rstrip().endswith("/"):
        return None
    label = next((hit[1] for pattern in _LABEL if (hit := pattern.search(said))), "")
    language = _LANGUAGE.search(said) if "{{<" in line else None
    return Tab(" ".join(label.split()), language[1].lower() if language else "")


def closes(line: str) -> bool:
    """Whether a line closes a tab."""
    return bool(_CLOSE_TAB.match(line))


def prepared(lines: list[str]) -> list[str]:
    """Lines outside code without comments; tags of tabs stand on lines of their own."""
    return list(_split(_joined(_uncommented(lines))))


def _uncommented(lines: list[str]) -> Iterator[str]:
    fences = Fences()
    last = {
        end: max((at for at, line in enumerate(lines) if end in line), default=-1)
        for end in _MARKS.values()
    }
    waiting = ""
    for at, line in enumerate(lines):
        if waiting:
            _, found, line = line.partition(waiting)
            if not found:
                yield ""
                continue
            waiting = ""
        elif fences.inside(line):
            yield line
            continue
        text, waiting = _without(line, at, last)
        yield text


def _without(line: str, at: int, last: dict[str, int]) -> tuple[str, str]:
    """A line without its comments, and the end that is waited for on later lines."""
    cursor = 0
    while len(line) <= LONGEST_LINE:
        starts = [(line.find(mark, cursor), mark) for mark in _MARKS]
        start, mark = min((pair for pair in starts if pair[0] >= 0), default=(-1, ""))
        if start < 0:
            return line, ""
        code = next((c for c in _CODE.finditer(line, cursor) if c.start() < start < c.end()), None)
        if code:
            cursor = code.end()
            continue
        stop = line.find(_MARKS[mark], start + len(mark))
        if stop >= 0:
            line, cursor = line[:start] + line[stop + len(_MARKS[mark]) :], start
        elif last[_MARKS[mark]] > at:
            return line[:start], _MARKS[mark]
        else:  # never closed: no comment, and nothing is lost
            cursor = start + len(mark)
    return line, ""


def _joined(lines: Iterator[str]) -> Iterator[str]:
    fences = Fences()
    held: list[str] = []
    for line in lines:
        if held:
            held.append(line)
            if ">" in line or "}}" in line:
                yield " ".join(part.strip() for part in held)
                held = []
            elif len(held) > LONGEST_TAG or not line.strip():
                yield from held
                held = []
        elif not fences.inside(line) and _UNFINISHED.match(line):
            held = [line]
        else:
            yield line
    yield from held


def _split(lines: Iterator[str]) -> Iterator[str]:
    fences = Fences()
    for line in lines:
        whole = fences.inside(line) or "`" in line or len(line) > LONGEST_LINE
        pieces = [line] if whole else _SPLIT.split(line)
        yield from (piece for piece in pieces if piece.strip() or len(pieces) == 1)
