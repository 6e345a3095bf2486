"""The papers of a release: what it is, how it was judged, what it was made from.

All of them are written from the cards alone, so that the same release has the same bytes wherever
and whenever it is written; the only time in them is when the bundle was made. The signature over
archives and papers comes last, in signing.py.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opslore.config import Agent
from opslore.errors import IntegrityError
from opslore.release import bom, card, notices, provenance
from opslore.release.facts import Cards, Facts, bare
from opslore.release.listing import (
    BOM,
    CARD,
    DATASET,
    EVALUATION,
    LICENCE,
    NOTICE,
    PROVENANCE,
    RELEASE,
    SIGNATURE,
    Listing,
)
from opslore.release.version import checked
from opslore.store import sha256, sync
from opslore.store import write as put

_logger = logging.getLogger(__name__)


def write(
    folder: Path, agent: Agent, cards: Cards, version: str, counter: int, archives: dict[str, str]
) -> None:
    """Write every paper of a release beside its archives; what is there already stays untouched.

    A release that was signed and still has these archives keeps its papers, even if a newer
    opslore would word them differently. If a paper has to be written anew, the signature that no
    longer fits goes first.

    Args:
        folder: the release, with its archives.
        agent: the agent file.
        cards: corpus, dataset, adapter, bundle and evaluation.
        version: `v{YYYYMMDD}-{8 hex}`.
        counter: the release's number, from counter.next().
        archives: SHA-256 of the archives by file name.

    Raises:
        IntegrityError: an archive is not what its digest says.
    """
    checked(version)
    for name, digest in archives.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise IntegrityError(
                f"{folder / name} is not the archive that was packed",
                hint="run `opslore publish AGENT.yaml` again",
            )
    _sweep(folder)
    if _kept(folder, cards, version, counter, archives):
        return
    licence = notices.of_base(agent, bare(agent.base_model))
    if licence.warning:
        _logger.warning("%s", licence.warning)
    facts = Facts(agent, cards, version, counter, dict(archives), licence)
    papers = _papers(facts)
    if all(_same(folder / name, data) for name, data in papers.items()):
        return
    if (folder / SIGNATURE).is_file():
        (folder / SIGNATURE).unlink()
        sync(folder)
    for name, data in papers.items():
        if not _same(folder / name, data):
            put(folder / name, data)


def _papers(facts: Facts) -> dict[str, bytes]:
    """Every paper by name; release.json last, because it names the others."""
    corpus, dataset, _, bundle, evaluation = facts.cards
    splits = {"splits": dataset.splits, "dropped": dataset.dropped, "sha256": dataset.digest}
    papers = {
        CARD: card.render(facts).encode(),
        EVALUATION: _json(evaluation.model_dump(mode="json")),
        DATASET: _json(
            {
                "format": 1,
                "dataset": {"id": dataset.id, **splits},
                "corpus": {
                    "id": corpus.id,
                    "documents": corpus.documents,
                    "dropped": corpus.dropped,
                    "sha256": corpus.digest,
                    "commit": corpus.commit,
                },
            }
        ),
        BOM: bom.render(facts).encode(),
        NOTICE: facts.licence.notice.encode(),
    }
    if facts.licence.text:
        papers[LICENCE] = facts.licence.text
    told = {name: _digest(data) for name, data in papers.items()}
    papers[PROVENANCE] = _json(provenance.statement(facts, told))
    listing = Listing(
        agent=facts.agent.name,
        version=facts.version,
        counter=facts.counter,
        created=facts.made,
        base_model=facts.base,
        licence=facts.licence.name,
        bundle=bundle.id,
        evaluation=evaluation.id,
        files=dict(
            sorted({**facts.archives, **{n: _digest(d) for n, d in papers.items()}}.items())
        ),
    )
    papers[RELEASE] = _json(listing.model_dump(mode="json"))
    return papers


def _kept(folder: Path, cards: Cards, version: str, counter: int, archives: dict[str, str]) -> bool:
    """Whether this very release was written and signed before; its signature is checked later."""
    if not (folder / SIGNATURE).is_file():
        return False
    try:
        found = Listing.model_validate_json((folder / RELEASE).read_bytes())
    except (OSError, ValidationError):
        return False
    wanted = (version, counter, cards[3].id, cards[4].id)
    return (
        wanted == (found.version, found.counter, found.bundle, found.evaluation)
        and archives.items() <= found.files.items()
        and all(
            (folder / name).is_file() and sha256(folder / name) == digest
            for name, digest in found.files.items()
            if name not in archives
        )
    )


def _sweep(folder: Path) -> None:
    """Take away what a killed try has left: our own temporary names, which nobody reads."""
    for path in folder.glob(".*.tmp"):
        path.unlink()


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
