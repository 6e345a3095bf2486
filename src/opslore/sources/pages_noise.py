"""Pages that teach nothing about a product: licences, codes of conduct, lists of names and links.

A list of changes is kept and marked, for it tells what a version has; whoever writes questions
decides what to do with it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_LEGAL = re.compile(
    r"Permission is hereby granted, free of charge|TERMS AND CONDITIONS FOR USE, REPRODUCTION"
    r"|GNU (?:LESSER |AFFERO )?GENERAL PUBLIC LICENSE\s+Version|Redistribution and use in source",
)
_LICENCE = re.compile(r"(?:un)?licen[cs]es?|copying|copyright|notice|dco|cla", re.IGNORECASE)
_CONDUCT = re.compile(r"code.of.conduct", re.IGNORECASE)
_TEMPLATE = re.compile(r"(?:pull.request|issue|bug.report|feature.request).template", re.IGNORECASE)
_NAVIGATION = re.compile(r"_(?:sidebar|footer|header|navbar|toc)|summary|sitemap", re.IGNORECASE)
_CHANGES = re.compile(
    r"change.?s|change.?logs?|history|release.?notes|releases|news", re.IGNORECASE
)
_ENTRY = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+|\s*\|")
_LINK = re.compile(r"!?\[([^\[\]\n]*)\](?:\([^()\n]*\)|\[[^\]\n]*\])")
_DEFINITION = re.compile(r"\s*\[[^\]\n]+\]:\s")
FEWEST = 5
"""Entries that make a list."""
PROSE = 400
"""Characters of prose beside a list that make it more than a list."""


def why_not(path: str, title: str, text: str) -> str:
    """Why a page is left out; empty when it is kept."""
    stem = PurePosixPath(path).stem
    if not text.strip():
        return "nothing in it but front matter, comments or imports"
    if _LICENCE.fullmatch(stem) or _LEGAL.search(text[:20_000]):
        return "the text of a licence"
    if _CONDUCT.search(stem) or _CONDUCT.search(title):
        return "a code of conduct"
    if _TEMPLATE.search(stem):
        return "a template for issues or pull requests"
    if _NAVIGATION.fullmatch(stem):
        return "navigation"
    return "a list of names or links" if _only_entries(text) else ""


def nature(path: str) -> str:
    """What kind of page it is, when that matters: `changelog`."""
    return "changelog" if _CHANGES.fullmatch(PurePosixPath(path).stem) else ""


def _only_entries(text: str) -> bool:
    """Whether a page has a list of names or links, and hardly a sentence beside it."""
    entries = prose = 0
    if "```" in text or "~~~" in text:
        return False
    for line in text.split("\n"):
        if not line.strip() or line.startswith("#") or _DEFINITION.match(line):
            continue
        bare = " ".join(_LINK.sub(r"\1", line).split())
        if _ENTRY.match(line) and len(bare.split()) <= 8:
            entries += 1
        else:
            prose += len(bare)
    return entries >= FEWEST and prose < min(PROSE, 40 * entries)
