"""What a reader does not see: characters without a glyph, and HTML comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_ZERO = "\u200b\u200c\u200d\u2060-\u2064\ufeff\u180e\u034f\u115f\u1160\u3164\uffa0\ufff9-\ufffb"
_JOINER = "\u200c\u200d"
_SELECTOR = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_OVERRIDE = "\u202a-\u202e\u2066-\u2069"
_MARK = "\u200e\u200f\u061c"
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe]")
_ODD = re.compile(f"[{_ZERO}{_SELECTOR}{_OVERRIDE}{_MARK}\U000e0000-\U000e007f]")

_FLAGS = re.compile("\U0001f3f4(?:\U000e0067\U000e0062[\U000e0061-\U000e007a]{3})\U000e007f")
"""England, Scotland and Wales are written with tag characters."""
_JOINED = re.compile(
    f"(?<=[\u0600-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u17ff])[{_JOINER}]"
    "(?=[\u0600-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u17ff])"
    "|(?<=[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])"
)
"""Scripts that need joiners, and families of emoji."""
_STYLED = re.compile(
    "(?<=[#*0-9\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f](?![\ufe00-\ufe0f])"
    "|(?<=[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
)
"""One selector after a sign or an ideograph chooses its look."""

_NAMES = (
    (re.compile("[\U000e0000-\U000e007f]"), "Unicode tag characters"),
    (re.compile(f"[{_SELECTOR}]"), "Unicode variation selectors that change no sign"),
    (re.compile(f"[{_OVERRIDE}]"), "Unicode marks that turn the reading direction"),
    (re.compile(f"[{_MARK}]"), "Unicode direction marks in left-to-right text"),
    (re.compile(f"[{_ZERO}]"), "invisible Unicode characters"),
)


@dataclass(frozen=True)
class Comment:
    """An HTML comment outside code."""

    text: str
    open: bool = False
    """It does not end, and hides the rest."""


def invisible(text: str) -> str:
    """Which characters without a glyph stand in a text, other than where a script needs them."""
    if text.isascii() or not _ODD.search(text):
        return ""
    rest = _STYLED.sub("", _JOINED.sub("", _FLAGS.sub("", text.removeprefix("\ufeff"))))
    if _RTL.search(rest):
        rest = re.sub(f"[{_MARK}]", "", rest)
    for pattern, name in _NAMES:
        if found := pattern.findall(rest):
            return f"{len(found)} {name} (U+{ord(found[0]):04X})"
    return ""


_COMMENT = re.compile(r"<!--(.*?)(?:--!?>|\Z)", re.S)
_ACTS = re.compile(
    r"\b(?:assistant|chatbot|language model|llm|copilot|gpt|claude|gemini|ai agent|system prompt)\b"
    r"|(?:^|[\s`;|&(])(?:sudo|curl|wget|kubectl|rm\s+-|bash\s+-c|sh\s+-c|eval|chmod|nc\s+-|helm"
    r"|base64|docker|terraform|ssh|python3?\s+-c)\s+[\w./$\"'~-]",
    re.I,
)


def acts(comment: str) -> bool:
    """Whether a comment speaks to a model or holds a command."""
    return bool(_ACTS.search(comment))


def without_comments(text: str) -> tuple[str, list[Comment]]:
    """A Markdown text without its HTML comments, and these; comments inside code stay."""
    if "<!--" not in text:
        return text, []
    kept: list[str] = []
    comments: list[Comment] = []
    at = 0
    code = list(_code(text))
    for found in _COMMENT.finditer(text):
        if found.start() < at or any(a <= found.start() < b for a, b in code):
            continue
        comments.append(Comment(found.group(1), open=not found.group().endswith(">")))
        kept.append(text[at : found.start()])
        at = found.end()
    if not comments:
        return text, []
    whole = "".join([*kept, text[at:]])
    return re.sub(r"(?:[ \t]*\n){3,}", "\n\n", whole).strip("\n"), comments


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Where code stands, as offsets: fences and indented blocks by their lines, spans by ticks."""
    if "`" not in text and "~~~" not in text and not _INDENTED.search(text):
        return
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    for token in _blocks().parse(text):
        if token.map is None:
            continue
        first, last = (min(line, len(starts) - 1) for line in token.map)
        if token.type in ("fence", "code_block"):
            yield starts[first], starts[last]
        elif token.type == "inline" and "`" in token.content:
            segment = text[starts[first] : starts[last]]
            for span in _TICKS.finditer(segment):
                yield starts[first] + span.start(), starts[first] + span.end()


_INDENTED = re.compile(r"^(?: {4}| {0,3}\t)", re.M)
_TICKS = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n[ \t]*\n)[\s\S])+?(?<!`)\1(?!`)")


@cache
def _blocks() -> MarkdownIt:
    """CommonMark without its inline half, which takes most of the time."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline")
