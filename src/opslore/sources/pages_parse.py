"""One page: from the bytes of a file to a title, clean Markdown, and the lines it came from."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pydantic import Field

from opslore.cards import Document, Dropped, Record, Span, Trust
from opslore.sources import pages_front, pages_markdown, pages_noise
from opslore.sources.markdown import parse, plain
from opslore.sources.pages_includes import Includes, Read
from opslore.sources.read import Unreadable, decode

SUFFIXES = (".md", ".markdown", ".mdx", ".rst")
FORM = 1
"""Goes up when the same file would be read differently; kept pages are then read again."""

_POINTER = b"version https://git-lfs.github.com/spec/"


class Page(Record):
    """What was read of one file."""

    path: str
    """Below the root, with `/`."""
    title: str = ""
    text: str = ""
    section: str = ""
    version: str = ""
    product: str = ""
    updated: str = ""
    nature: str = ""
    first: int = 1
    last: int = 1
    reason: str = ""
    """Why it is left out; empty when it is kept."""
    notes: list[Dropped] = Field(default_factory=list)
    uses: dict[str, str] = Field(default_factory=dict)
    """Files that it includes -> SHA-256, empty for those that were not found."""


class About(Record):
    """What holds for every page of a source."""

    prefix: str
    """What ids begin with: `docs:linkerd2`."""
    road: str
    """How it was read: folder, git, sitemap, mcp, html, browser."""
    product: str = ""
    version: str = ""
    trust: Trust = "T2"


def page(path: str, data: bytes, read: Read) -> Page:
    """Read a file of Markdown, MDX or reStructuredText; a bad one says why.

    Args:
        path: below the root; its suffix says what is in it.
        data: the file's bytes.
        read: other files of the root, for includes.
    """
    includes = Includes(read, path)
    try:
        if data.startswith(_POINTER):
            raise Unreadable("a Git LFS pointer, the file itself is elsewhere")
        text = decode(data, path, includes.dropped)
        found = _clean(path, text, includes)
    except Unreadable as error:
        return Page(path=path, reason=str(error), notes=includes.dropped)
    return found.model_copy(update={"notes": includes.dropped, "uses": includes.used})


def _clean(path: str, text: str, includes: Includes) -> Page:
    front, body = pages_front.split(text)
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".rst":
        from opslore.sources import pages_rst  # docutils, for those who have such files

        words = pages_rst.clean(body, includes)
    elif suffix in (".mediawiki", ".wiki"):
        from opslore.sources import pages_mediawiki

        words = pages_mediawiki.clean(body)
    else:
        words = pages_markdown.clean(body, includes, suffix == ".mdx")
    title = front.get("title") or title_of(words) or name_of(path)
    reason = "a draft" if pages_front.is_draft(front) else pages_noise.why_not(path, title, words)
    rows = body.split("\n")
    written = [number for number, row in enumerate(rows, 1) if row.strip()] or [1]
    return Page(
        path=path,
        title=title,
        text=words,
        section=" / ".join(PurePosixPath(path).parent.parts),
        version=pages_front.version_of(front, path),
        product=front.get("product", ""),
        updated=pages_front.updated(front),
        nature=pages_noise.nature(path),
        first=written[0],
        last=written[-1],
        reason=reason,
    )


def title_of(text: str) -> str:
    """The first heading of the highest level among the first few, without markup."""
    parsed = parse(text)
    headings = [block for block in parsed.blocks if block.kind == "heading"][:3]
    top = min(headings, key=lambda block: block.level, default=None)
    return plain(top, parsed) if top else ""


def name_of(path: str) -> str:
    """A title from a file's name: `getting-started.md` is `Getting started`."""
    where = PurePosixPath(path)
    named = where.stem.lower() not in ("index", "_index", "readme") or not where.parent.name
    words = " ".join(re.split(r"[-_\s]+", where.stem if named else where.parent.name)).strip()
    return words[:1].upper() + words[1:] or path


def document(found: Page, about: About, span: Span, url: str = "", updated: str = "") -> Document:
    """A page as the corpus keeps it."""
    labels = {"road": about.road}
    if found.nature:
        labels["nature"] = found.nature
    return Document(
        id=f"{about.prefix}/{found.path}",
        kind="page",
        title=found.title,
        text=found.text,
        url=url,
        updated=found.updated or updated,
        trust=about.trust,
        labels=labels,
        span=span,
        section=found.section,
        product=about.product or found.product,
        version=about.version or found.version,
    )


def left_out(found: Page, name: str) -> list[Dropped]:
    """The rows that say what was left out of a page, or why it is left out itself."""
    rows = [
        row.model_copy(update={"span": row.span.model_copy(update={"file": name})})
        if row.span and row.span.file == found.path
        else row
        for row in found.notes
    ]
    if found.reason:
        span = Span(file=name, first=found.first, last=found.last)
        rows.append(Dropped(what=name, reason=found.reason, span=span))
    return rows
