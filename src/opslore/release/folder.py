"""Deploy to a folder: a version lies beside the others, then one link moves to it.

    target/versions/v20260131-0123abcd/...
    target/versions/v20260214-89abcdef/...
    target/current -> versions/v20260214-89abcdef

Nothing is ever deleted here: rolling back is `ln -sfn versions/v20260131-0123abcd current`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opslore.errors import ConfigError, IntegrityError, MissingInput, ServerError
from opslore.files import alone
from opslore.release.version import checked
from opslore.store import sha256, sync

CURRENT = "current"

_MEBIBYTE = 1 << 20


def install(release_files: Path, target: Path, version: str) -> None:
    """Copy a release below `target/versions` and switch `target/current` to it.

    A reader of `target/current` sees the old release or the whole new one. Installing the same
    release again writes nothing.

    Args:
        release_files: folder with the release's files.
        target: folder of the deployment; made when missing.
        version: `v{YYYYMMDD}-{8 hex}`.

    Raises:
        MissingInput: there is no release to copy.
        ConfigError: the target, or `current` in it, is something else already.
        IntegrityError: the release has links or devices in it, or the version installed earlier
            under this name has other contents.
        ServerError: the target is full, read-only or not ours to write.
    """
    stage(release_files, target, version)
    move(target, aim(version))


def stage(release_files: Path, target: Path, version: str) -> None:
    """Copy a release below `target/versions`; `target/current` stays where it is.

    Arguments and errors are those of `install`.
    """
    checked(version)
    names = _files(release_files)
    kept = target / "versions" / version
    with _explained(target):
        _refuse_target(target)
        if _is_installed(release_files, names, kept):
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        with alone(target / ".lock"):
            if not _is_installed(release_files, names, kept):
                _copy(release_files, names, kept)


def aim(version: str) -> str:
    """What `target/current` says when it points to a version."""
    return f"versions/{checked(version)}"


def now(target: Path) -> str | None:
    """What `target/current` says, letter by letter; None when there is no such link."""
    link = target / CURRENT
    return os.readlink(link) if link.is_symlink() else None


def move(target: Path, state: str | None) -> None:
    """Let `target/current` say something else, in one step; None takes the link away.

    Raises:
        MissingInput: it would point to a version that is not there.
        ConfigError: `current` is no link, so it is not ours.
        ServerError: the target is read-only or not ours to write.
    """
    with _explained(target):
        _refuse_target(target)
        if now(target) == state:
            return
        if state is not None and state.startswith("versions/") and not (target / state).is_dir():
            raise MissingInput(
                f"deploy: {target / state} is not there", hint="run `opslore deploy AGENT.yaml`"
            )
        with alone(target / ".lock"):
            if state is None:
                (target / CURRENT).unlink(missing_ok=True)
                sync(target)
            else:
                _switch(target, state)


def current(target: Path) -> str:
    """The version `target/current` points to, or "" when nothing was deployed there."""
    link = target / CURRENT
    return Path(os.readlink(link)).name if link.is_symlink() else ""


def _files(folder: Path) -> list[str]:
    """Names of every file below the folder, with `/`, sorted."""
    if not folder.is_dir():
        raise MissingInput(
            f"no release in {folder}", hint="run `opslore publish AGENT.yaml` to make one"
        )
    found = []
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            found.append(path.relative_to(folder).as_posix())
        elif not stat.S_ISDIR(mode):
            raise IntegrityError(f"{path} is a link or a device; a release has regular files only")
    if not found:
        raise MissingInput(
            f"{folder} has no files in it", hint="run `opslore publish AGENT.yaml` to fill it"
        )
    return found


def _refuse_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise ConfigError(
            f"deploy: {target} is a file, not a folder",
            hint=f"move {target} away, or name another folder in deploy[].path",
        )
    link = target / CURRENT
    if link.exists() and not link.is_symlink():
        raise ConfigError(
            f"deploy: {link} is no link, so something else lives in {target}",
            hint=f"move {link} away, or name another folder in deploy[].path",
        )


def _is_installed(release_files: Path, names: list[str], kept: Path) -> bool:
    """Whether the version lies there already, with the very same bytes."""
    if not kept.is_dir():
        return False
    for name in names:
        there = kept / name
        if not there.is_file() or sha256(there) != sha256(release_files / name):
            raise IntegrityError(
                f"{there} is not the file of release {kept.name}",
                hint=f"it was changed after it was installed: move {kept} away and deploy again",
            )
    if extra := sorted(set(_files(kept)) - set(names)):
        raise IntegrityError(
            f"{kept / extra[0]} is no file of release {kept.name}",
            hint=f"move it away and deploy again; {len(extra)} such file(s)",
        )
    return True


def _copy(release_files: Path, names: list[str], kept: Path) -> None:
    needed = sum((release_files / name).stat().st_size for name in names)
    free = shutil.disk_usage(kept.parent).free
    if needed > free:
        raise ServerError(
            f"deploy: {kept.parent} has {free // _MEBIBYTE} MiB free; "
            f"the release needs {needed // _MEBIBYTE} MiB",
            hint="remove old versions that nothing uses, or name another folder in deploy[].path",
            retryable=True,
        )
    unfinished = kept.with_name(f".{kept.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed try has left
    try:
        for name in names:
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(release_files / name, path)
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        _is_installed(release_files, names, unfinished)
        for folder in [unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())]:
            sync(folder)
        unfinished.rename(kept)
        sync(kept.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _switch(target: Path, state: str) -> None:
    # A rename over the old link is atomic; `ln -sf` unlinks first and leaves a gap.
    fresh = target / f".{CURRENT}.tmp"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(state, target_is_directory=True)
    fresh.replace(target / CURRENT)
    sync(target)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ServerError(
            f"deploy: {error.filename or target}: {error.strerror or error}",
            hint=f"make room in {target}, then run again"
            if full
            else f"make {target} writable for this user, or name another folder in deploy[].path",
            retryable=full,
        ) from error
