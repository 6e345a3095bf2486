"""Sections that answer nothing, each with the reason: contents, people, bare code, pointers."""

from __future__ import annotations

import re

from opslore.dataset import cut
from opslore.dataset.questions import ITEMS, POINTS, STEPS
from opslore.dataset.sections import Section

_SIGNS = re.compile(r"->|=>|[;{}=]")
_PERSON = re.compile(r"^\s{0,3}[-*+|].*(?:(?<![\w/])@[\w-]+|<EMAIL>|[\w.]+@[\w.]+)", re.M)
_WEB = re.compile(r"https?://\S+|\[[^\]]*\]\([^)]*\)")
_ADMIN = re.compile(
    r"^(?:table of contents|contents|toc|licen[cs]e|copyright|index|see also)$", re.I
)

_TOLD_BEFORE = re.compile(
    r"\b(?:stated|described|mentioned|noted|explained|outlined|discussed) (?:above|earlier)\b|"
    r"\babove[- ]mentioned\b|\b(?:previous|preceding) section\b|\bsections? above\b",
    re.I,
)
_SHOWN_BEFORE = re.compile(
    r"\b(?!(?:and|or|is|are|was|it|from) above)[a-z]+ above\b(?! (?:all|and beyond|the|\d))|"
    r"\b(?:the|in) above [a-z]+|\b(?:these|those) (?:commands?|steps?|scripts?|examples?)\b",
    re.I,
)
"""What a section shows itself, it may point to."""
_TOLD_LATER = re.compile(
    r"\b(?:described|mentioned|explained|outlined|discussed|listed|shown|given|see) below\b", re.I
)
_DIAGRAM = re.compile(
    r"^\W*(?:strict )?(?:di)?graph \w*\s*\{|\brankdir\s*=|"
    r"^\s*(?:sequence|class|state)Diagram\b|^\s*(?:flowchart|graph) (?:TD|TB|LR|RL|BT)\b",
    re.M,
)

INTRODUCTION = 160
"""Fewest characters of a page's beginning that says what the page is about."""

FEW_WORDS = 25
"""A section that begins with code and has fewer words, code included, does not say what for: a
program's usage text says it, a lone call does not."""


def unfit(section: Section, shortest: int) -> str:
    """The reason why a section answers nothing, or ""."""
    if _ADMIN.match(section.title.strip()):
        return "contents, licence or index"
    if POINTS.search(section.title):
        return "its heading points at something else"
    text = section.text.strip()
    prose = _WEB.sub(" ", text)
    if len(text) < shortest or (not section.above and len(prose) < INTRODUCTION):
        return "too short"
    people = len(_PERSON.findall(text))
    if people and 2 * people > len(ITEMS.findall(text)):
        return "a list of people"
    words = len(re.findall(r"[A-Za-z]{2,}", prose))
    if words < 6 or (len(prose.strip()) < 0.35 * len(text) and words < 25):
        return "only links"
    plain = "\n".join(block for block in cut.blocks(prose) if not cut.is_code(block))
    if (
        _DIAGRAM.search(text)
        or 6 * len(_SIGNS.findall(plain)) > len(re.findall(r"[A-Za-z]{2,}", plain)) > 20
    ):
        return "a diagram or data, no prose"
    return _leaning(text)


def _leaning(text: str) -> str:
    """The reason why a section needs what stands around it, or ""."""
    parts = cut.blocks(text)
    plain = [block for block in parts if not cut.is_code(block)]
    if _TOLD_BEFORE.search("\n".join(plain)):
        return "refers to another section"
    shows = False
    for block in parts:
        if not shows and not cut.is_code(block) and _SHOWN_BEFORE.search(block):
            return "refers to another section"
        shows = shows or cut.is_code(block) or bool(ITEMS.match(block) or STEPS.match(block))
    if parts and _TOLD_LATER.search(parts[-1]):
        return "refers to another section"
    words = len(re.findall(r"[A-Za-z]{2,}", _WEB.sub(" ", text)))
    if parts and cut.is_code(parts[0]) and words < FEW_WORDS:
        return "code that nothing explains"
    return ""
