"""A gzipped tar, read one header at a time: nothing that a header says is obeyed, only compared."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from opslore.errors import IntegrityError

# A writer pads with zero blocks to a record of 10 KiB; more than two of those is no padding.
_MAX_PADDING = 2 * tarfile.RECORDSIZE


@contextmanager
def opened(archive: Path) -> Iterator[BufferedIOBase]:
    """Open an archive's tar stream, and say in our own words if gzip or a header is broken."""
    try:
        with gzip.open(archive, "rb") as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise IntegrityError(
            f"{archive}: truncated or damaged: {error}",
            hint="fetch the archive again, or publish the release again",
        ) from error


def next_header(archive: Path, stream: BufferedIOBase) -> tarfile.TarInfo | None:
    """The next member's header, or None at the zero block that ends a tar."""
    block = exactly(stream, tarfile.BLOCKSIZE)
    if not block.strip(b"\0"):
        return None
    # frombuf decodes exactly one header; TarFile would follow extension records of any size.
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise IntegrityError(
            f"{archive}: {info.name!r} is not a regular file (tar type {info.type!r})"
        )
    return info


def skip_padding(stream: BufferedIOBase, size: int) -> None:
    """Step over the bytes that fill a member of `size` bytes up to a whole block."""
    exactly(stream, -size % tarfile.BLOCKSIZE)


def refuse_more(archive: Path, stream: BufferedIOBase) -> None:
    """Read to the end, so that gzip checks its CRC, and let nothing but padding stand there."""
    padding = stream.read(_MAX_PADDING + 1)
    if len(padding) > _MAX_PADDING or padding.strip(b"\0"):
        raise IntegrityError(f"{archive}: something follows the last file")


def exactly(stream: BufferedIOBase, size: int) -> bytes:
    """Read `size` bytes; fewer are an EOFError."""
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"{size} bytes expected, {len(data)} found")
    return data
