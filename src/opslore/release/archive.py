"""Release archives: the same bytes from the same files, and no file that was not promised.

An archive is a gzipped tar whose first member, `MANIFEST.json`, names every other member with its
size and SHA-256. Reading trusts nothing else: headers are decoded one by one, so a link, a device,
a long-name or pax record, an absolute name or an extra file ends it before a byte is written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from opslore.errors import DataError, IntegrityError, MissingInput, OpsloreError
from opslore.release.manifest import (
    MANIFEST,
    MAX_BYTES,
    MAX_FILES,
    MAX_MANIFEST,
    MAX_NAME,
    Entry,
    Manifest,
    inside_another,
    is_name,
)
from opslore.release.tar import exactly, next_header, opened, refuse_more, skip_padding
from opslore.store import sha256, sync

LEVEL = 1
"""Weights hardly compress: level 6 takes a fifth longer and saves nothing (98 MB Q4_1 GGUF)."""

_CHUNK = 1 << 20


def pack(folder: Path, names: Sequence[str], out: Path) -> str:
    """Pack files into a tar.gz that is byte-identical whenever the files are.

    Args:
        folder: where the files lie.
        names: their names below the folder, with `/`; order does not matter.
        out: the archive; replaced only by a whole new one.

    Returns:
        SHA-256 of the archive, 64 hex digits.

    Raises:
        MissingInput: a named file is not there.
        DataError: a name cannot stand in an archive.
        IntegrityError: a name is a link or a device, or a file changed while it was packed.
    """
    files = {name: _entry(folder, name) for name in _checked_names(names)}
    if name := inside_another(files):
        raise DataError(f"{name!r} cannot stand inside another file")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            _write(file, folder, Manifest(files=files))
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(temporary)
        temporary.replace(out)
        sync(out.parent)
    except OSError as error:
        raise OpsloreError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def unpack(archive: Path, out: Path) -> None:
    """Unpack an archive into a new folder: everything its manifest promises, or nothing at all.

    Raises:
        MissingInput: there is no such archive.
        DataError: `out` is already there.
        IntegrityError: the archive is torn, holds something that is not a promised regular file,
            or a file is not what its digest says; the message names the member.
    """
    if out.exists() or out.is_symlink():
        raise DataError(f"{out} is already there", hint=f"choose a new folder, or move {out} away")
    if not archive.is_file():
        raise MissingInput(
            f"no archive {archive}", hint="run `opslore publish AGENT.yaml` to make one"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        with opened(archive) as stream:
            _read(archive, stream, temporary)
        temporary.chmod(0o755)
        for folder in [temporary, *(path for path in temporary.rglob("*") if path.is_dir())]:
            sync(folder)
        temporary.rename(out)
        sync(out.parent)
    except OSError as error:
        raise OpsloreError(
            f"cannot unpack {archive} to {out}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def manifest(archive: Path) -> Manifest:
    """What an archive says it holds, without unpacking it.

    Raises:
        IntegrityError: the archive is torn or does not begin with a manifest.
    """
    with opened(archive) as stream:
        return _read_manifest(archive, stream)


def _checked_names(names: Sequence[str]) -> list[str]:
    for name in names:
        if not is_name(name):
            raise DataError(
                f"{name!r} cannot stand in an archive",
                hint=f"at most {MAX_NAME} of A-Z a-z 0-9 . _ - and /, no part starting with . or -",
            )
    if len(set(names)) < len(names):
        raise DataError(f"a file is named twice: {', '.join(sorted(names))}")
    if not 0 < len(names) <= MAX_FILES:
        raise DataError(f"an archive holds 1 to {MAX_FILES} files, not {len(names)}")
    return sorted(names)


def _entry(folder: Path, name: str) -> Entry:
    path = folder
    for part in name.split("/"):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            raise MissingInput(
                f"{folder / name}: {error.strerror}", hint="run `opslore export AGENT.yaml` first"
            ) from error
        if stat.S_ISLNK(mode):
            raise IntegrityError(f"{path} is a link; only regular files are released")
    if not stat.S_ISREG(mode):
        raise IntegrityError(f"{path} is not a regular file")
    return Entry(sha256=sha256(path), size=path.stat().st_size)


def _write(file: IO[bytes], folder: Path, listing: Manifest) -> None:
    # mtime 0 and an empty file name: gzip's header would otherwise carry both.
    with (
        gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        raw = (listing.model_dump_json(indent=2) + "\n").encode()
        tar.addfile(_header(MANIFEST, len(raw)), io.BytesIO(raw))
        for name, entry in listing.files.items():
            with (folder / name).open("rb") as source:
                hashing = _Hashing(source)
                try:
                    tar.addfile(_header(name, entry.size), hashing)
                except OSError as error:
                    # tarfile's own "unexpected end of data" has no errno: the file has shrunk.
                    if error.errno is not None:
                        raise
                    raise _changed(folder / name) from error
                if hashing.digest.hexdigest() != entry.sha256:
                    raise _changed(folder / name)


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path} changed while it was packed", hint="run again when nothing else writes there"
    )


def _header(name: str, size: int) -> tarfile.TarInfo:
    # TarInfo's own defaults are the rest: mtime 0, uid and gid 0, no names, a regular file.
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes and add them to the digest."""
        data = self._source.read(size)
        self.digest.update(data)
        return data


def _read(archive: Path, stream: BufferedIOBase, target: Path) -> None:
    wanted: dict[str, Entry] = dict(_read_manifest(archive, stream).files)
    promised = sum(entry.size for entry in wanted.values())
    if promised > MAX_BYTES:
        raise IntegrityError(f"{archive}: {promised} bytes unpacked; the limit is {MAX_BYTES}")
    if promised > (free := shutil.disk_usage(target).free):
        raise OpsloreError(f"{archive} needs {promised} bytes; {target.parent} has {free} free")
    while (info := next_header(archive, stream)) is not None:
        entry = wanted.pop(info.name, None)
        if entry is None:
            raise IntegrityError(f"{archive}: {info.name!r} is not in the manifest, or there twice")
        if info.size != entry.size:
            raise IntegrityError(
                f"{archive}: {info.name} has {info.size} bytes; the manifest says {entry.size}"
            )
        _extract(archive, stream, info, entry, target / info.name)
    if wanted:
        raise IntegrityError(f"{archive}: {', '.join(sorted(wanted))} missing")
    refuse_more(archive, stream)


def _read_manifest(archive: Path, stream: BufferedIOBase) -> Manifest:
    info = next_header(archive, stream)
    if info is None or info.name != MANIFEST:
        raise IntegrityError(f"{archive}: does not begin with {MANIFEST}; not an opslore archive")
    if info.size > MAX_MANIFEST:
        raise IntegrityError(f"{archive}: {MANIFEST} has {info.size} bytes, over {MAX_MANIFEST}")
    raw = exactly(stream, info.size)
    skip_padding(stream, info.size)
    try:
        listing = Manifest.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise IntegrityError(f"{archive}: {MANIFEST}: {where}: {problem['msg']}") from error
    for name in listing.files:
        if not is_name(name):
            raise IntegrityError(f"{archive}: {MANIFEST} names {name!r}; not a safe file name")
    if name := inside_another(listing.files):
        raise IntegrityError(f"{archive}: {MANIFEST} has {name!r} inside another file")
    return listing


def _extract(
    archive: Path, stream: BufferedIOBase, info: tarfile.TarInfo, entry: Entry, path: Path
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    left = entry.size
    with path.open("xb") as file:
        while left:
            data = exactly(stream, min(left, _CHUNK))
            digest.update(data)
            file.write(data)
            left -= len(data)
        file.flush()
        os.fsync(file.fileno())
    skip_padding(stream, entry.size)
    if digest.hexdigest() != entry.sha256:
        raise IntegrityError(
            f"{archive}: {info.name} has sha256 {digest.hexdigest()[:12]}...; "
            f"the manifest says {entry.sha256[:12]}...",
            hint="do not use it: fetch the archive again, or publish the release again",
        )
