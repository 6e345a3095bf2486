"""What a rule says about one call, and what it may look at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from opslore.commands.scan import MARK
from opslore.commands.syntax import Word
from opslore.commands.tables import LEVELS, Level


@dataclass(frozen=True, slots=True)
class Judgement:
    """A level with the rule that gave it and the reason, in words a person reads."""

    level: Level
    rule: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands around a call: text that flows into it, and whether a pipe does."""

    text: str = ""
    """Heredoc bodies, here-strings and the literal words upstream in the same pipeline."""
    piped: bool = False
    fetched: bool = False
    """Something upstream comes from the network."""


READ = Judgement("read")


def worst(levels: Iterable[Level]) -> Level:
    """The most dangerous of some levels; `read` when there are none."""
    return max(levels, key=LEVELS.index, default="read")


def at_least(one: Judgement, other: Judgement) -> Judgement:
    """The worse of two judgements."""
    return other if LEVELS.index(other.level) > LEVELS.index(one.level) else one


def is_dynamic(word: Word) -> bool:
    """Whether only a running shell, or the reader who fills the hole, knows the word."""
    return word.literal is None or bool(MARK.search(word.text))


_SENSITIVE = re.compile(
    r"^(?:/|/\*|/\.\*?|~|~/|\$HOME/?|/(?:etc|boot|usr|bin|sbin|lib|lib64|root|sys|proc/sys|proc/sysrq\S*|home|var|opt)"
    r"(?:/(?!log/|tmp/|lib/docker/tmp/)\S*)?|/dev/(?!null$|stdout$|stderr$|tty$|fd/|shm/)\S+"
    r"|\S*\.ssh(?:/\S*)?|\S*authorized_keys|~/\.(?:bash|zsh|profile|kube)\S*|\S*/\.kube/config)$"
)
_HARMLESS = re.compile(r"^(?:/dev/(?:null|stdout|stderr|tty|fd/\d+)|-|&?\d)$")
_SCRATCH = re.compile(r"^/(?:var/)?tmp/(?!\.\.)[\w.@+-]+(?:/(?!\.\.)[\w.@+-]+)*$")


def written(path: str) -> Judgement:
    """What writing to a path means."""
    if path.startswith("/dev/tcp/") or path.startswith("/dev/udp/"):
        return Judgement("denied", "network-redirect", f"opens a network connection through {path}")
    if _HARMLESS.match(path):
        return READ
    if _SENSITIVE.match(path) or "/../" in path:
        return Judgement("destructive", "system-path", f"overwrites {path}, which the system needs")
    return Judgement("reversible", "writes-file", f"writes {path}")


def is_sensitive(path: str) -> bool:
    """Whether the system, or somebody's access to it, depends on a path."""
    return bool(_SENSITIVE.match(path))


def is_scratch(path: str) -> bool:
    """Whether a path is one file below a temporary folder."""
    return bool(_SCRATCH.match(path))
