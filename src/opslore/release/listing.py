"""Which files a release has, and `release.json`, which names them all with their digests."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from opslore.cards import Record
from opslore.errors import IntegrityError, MissingInput
from opslore.release.version import VERSION

RELEASE, SIGNATURE = "release.json", "model.sig"
CARD, EVALUATION, DATASET = "model-card.md", "evaluation.json", "dataset.json"
PROVENANCE, BOM, NOTICE, LICENCE = "provenance.json", "bom.cdx.json", "NOTICE", "LICENSE"

MAX_FILES = 100
"""A release has about eleven files."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Listing(Record):
    """`release.json`: what the folder is, and what is in it."""

    format: Literal[1] = 1
    agent: str
    version: Annotated[str, Field(pattern=f"^{VERSION.pattern}$")]
    counter: Annotated[int, Field(ge=1)]
    """Number of the release among those of its agent; a later one is greater."""
    created: str
    """When the bundle was made, ISO 8601."""
    base_model: str
    licence: str
    """The base model's, as it says itself; `unknown` when it does not."""
    bundle: str
    """Id of the bundle card."""
    evaluation: str
    """Id of the evaluation card."""
    files: dict[str, Digest]
    """SHA-256 of every other file but the signature."""


def is_plain(name: str) -> bool:
    """Whether a file of a release may be called so; no such name leads out of its folder."""
    return _NAME.fullmatch(name) is not None


def files_of(folder: Path) -> list[str]:
    """Names of the files of a release folder, sorted; the signature among them.

    Raises:
        MissingInput: there is no such folder.
        IntegrityError: something in it is no regular file with a plain name.
    """
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise MissingInput(
            f"no release in {folder}: {error.strerror}", hint="run `opslore publish AGENT.yaml`"
        ) from error
    for entry in found:
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            what = "a link" if entry.is_symlink() else "a folder or a device"
            raise IntegrityError(
                f"{folder / entry.name} is {what}; a release has regular files only",
                hint="do not use it: fetch the release again, or publish it again",
            )
        if not is_plain(entry.name):
            raise IntegrityError(
                f"{folder / entry.name} is extra: no file of a release is called so",
                hint="a stopped run may have left it: move it away",
            )
    if len(found) > MAX_FILES:
        raise IntegrityError(f"{folder} has {len(found)} files; a release has at most {MAX_FILES}")
    return [entry.name for entry in found]
