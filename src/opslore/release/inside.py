"""What a Job does inside the cluster: install a release in an Ollama, read or move its pointer."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from opslore.cards import Record
from opslore.config_deploy import Ollama
from opslore.release import archive, keys, remote
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged

_logger = logging.getLogger(__name__)


def install(
    uri: str,
    sha256: str,
    section: Ollama,
    version: str,
    trusted: list[keys.Public] | None,
    agent: str = "",
) -> str:
    """Fetch a release, verify its signature, install it as `NAME:VERSION`; returns that name.

    Args:
        uri: the archive: `s3://bucket/key`, `https://host/path`, or a path. The signed papers lie
            beside it.
        sha256: what the archive must be, 64 hex digits.
        section: the Ollama and the model's name there.
        version: the release.
        trusted: who may have signed it; None checks the digest alone.
        agent: whose release it must be; empty is the model's name.

    Raises:
        IntegrityError: the release is not signed by a trusted key, was changed, or is another one;
            or `NAME:VERSION` is another model. Nothing was sent to Ollama.
        ServerError: the bucket, the web server or Ollama does not answer.
    """
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        if trusted is None:
            _logger.warning("%s: NOT VERIFIED: no signature is asked for, only the digest", uri)
            packed = remote.archive(uri, sha256, room)
        else:
            whose = agent or section.model
            packed = remote.verified(uri, sha256, room / "release", trusted, whose, version)
        files = room / "files"
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
