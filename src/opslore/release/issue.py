"""A release in its store: archives, papers and signature under `{agent}/{version}/`.

The folder is the same on disk and in a bucket. The signature is written last: a folder without one
is a publish that died, and the next one completes it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from opslore import embedding, progress
from opslore.config import Agent
from opslore.errors import IntegrityError, MissingInput
from opslore.release import archive, counter, papers, signing
from opslore.release.facts import Cards
from opslore.release.listing import RELEASE, SIGNATURE, Listing
from opslore.store import Store

ADAPTERS, MODEL = "adapters.tar.gz", "ollama-model.tar.gz"
SHIPPED = ["model.gguf", "Modelfile", "catalogue.json", "index.jsonl", "settings.json"]
"""What every bundle holds, and what its archive carries."""
MEANING = [embedding.MODEL, embedding.VECTORS]
"""What it holds besides where the index searches by meaning too."""


def key(home: Store, version: str, name: str) -> str:
    """Where a file of a release is kept in the store."""
    return f"{home.agent}/{version}/{name}"


def folder(home: Store, version: str) -> Path:
    """The release on this machine."""
    return home.home / version


def shipped(bundle: Path) -> list[str]:
    """The files of a bundle that its archive carries."""
    return [*SHIPPED, *(name for name in MEANING if (bundle / name).is_file())]


def write(agent: Agent, home: Store, cards: Cards, version: str) -> dict[str, str]:
    """Write, sign and keep a release; returns the SHA-256 of its archives by file name.

    What is there already stays as it is, so that a release never changes under its name.

    Raises:
        IntegrityError: the store keeps other bytes under this version.
        ServerError: the bucket does not answer; run again, and what is missing is completed.
    """
    _, _, adapter, bundle, _ = cards
    room = folder(home, version)
    weights = home.path(adapter) / "adapter"
    names = sorted(path.name for path in weights.iterdir() if path.is_file())
    archives = {
        ADAPTERS: archive.pack(weights, names, room / ADAPTERS),
        MODEL: archive.pack(home.path(bundle), shipped(home.path(bundle)), room / MODEL),
    }
    papers.write(room, agent, cards, version, counter.next(home, version), archives)
    if home.bucket is not None and not (room / SIGNATURE).is_file():
        # Published by another machine: its signature counts, ours would be another one.
        with suppress(MissingInput):
            home.fetch(key(home, version, SIGNATURE))
    signing.sign(room, agent)
    signed = sorted(signing.verify(room, agent, version).files)
    for done, name in enumerate([*signed, SIGNATURE]):
        progress.report("keep", done, len(signed) + 1, name)
        home.upload(room / name, key(home, version, name))
    progress.report("keep", len(signed) + 1, len(signed) + 1, version)
    return archives


def fetched(home: Store, version: str) -> Path:
    """A release on this machine, each file as its writer kept it; not verified yet.

    Raises:
        MissingInput: the store has no such release.
        IntegrityError: a file is not what its digest says.
    """
    room = folder(home, version)
    if home.bucket is None:
        return room
    try:
        listing = Listing.model_validate_json(home.fetch(key(home, version, RELEASE)).read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{home.uri(key(home, version, RELEASE))}: {error.errors()[0]['msg']}",
            hint="publish the release again under a new version",
        ) from error
    for name, digest in listing.files.items():
        home.fetch(key(home, version, name), digest)
    home.fetch(key(home, version, SIGNATURE))
    return room
