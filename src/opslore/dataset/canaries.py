"""Canaries: texts that a team plants where a model must not learn them from.

Whoever wants to know whether a model repeats what it read writes `opslore-canary-` and at least
eight hexadecimal digits into a runbook, an issue or a page. `prepare` lists them, and the gate
fails when a reply has one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from opslore import store
from opslore.cards import Document

CANARY = re.compile(r"opslore-canary-[0-9a-f]{8,64}")
FILE = "canaries.txt"


def planted(documents: Iterable[Document]) -> list[str]:
    """Every canary of a corpus, each once."""
    return list(dict.fromkeys(c for d in documents for c in CANARY.findall(d.model_dump_json())))


def write(folder: Path, documents: Iterable[Document]) -> None:
    """List them in a dataset's folder, one a line; no file when there is none."""
    if found := planted(documents):
        store.write(folder / FILE, "\n".join(found) + "\n")


def read(folder: Path) -> list[str]:
    """The canaries that a dataset lists."""
    path = folder / FILE
    return path.read_text("utf-8").split() if path.is_file() else []
