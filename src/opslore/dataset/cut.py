"""Long texts end where a section, a paragraph, a list item or a sentence ends, never inside code.

Nothing marks the cut: a model would learn to write the mark.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^\s{0,12}(`{3,}|~{3,})(.*)$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+\S")
_HEADING = re.compile(r"^#{1,6}\s+\S")
_LABEL = re.compile(r"^\*\*[^*]+\*\*$")
"""A heading of a section inside an answer; alone at the end it heads nothing."""
_ABBREVIATED = r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\bcf)(?<!\bNo)"
_SENTENCE = re.compile(_ABBREVIATED + r"[.!?][\"')\]*_]*(?=\s+[\"'(\[`*_]*[A-Z0-9])")


def fences(lines: list[str]) -> list[bool]:
    """For each line whether it belongs to a fenced code block, its fences included."""
    out: list[bool] = []
    mark = ""
    for line in lines:
        found = _FENCE.match(line)
        if mark:
            out.append(True)
            if found and found[1].startswith(mark) and not found[2].strip():
                mark = ""
        elif found and not (found[1][0] == "`" and "`" in found[2]):
            mark = found[1]
            out.append(True)
        else:
            out.append(False)
    return out


def blocks(text: str) -> list[str]:
    """Paragraphs, list items, headings, tables and whole code blocks, in order."""
    lines = text.split("\n")
    out: list[str] = []
    now: list[str] = []
    coded = False
    for line, code in zip(lines, fences(lines), strict=True):
        starts = not code and bool(_ITEM.match(line) or _HEADING.match(line))
        border = code != coded and not (now and code and now[-1].strip() and _ITEM.match(now[0]))
        ends = (not code and not line.strip()) or starts or border
        if ends and now:
            out.append("\n".join(now))
            now = []
        if code or line.strip():
            now.append(line)
        coded = code
    return [*out, "\n".join(now)] if now else out


def is_code(block: str) -> bool:
    """Whether a block holds fenced code."""
    return any(fences(block.split("\n")))


def cut(text: str, longest: int) -> str:
    """The beginning of a text, whole blocks and then whole sentences, in at most `longest` signs.

    Returns "" when not even one sentence fits, which happens when the text begins with long code.
    """
    text = text.strip()
    if len(text) <= longest:
        return text
    kept = ""
    place = 0
    for block in blocks(text):
        start = text.index(block, place)
        place = start + len(block)
        if place > longest:
            if not is_code(block) and len(kept) < longest / 2:
                kept = text[:start] + _whole(block, longest - start)
            break
        kept = text[:place]
    return without_stub(kept.strip())


def without_stub(text: str) -> str:
    """Without a last heading, or a last line that announces what was cut off."""
    while True:
        lines = text.rstrip().split("\n")
        last = lines[-1].rstrip()
        coded = fences(lines)[-1]
        if not coded and (_HEADING.match(last) or _LABEL.match(last) or last.endswith(":")):
            rest = "\n".join(lines[:-1]).rstrip()
            parts = sentences(last)
            if len(parts) > 1 and last.endswith(":"):
                rest = f"{rest}\n{' '.join(parts[:-1])}".strip()
            if rest == text:
                return text
            text = rest
            continue
        return text.rstrip()


def sentences(text: str) -> list[str]:
    """A paragraph's sentences; code in back-ticks is never divided."""
    out: list[str] = []
    start = 0
    for found in _SENTENCE.finditer(text):
        piece = text[start : found.end()]
        if piece.count("`") % 2 == 0:
            out.append(piece.strip())
            start = found.end()
    last = text[start:].strip()
    return [*out, last] if last else out


def _whole(block: str, longest: int) -> str:
    if block.lstrip().startswith("|"):
        rows = block[: max(longest, 0)].split("\n")[:-1]
        return "\n".join(rows) if len(rows) > 2 else ""
    end = 0
    for sentence in sentences(block):
        if not sentence.endswith((".", "!", "?", ")", '"', "'", "*", "_")):
            break
        until = block.index(sentence, end) + len(sentence)
        if until > longest:
            break
        end = until
    return block[:end]
