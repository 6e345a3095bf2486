"""Model servers: who answers. A module here is a backend; its name is the one in the agent file.

A dotted path (`package.module`) is the door for anybody else's. Every backend module has a class
`Server` that does what the protocol below says.
"""

from __future__ import annotations

import difflib
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

from opslore.cards import Message
from opslore.errors import ConfigError, MissingExtra


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    text: str
    stopped: bool
    """It ended its turn by itself; False when the limit of tokens cut it."""
    tokens: int
    """Tokens made, the end of the turn included."""
    seconds: float
    """From the question to the last token, wall clock."""
    confidence: float
    """Geometric mean of the tokens' probabilities before any grammar, 0..1; nan when unknown."""
    margin: float = math.nan
    """Log-odds of answering with a command against `escalate_to_human`, nats, at the token where
    they part, before any grammar; nan when unknown."""


class Server(Protocol):
    """One loaded model that answers conversations, greedily."""

    def __enter__(self) -> Self:
        """Return the server."""

    def __exit__(self, *reason: object) -> None:
        """Close the server."""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt that the model reads, by its own chat template."""

    def chat(
        self, messages: Sequence[Message], *, grammar: str | None = None, max_tokens: int = 160
    ) -> Reply:
        """Answer one conversation; a GBNF grammar limits what can be said."""

    def chat_many(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        grammar: str | Sequence[str] | None = None,
        max_tokens: int = 160,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Reply]:
        """Answer conversations in order; `progress` hears how many are done.

        A grammar is for all of them, several are one for each.
        """

    def close(self) -> None:
        """Free the model's memory."""


def each(grammar: str | Sequence[str] | None, count: int) -> list[str | None]:
    """The grammar of each of some conversations.

    Raises:
        ValueError: several grammars, and not as many as conversations.
    """
    if grammar is None or isinstance(grammar, str):
        return [grammar] * count
    if len(grammar) != count:
        raise ValueError(f"{len(grammar)} grammars for {count} conversations")
    return list(grammar)


class Backend(Protocol):
    """What a server module offers."""

    def Server(
        self, gguf: Path, *, context: int = 4096, parallel: int = 1, threads: int = 0
    ) -> Server:
        """Load a GGUF."""


def names() -> list[str]:
    """The backends that come with opslore."""
    helpers = {"margin", "ollama_client", "ollama_install", "ollama_wire", "template", "trained"}
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in helpers)


def load(name: str) -> Backend:
    """The backend module of this name, or of this dotted path.

    Raises:
        ConfigError: there is no such server.
        MissingExtra: it needs a package that is not installed.
    """
    path = name if "." in name else f"{__name__}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if path == missing or path.startswith(missing + "."):
            close = difflib.get_close_matches(name, names(), n=1)
            raise ConfigError(
                f"no server {name!r}; there are {', '.join(names())}",
                hint=f"did you mean {close[0]}?" if close else "",
            ) from error
        raise MissingExtra(
            f"server {name!r} needs {missing!r}", hint=f"pip install {missing}"
        ) from error
    if not hasattr(module, "Server"):
        raise ConfigError(f"server {name!r}: the module {path} has no class Server")
    return cast(Backend, module)
