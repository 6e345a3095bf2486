"""Everything the papers of a release are written from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation
from opslore.config import Agent
from opslore.release.notices import Licence

Cards = tuple[Corpus, Dataset, Adapter, Bundle, Evaluation]
"""What a release was made from, in the order of the steps."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Facts:
    """A release, before it is written down."""

    agent: Agent
    cards: Cards
    version: str
    counter: int
    archives: dict[str, str]
    """SHA-256 of the archives by file name."""
    licence: Licence

    @property
    def base(self) -> str:
        """The base model's name; of a path only its last part, which means something elsewhere."""
        return bare(self.agent.base_model)

    @property
    def made(self) -> str:
        """When the bundle was made: the only time in the papers, so that they are repeatable."""
        return self.cards[3].created


def bare(name: str) -> str:
    """A name without the folders of one machine: the last part of an absolute or `~` path."""
    if name.startswith(("/", "~", "./", "../")) or name.lower().endswith(".gguf"):
        return Path(name).name
    return name


def settings(agent: Agent) -> dict[str, Any]:
    """The agent file's sections that decide what is in a release, without paths and passwords.

    Where it is stored, registered and deployed changes no byte of it and is left out.
    """
    kept = agent.model_dump(mode="json", exclude={"store", "publish", "deploy"})
    kept["base_model"] = bare(agent.base_model)
    return {key: _clean(value) for key, value in kept.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, str):
        value = _USERINFO.sub("", value)
        return Path(value).name if value.startswith(("/", "~/")) else value
    return value
