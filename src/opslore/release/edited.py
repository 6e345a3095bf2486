"""A YAML file that opslore edits: in the working tree, or as a commit on a branch."""

from __future__ import annotations

import os
from pathlib import Path

from opslore.errors import ConfigError, ServerError
from opslore.release.yamltext import MAX_BYTES
from opslore.store import sync


class File:
    """A file as it lies in its folder."""

    def __init__(self, path: Path) -> None:
        """Name the file; a link is followed, so that the link stays one."""
        self.path = path
        self.name = str(path)

    def read(self) -> str:
        """The text, its line ends and byte order mark as they are.

        Raises:
            ConfigError: no such file, or no UTF-8 text.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError as error:
            raise ConfigError(
                f"deploy: no file {self.path}", hint="mend deploy[].file, or make the file first"
            ) from error
        except OSError as error:
            raise ConfigError(f"deploy: {self.path}: {error.strerror or error}") from error
        return text(data, self.name)

    def check(self, after: str) -> None:
        """Refuse a file that could not be written; the text itself is not asked.

        Raises:
            ServerError: this user may not write there.
        """
        folder = self.path.resolve().parent
        if not os.access(folder, os.W_OK):
            raise ServerError(
                f"deploy: {folder} is not writable", hint=f"make {folder} writable for this user"
            )

    def write(self, before: str, after: str, message: str) -> None:
        """Replace the file in one step, unless somebody has changed it since it was read.

        Raises:
            ServerError: it was changed, or cannot be written.
        """
        if self.read() != before:
            raise ServerError(
                f"deploy: {self.path} was changed by somebody else at this moment",
                hint="look at it, then run `opslore deploy AGENT.yaml` again",
                retryable=True,
            )
        replace(self.path.resolve(), after.encode())


def text(data: bytes, name: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        ConfigError: too long, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"deploy: {name} has {len(data)} bytes; the limit is {MAX_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"deploy: {name} is no UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from error


def replace(path: Path, data: bytes) -> None:
    """Replace a file by a rename; the new one has the old one's mode and owner.

    Raises:
        ServerError: the folder is full, read-only or not ours.
    """
    # A name of its own, made new: a values file may hold secrets, and must not be readable by
    # others for a moment because of the usual mode of new files.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        old = path.stat()
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), old.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync(path.parent)
    except OSError as error:
        raise ServerError(
            f"deploy: {path}: {error.strerror or error}",
            hint=f"make room or make {path.parent} writable, then run `opslore deploy` again",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
