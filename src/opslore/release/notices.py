"""The base model's licence, read at run time from the base itself, and the notices it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from opslore import models
from opslore.config import Agent

APACHE, GEMMA, UNKNOWN = "apache-2.0", "gemma", "unknown"

_VAGUE = ("", UNKNOWN, "other")
"""What metadata says when it does not say which licence."""

_READS_LIKE = {
    GEMMA: re.compile(r"Gemma\s+Terms\s+of\s+Use", re.IGNORECASE),
    APACHE: re.compile(r"Apache\s+License\W+Version\s+2\.0", re.IGNORECASE),
}

_GEMMA_NOTICE = """\
Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms

Whoever passes this release on has to pass on those terms with it (section 3.1) and their use
restrictions (section 3.2; ai.google.dev/gemma/prohibited_use_policy).
"""

_APACHE_NOTICE = """\
The base model is licensed under the Apache License, Version 2.0; a copy is in the file LICENSE.
"""

_UNKNOWN_NOTICE = """\
WARNING: the base model does not say which licence it has. Find out before you pass this release on.
"""


@dataclass(frozen=True)
class Licence:
    """What is known of the base model's licence, and what has to travel with the release."""

    name: str
    """As the base says it: `apache-2.0`, `gemma`, ...; `unknown` when it says nothing."""
    notice: str
    """Text of the release's NOTICE file."""
    text: bytes = b""
    """Text of the release's LICENSE file; empty when there is none to carry."""
    warning: str = ""
    """What a person has to look at, one line; "" when nothing."""


def of_base(agent: Agent, base_model: str) -> Licence:
    """The licence of the agent's base model.

    Args:
        agent: the agent file; its base model was resolved before, so nothing is downloaded.
        base_model: how papers call the base model.
    """
    base = models.resolve(agent.base_model, agent.revision)
    return read(base.folder, base.licence, base_model)


def read(folder: Path, named: str, base_model: str) -> Licence:
    """The licence of a model folder.

    Args:
        folder: the model's files; a LICENSE and a NOTICE among them are carried on.
        named: what the model's metadata call the licence.
        base_model: how papers call the model.
    """
    text, notice = _file(folder, "LICENSE"), _file(folder, "NOTICE")
    said = named.strip().lower()
    said = UNKNOWN if said in _VAGUE else said
    reads = next((n for n, words in _READS_LIKE.items() if words.search(_words(text))), "")
    name = said if said != UNKNOWN else reads or UNKNOWN
    warnings = []
    if reads and reads != name:
        warnings.append(f"its metadata say {name}, but its LICENSE file reads like {reads}")
    if name == UNKNOWN:
        warnings.append("its licence is unknown")
    if not text and name == APACHE:
        text = resources.files("opslore.release").joinpath("data/Apache-2.0.txt").read_bytes()
    if not text and name != UNKNOWN:
        warnings.append(f"it brings no copy of its licence ({name}); add one before you pass it on")
    return Licence(
        name=name,
        notice=_notice({name, reads}, base_model, name, _words(notice)),
        text=text,
        warning=f"base model {base_model}: {'; '.join(warnings)}" if warnings else "",
    )


def _notice(licences: set[str], base_model: str, name: str, own: str) -> str:
    parts = [
        f"This model was fine-tuned by opslore from {base_model} (licence: {name}).\n"
        "Its weights were modified: a LoRA adapter was merged into them, then they were converted\n"
        "to GGUF. It is not the base model, and not endorsed by those who made that.\n"
    ]
    if GEMMA in licences:
        parts.append(_GEMMA_NOTICE)
    if APACHE in licences:
        parts.append(_APACHE_NOTICE)
    if name == UNKNOWN:
        parts.append(_UNKNOWN_NOTICE)
    if own.strip():
        parts.append(f"Notice of the base model:\n\n{own.strip()}\n")
    return "\n".join(parts)


def _file(folder: Path, stem: str) -> bytes:
    """The first file that is called so, with or without an ending; at most 1 MiB of it."""
    for path in sorted(folder.glob(f"{stem}*")):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(1 << 20)
    return b""


def _words(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
