"""The pages of a git repository; those whose blob is known already are not parsed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from opslore.cards import Document, Dropped, Record, Span
from opslore.errors import IntegrityError
from opslore.files import read_rows, write_rows
from opslore.sources import Ground, Stream
from opslore.sources.pages_choice import left_out
from opslore.sources.pages_git import Blob, Reader, Repository, is_link, web_page
from opslore.sources.pages_includes import Read
from opslore.sources.pages_parse import FORM, SUFFIXES, About, Page, document, name_of, page
from opslore.sources.pages_parse import left_out as rows_of


class _Kept(Record):
    """A page with the file it was read from."""

    form: int
    blob: str
    uses: dict[str, str]
    """Included files -> their blobs."""
    page: Page


def read_repository(
    url: str, ref: str, include: Sequence[str], exclude: Sequence[str],
    about: About, ground: Ground, suffixes: tuple[str, ...] = SUFFIXES,
) -> Stream:  # fmt: skip
    """Bring the kept copy up to date, and read every page of it.

    Raises:
        SourceError: it cannot be fetched, and nothing was changed; or nothing is kept yet.
    """
    repository = Repository(url, ref, ground.keep / "repository.git", ground.allow)
    if not ground.offline:
        repository.update()
    tree = repository.tree()
    rows: list[Document | Dropped] = []
    chosen: list[Blob] = []
    for blob in tree.blobs:
        reason = why_not(blob, suffixes) or left_out(blob.path, include, exclude)
        if reason:
            rows.append(Dropped(what=blob.path, reason=reason))
        else:
            chosen.append(blob)
    name = urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    product = about.product or name_of(name.removesuffix(".wiki"))
    about = about.model_copy(update={"product": product})
    for found in _pages(repository, tree.blobs, chosen, ground):
        rows += rows_of(found, found.path)
        if not found.reason:
            span = Span(file=found.path, first=found.first, last=found.last, commit=tree.commit)
            where = web_page(url, ref, found.path)
            rows.append(document(found, about, span, where, tree.date))
    return Stream(lambda: iter(rows), tree.commit, len(chosen))


def why_not(blob: Blob, suffixes: tuple[str, ...]) -> str:
    """Why a file is not read; empty when it is."""
    path = PurePosixPath(blob.path)
    if path.suffix.lower() not in suffixes:
        return f"not a documentation file ({', '.join(suffixes)})"
    if any(part.startswith(".") for part in path.parts[:-1]):
        return "hidden folder"
    return is_link(blob)


def _pages(
    repository: Repository, blobs: list[Blob], chosen: list[Blob], ground: Ground
) -> list[Page]:
    """Every page; what is kept of them is written again only when something changed."""
    keep = ground.keep / "pages.jsonl"
    kept = _read(keep)
    ids = {blob.path: blob.id for blob in blobs if not is_link(blob)}
    rows = []
    with repository.reader() as reader:
        for blob in chosen:
            row = kept.get((blob.path, blob.id))
            if row is None or any(ids.get(path, "") != was for path, was in row.uses.items()):
                row = _parsed(blob, ids, reader)
            rows.append(row)
    if rows != list(kept.values()) and not ground.offline:
        write_rows(keep, rows)
    return [row.page for row in rows]


def _parsed(blob: Blob, ids: dict[str, str], reader: Reader) -> _Kept:
    read: Read = lambda path: reader.read(ids[path]) if path in ids else None  # noqa: E731
    found = page(blob.path, reader.read(blob.id), read)
    uses = {path: ids.get(path, "") for path in found.uses}
    return _Kept(form=FORM, blob=blob.id, uses=uses, page=found)


def _read(path: Path) -> dict[tuple[str, str], _Kept]:
    """What was kept; a torn or older file is nothing, for all of it can be made again."""
    try:
        rows = list(read_rows(path, _Kept)) if path.is_file() else []
    except IntegrityError:
        return {}
    return {(row.page.path, row.blob): row for row in rows if row.form == FORM}
