"""What a Job does inside the cluster: install a release in an Ollama, read or move its pointer."""

from __future__ import annotations

import tempfile
from pathlib import Path

from opslore import shelf
from opslore.cards import Record
from opslore.config_deploy import Ollama
from opslore.release import archive
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged


def install(uri: str, sha256: str, section: Ollama, version: str) -> str:
    """Fetch an archive, check it, install it as `NAME:VERSION`; returns that name.

    The digest comes from whoever verified the signed release, so the archive needs no other proof.

    Args:
        uri: `s3://bucket/key`, or a path.
        sha256: what the archive must be, 64 hex digits.
        section: the Ollama and the model's name there.
        version: the release.

    Raises:
        IntegrityError: the archive is another one, or `NAME:VERSION` is.
        ServerError: the bucket or Ollama does not answer.
    """
    with tempfile.TemporaryDirectory() as room:
        packed = shelf.fetch(f"{uri}#sha256={sha256}", Path(room))
        files = Path(room) / "files"
        archive.unpack(packed, files)
        staged = Staged(section.model, version, files, uri, sha256)
        OllamaTarget(section, section.model).stage(staged)
    return f"{section.model}:{version}"


class Told(Record):
    """Where a pointer is, as the Job prints it."""

    now: str | None
    """The digest of `NAME:latest`, None when there is no such tag."""
    versions: dict[str, str]
    """The digest of every release that is installed."""


def point(section: Ollama, version: str = "", state: str = "", remove: bool = False) -> Told:
    """Move `NAME:latest`, or only look.

    Args:
        section: the Ollama and the model's name there.
        version: point to this release.
        state: point to the model with this digest.
        remove: take the tag away.

    Raises:
        MissingInput: the release is not installed there.
        ServerError: Ollama does not answer, or refuses.
    """
    target = OllamaTarget(section, section.model)
    if remove:
        target.move(None)
    elif version or state:
        target.move(state or target.aim(section.model, version))
    versions = {known: target.aim(section.model, known) for known in target.versions()}
    return Told(now=target.now(), versions=versions)
