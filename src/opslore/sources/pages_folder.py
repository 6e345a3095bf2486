"""The pages of a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from opslore.cards import Document, Dropped, Span
from opslore.errors import SourceError
from opslore.sources import Ground, Stream
from opslore.sources.git import history
from opslore.sources.pages_choice import left_out
from opslore.sources.pages_parse import SUFFIXES, About, document, name_of, page
from opslore.sources.pages_parse import left_out as rows_of
from opslore.sources.read import Unreadable, load, printable, walk


def read_folder(
    given: str, include: Sequence[str], exclude: Sequence[str],
    about: About, ground: Ground, suffixes: tuple[str, ...] = SUFFIXES,
) -> Stream:  # fmt: skip
    """Read every page of a folder, or one file.

    Raises:
        SourceError: nothing there.
    """
    root = ground.root.absolute()
    start = Path(os.path.normpath(root / Path(given).expanduser()))
    if not start.exists():
        raise SourceError(
            f"{printable(given)}: no such file or folder",
            hint=f"collect.path was looked up in {printable(root)}; give a folder of Markdown, a "
            "git address ending in .git, or the https address of a site",
        )
    top = start if start.is_dir() else start.parent
    rows: list[Document | Dropped] = []
    passed: list[Dropped] = []
    paths = list(walk(top, passed, suffixes)) if start.is_dir() else [start]
    rows += [row.model_copy(update={"what": _name(Path(row.what), top, root)}) for row in passed]
    past = history(paths)
    product = about.product or name_of(start.name)
    about = about.model_copy(update={"product": product})
    files = 0
    for path in paths:
        name, below = _name(path, top, root), printable(path.relative_to(top).as_posix())
        reason = left_out(below, include, exclude)
        try:
            data = b"" if reason else load(path)
        except Unreadable as error:
            reason = str(error)
        if reason:
            rows.append(Dropped(what=name, reason=reason))
            continue
        files += 1
        found = page(below, data, lambda path: _inside(top, path))
        rows += rows_of(found, name)
        if not found.reason:
            commit, updated = past.commits.get(os.path.realpath(path), ("", ""))
            span = Span(file=name, first=found.first, last=found.last, commit=commit)
            rows.append(document(found, about, span, updated=updated))
    return Stream(lambda: iter(rows), past.head, files)


def _inside(top: Path, name: str) -> bytes | None:
    """A file of the folder; None when there is none, or a link leads out of the folder."""
    real, path = os.path.realpath(top), os.path.realpath(top / name)
    if not path.startswith(real.rstrip(os.sep) + os.sep):
        return None
    try:
        return load(Path(path))
    except (Unreadable, ValueError):
        return None


def _name(path: Path, top: Path, root: Path) -> str:
    """A path as reports name it: from the root, or from the folder's own name on."""
    for base in (root, top.parent):
        if path.is_relative_to(base):
            return printable(path.relative_to(base).as_posix())
    return printable(path.name)
