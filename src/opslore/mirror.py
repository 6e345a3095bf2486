"""A card's folder in the bucket: its files, their listing, and `card.json` last.

{agent}/{kind}/{id16}/documents.jsonl ...   the files, under the names they have on disk
{agent}/{kind}/{id16}/files.json            every file with its size and SHA-256
{agent}/{kind}/{id16}/card.json             its existence means done
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from opslore import claim
from opslore.bucket import Bucket
from opslore.cards import Record
from opslore.errors import IntegrityError, OpsloreError, ServerError
from opslore.files import NAME, sha256, sync, write

CARD, FILES, CLAIM = "card.json", "files.json", "claim.json"

_logger = logging.getLogger(__name__)


class Entry(Record):
    """What the listing says of one file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class Files(Record):
    """Every file of a card's folder but the card itself, by name."""

    format: Literal[1] = 1
    files: dict[str, Entry]


def listing(folder: Path) -> Files:
    """Every file below a folder with its size and digest."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return Files(
        files={
            name: Entry(sha256=sha256(folder / name), size=(folder / name).stat().st_size)
            for name in names
            if name != CARD
        }
    )


def push(bucket: Bucket, folder: Path, key: str) -> bytes:
    """Upload a finished folder, its card last; returns the card that stands in the bucket.

    That is another one than ours when another machine was first: then nothing of ours is written.

    Args:
        bucket: where to.
        folder: the files with `card.json` among them.
        key: `{agent}/{kind}/{id16}`.

    Raises:
        ServerError: the bucket does not answer or refuses.
        IntegrityError: a file changed while it was sent, or the server kept something else.
    """
    bucket.ready()
    ours = (folder / CARD).read_bytes()
    done = f"{key}/{CARD}"
    with claim.held(bucket, f"{key}/{CLAIM}", lambda: bucket.get(done) is not None) as held:
        if held is not None:
            _fill(bucket, folder, key, held)
            held.check()
            if bucket.swap(done, ours, None) is not None:
                return ours
    there = bucket.get(done)
    if there is None:
        raise ServerError(f"{bucket.uri(done)} came and went", hint="run again", retryable=True)
    if there.data != ours:
        _logger.warning("%s was made by another run first; that one is used", bucket.uri(key))
    return there.data


def _fill(bucket: Bucket, folder: Path, key: str, held: claim.Claim) -> None:
    """Upload what is missing or other, then the listing; see that all of it is there."""
    files = listing(folder)
    for name, entry in files.files.items():
        held.check()
        if name in (FILES, CLAIM) or not NAME.fullmatch(name):
            raise OpsloreError(f"{folder / name}: a file of this name cannot go to a bucket")
        bucket.send(f"{key}/{name}", folder / name, entry.sha256)
    held.check()
    text = (files.model_dump_json(indent=1) + "\n").encode()
    if (there := bucket.get(f"{key}/{FILES}")) is None or there.data != text:
        bucket.put(f"{key}/{FILES}", text)
    sizes = bucket.sizes(key)
    wrong = [n for n, entry in files.files.items() if sizes.get(f"{key}/{n}") != entry.size]
    if wrong:
        raise IntegrityError(
            f"{bucket.uri(f'{key}/{wrong[0]}')}: another size than was uploaded",
            hint="another program writes there; run again when it has ended",
        )


def fetch(bucket: Bucket, folder: Path, key: str, aside: Path, replace: bool = False) -> None:
    """Download a card's folder: every file checked, the whole of it in place in one step.

    Args:
        bucket: where from.
        folder: where to; a folder without a card gives way once the new one is whole.
        key: `{agent}/{kind}/{id16}`.
        aside: folder for what is not what its digest says.
        replace: a folder with a card gives way too, because another machine's is used.

    Raises:
        IntegrityError: a file is missing, torn or changed; nothing is put in place.
    """
    files = _files(bucket, key)
    if (there := bucket.get(f"{key}/{CARD}")) is None:
        raise IntegrityError(
            f"{bucket.uri(f'{key}/{CARD}')} is gone: the folder is not whole, or not any more",
            hint="run the step again",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        fresh = room / "fresh"
        fresh.mkdir()
        needed = sum(entry.size for entry in files.files.values())
        if needed > (free := shutil.disk_usage(room).free):
            raise OpsloreError(
                f"{bucket.uri(key)} needs {needed >> 20} MiB; {folder.parent} has {free >> 20}",
                hint=f"make room below {folder.parent}, or set OPSLORE_CACHE to another disk",
            )
        for name, entry in files.files.items():
            bucket.load(f"{key}/{name}", fresh / name, entry.size, entry.sha256, aside)
        write(fresh / CARD, there.data)
        if folder.exists() and (replace or not (folder / CARD).is_file()):
            folder.rename(room / "old")
        try:
            fresh.rename(folder)
        except OSError as error:  # another process of this machine was first: the same bytes
            if not (folder / CARD).is_file():
                reason = os.strerror(error.errno or 0)
                raise OpsloreError(f"cannot move to {folder}: {reason}") from error
        sync(folder.parent)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _files(bucket: Bucket, key: str) -> Files:
    there = bucket.get(f"{key}/{FILES}")
    where = bucket.uri(f"{key}/{FILES}")
    hint = f"aws s3 rm --recursive {bucket.uri(key)}, then run the step again"
    if there is None:
        raise IntegrityError(f"{where} is gone, so nothing there can be checked", hint=hint)
    try:
        files = Files.model_validate_json(there.data)
    except ValidationError as error:
        raise IntegrityError(f"{where}: {error.errors()[0]['msg']}", hint=hint) from error
    for name in files.files:
        if not NAME.fullmatch(name) or name == CARD:
            raise IntegrityError(f"{where}: {name!r} is no name of a file in a card", hint=hint)
    return files
