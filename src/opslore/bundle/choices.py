"""What a reply to one prompt may be: the commands of the entries that it shows, or to escalate.

The catalogue knows every command of the runbook; a prompt shows a few, already filled with what
the question says. A place that is still open is filled with a word of the question or stays open,
so that no reply names a thing that nobody named. Generation ends where one choice is left: the
rest of the command is known, and costs no time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from opslore import labels, prompt
from opslore.bundle.catalogue import VALUE, Catalogue, build
from opslore.cards import ESCALATE
from opslore.commands.holes import holes
from opslore.index import Hit

_WORD = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/@-]*")


@dataclass(frozen=True)
class Choices:
    """The replies that a prompt allows."""

    whole: Catalogue
    """The commands to the end."""

    @cached_property
    def known(self) -> dict[str, str]:
        """Each command's decisive beginning, and the command."""
        return _beginnings(self.whole.templates)

    @cached_property
    def short(self) -> Catalogue:
        """The commands as far as they have to be said."""
        return self.whole.model_copy(update={"templates": list(self.known)})

    def finish(self, said: str, confidence: float) -> tuple[str, float]:
        """A reply's command to the end, and its confidence.

        What nobody had to choose was certain, and counts so in the mean of the probabilities.

        Args:
            said: the reply, limited to `short`.
            confidence: geometric mean of its tokens' probabilities.
        """
        whole = self.known.get(said, said)
        return whole, confidence ** (len(said) / max(1, len(whole)))


def of(question: str, hits: Sequence[Hit]) -> Choices:
    """The replies that a prompt with these entries allows."""
    commands = prompt.commands_shown(question, hits)
    said = [word.rstrip(".:,-/") for word in _WORD.findall(question)]
    values = [w for w in said if re.fullmatch(VALUE, w) and not labels.is_prose(w)]
    return Choices(Catalogue(templates=build(commands).templates, values=sorted(set(values))))


def _beginnings(templates: Sequence[str]) -> dict[str, str]:
    """The shortest beginning of each command, in whole words, that no other choice begins with.

    A command with an open place is said to the end: what fills it must be said. Where another
    choice has an open place, what stands before it must differ.
    """
    out: dict[str, str] = {}
    for template in templates:
        others = [_fixed(t) for t in (*templates, ESCALATE) if t != template]
        is_open = bool(holes(template)) or any(template.startswith(other) for other in others)
        out[template if is_open else _beginning(template, others)] = template
    return out


def _fixed(template: str) -> str:
    """A command up to its first open place."""
    found = holes(template)
    return template[: found[0].start] if found else template


def _beginning(template: str, others: Sequence[str]) -> str:
    for end in re.finditer(r"(?<=\S)\s", template):
        beginning = template[: end.start()]
        if not any(
            other == beginning or other.startswith(template[: end.end()]) for other in others
        ):
            return beginning
    return template
