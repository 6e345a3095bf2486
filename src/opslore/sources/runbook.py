"""A runbook to alerts: a Markdown file, a folder with a file per alert, a git or an https URL."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from opslore import files
from opslore.cards import Document, Dropped, Span
from opslore.config_sources import RunbookSource
from opslore.errors import DataError, SourceError
from opslore.sources import Collected
from opslore.sources.alert import Draft, Reader, ends
from opslore.sources.fields import Fields
from opslore.sources.git import History, history
from opslore.sources.markdown import Page, parse
from opslore.sources.outline import Node, outline
from opslore.sources.read import Unreadable, decode, load, printable, walk

_LOOKED_FOR = (
    "a heading (`### Alert: X`, `### X`, `# X`) with fields below it, such as `**Symptoms:**`, "
    "`**Resolution:**`, `## Meaning` or `## Mitigation`"
)


@dataclass(frozen=True, slots=True)
class _Raw:
    """A file's bytes before they are text."""

    name: str
    stem: str
    folder: str
    path: Path | None
    data: bytes
    url: str = ""
    stamp: tuple[str, str] = ("", "")
    """Commit and its date, of a file that was read from a repository."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An alert with the file it stands in."""

    raw: _Raw
    draft: Draft
    text: str
    pointer: bool
    """A page without fields that only names another page."""


def collect(
    source: RunbookSource,
    root: Path,
    *,
    keep: Path | None = None,
    offline: bool = False,
    allow: Collection[str] = (),
) -> Collected:
    """Read every alert of a runbook.

    Args:
        source: path or URL, and the names that this runbook adds.
        root: folder that a relative path starts from, and that spans are relative to.
        keep: folder for the copy of a git repository; one in the cache by default.
        offline: of a git repository read the copy that is kept.
        allow: `host:port` pairs a URL may name though they are not public, and `file`; for tests.

    Raises:
        SourceError: nothing at that path or URL, or it cannot be read.
        DataError: no alert in what was read.
    """
    dropped: list[Dropped] = []
    fields = Fields(source.fields, source.titles)
    if is_repository(source.path):
        raws, alone = _cloned(source, keep, offline, allow, dropped)
    elif "://" in source.path:
        raws, alone = [_download(source.path, allow)], True
    else:
        raws, alone = _open(source.path, root, dropped)
    found: list[_Found] = []
    read = 0
    for raw in raws:
        try:
            text = decode(raw.data, raw.name, dropped)
        except Unreadable as error:
            dropped.append(Dropped(what=raw.name, reason=str(error)))
            continue
        read += 1
        found += _alerts(raw, text, fields, alone, dropped)
    found = _settled(found, dropped)
    if not found:
        raise _nothing(source.path, read, dropped)
    past = history([raw.path for raw in raws if raw.path])
    head = past.head or next((raw.stamp[0] for raw in raws), "")
    return Collected(_documents(found, past), dropped, head, read)


def is_repository(path: str) -> bool:
    """Whether a runbook's address is a git repository."""
    if "://" not in path:
        return False
    from opslore.sources import docs

    return docs.is_repository(path)


def _cloned(
    source: RunbookSource,
    keep: Path | None,
    offline: bool,
    allow: Collection[str],
    dropped: list[Dropped],
) -> tuple[list[_Raw], bool]:
    """The files of a repository, and whether one was named."""
    from opslore.sources.runbook_git import checkout

    named = hashlib.sha256(f"{source.path} {source.ref}".encode()).hexdigest()[:12]
    kept = keep or files.cache() / "runbooks" / named
    found = checkout(source, kept, dropped, offline, allow)
    stamp = (found.commit, found.date)
    return [
        _Raw(file.path, Path(file.path).stem, file.folder, None, file.data, file.url, stamp)
        for file in found.files
    ], found.alone


def _download(url: str, allow: Collection[str]) -> _Raw:
    from opslore.sources.web import fetch

    path = unquote(urlsplit(url).path)
    parts = [part for part in path.split("/") if part]
    name = parts[-1] if parts else "index.md"
    folder = parts[-2] if len(parts) > 1 else urlsplit(url).hostname or ""
    return _Raw(printable(name), Path(name).stem, printable(folder), None, fetch(url, allow), url)


def _open(given: str, root: Path, dropped: list[Dropped]) -> tuple[list[_Raw], bool]:
    """The files at a path, and whether it is one file."""
    try:
        start = (root / Path(given).expanduser()).absolute()
        if start.is_dir():
            return _folder(start, root.absolute(), dropped), False
        raw = _raw(start, start.parent, root.absolute(), load(start))
    except Unreadable as error:
        raise SourceError(f"{printable(given)}: {error}", hint=_hint(given, root)) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"{printable(given)!r}: {error}", hint=_hint(given, root)) from error
    return [raw], True


def _hint(given: str, root: Path) -> str:
    return (
        f"collect.path {printable(given)!r} was looked up in {printable(root.absolute())}; "
        "give a Markdown file, a folder of them, a git URL, or an https URL"
    )


def _folder(start: Path, root: Path, dropped: list[Dropped]) -> list[_Raw]:
    raws = []
    passed: list[Dropped] = []
    for path in walk(start, passed):
        try:
            raws.append(_raw(path, start.parent, root, load(path)))
        except Unreadable as error:
            passed.append(Dropped(what=printable(path), reason=str(error)))
    for row in passed:
        name = _name(Path(row.what), start.parent, root)
        dropped.append(row.model_copy(update={"what": name}))
    return raws


def _raw(path: Path, parent: Path, root: Path, data: bytes) -> _Raw:
    name = _name(path, parent, root)
    return _Raw(name, printable(path.stem), printable(path.parent.name), path, data)


def _name(path: Path, parent: Path, root: Path) -> str:
    """A path as reports name it: from the root, or from the folder that holds the runbook."""
    for base in (root, parent):
        if path.is_relative_to(base):
            return printable(path.relative_to(base).as_posix())
    return printable(path.name)


def _alerts(
    raw: _Raw, text: str, fields: Fields, alone: bool, dropped: list[Dropped]
) -> list[_Found]:
    page = parse(text)
    root = outline(page, fields)
    root.title = page.front.get("title") or raw.stem
    named = None if alone else _named_page(root, raw.stem)
    order = list(root.every())
    text_lines = text.split("\n")
    reader = Reader(page, fields, raw.name, dropped)
    found = []
    for node, end in ends(order, text_lines).items():
        section = node.parent.title if node.parent and node.parent.level else raw.folder
        draft = reader.read(node, section, end)
        draft.severity = draft.severity or page.front.get("severity", "").lower()
        pointer = node is named and not draft.commands and draft.prose <= 1
        body = "\n".join(text_lines[draft.first - 1 : end])
        found.append(_Found(raw, draft, body, pointer))
    if not found:
        dropped.append(Dropped(what=raw.name, reason=_why_none(page, order)))
    return found


def _named_page(root: Node, stem: str) -> Node | None:
    """The title of a page without any field that is named like its file: an alert all the same."""
    tops = root.children
    if any(node.alert for node in root.every()) or len(tops) != 1:
        return None
    if _letters(tops[0].title) != _letters(stem) or not any(node.own for node in tops[0].every()):
        return None
    tops[0].alert = True
    return tops[0]


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _why_none(page: Page, order: list[Node]) -> str:
    if not page.blocks:
        return "nothing but front matter or comments"
    if len(order) == 1:
        return "no heading and no field"
    return "no alert: no heading has a field such as Symptoms, Diagnosis or Resolution below it"


def _settled(found: list[_Found], dropped: list[Dropped]) -> list[_Found]:
    """Without the pages that only say where an alert of the same name has moved."""
    real = {item.draft.title for item in found if not item.pointer}
    kept = []
    for item in found:
        if item.pointer and item.draft.title in real:
            span = Span(file=item.raw.name, first=item.draft.first, last=item.draft.last)
            reason = "only points to another page, and an alert of that name was read"
            dropped.append(Dropped(what=item.draft.title, reason=reason, span=span))
        else:
            kept.append(item)
    return kept


def _documents(found: list[_Found], past: History) -> list[Document]:
    seen: Counter[tuple[str, str]] = Counter()
    documents = []
    paths = {item.raw.path for item in found if item.raw.path}
    stamps = {path: past.commits.get(os.path.realpath(path), ("", "")) for path in paths}
    for item in found:
        draft, raw = item.draft, item.raw
        seen[draft.section, draft.title] += 1
        commit, updated = stamps[raw.path] if raw.path else raw.stamp
        documents.append(
            Document(
                id=_id(draft, seen[draft.section, draft.title]),
                title=draft.title,
                text=item.text,
                url=raw.url,
                updated=updated,
                span=Span(file=raw.name, first=draft.first, last=draft.last, commit=commit),
                section=draft.section,
                severity=draft.severity,
                symptoms="\n".join(draft.symptoms),
                investigation=[c.text for c in draft.commands if c.role == "investigation"],
                resolution=[c.text for c in draft.commands if c.role == "resolution"],
                commands=draft.commands,
            )
        )
    return documents


def _id(draft: Draft, number: int) -> str:
    """Stable while section and title stay; the second alert of the same name carries its number."""
    parts = ["alert", draft.section, draft.title, *([str(number)] if number > 1 else [])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _nothing(path: str, read: int, dropped: list[Dropped]) -> DataError:
    reasons = Counter(row.reason for row in dropped if row.span is None)
    passed = "".join(f"; {count} x {reason}" for reason, count in reasons.most_common(3))
    noun = "file" if read == 1 else "files"
    return DataError(
        f"{printable(path)}: no alert in {read} {noun} read{passed}. Looked for {_LOOKED_FOR}",
        hint="name your own headings in collect.fields, or begin each alert with `### Alert: NAME`",
    )
