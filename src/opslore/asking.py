"""A bundle's prompts, and the model that answers them: in llama.cpp, or in the Ollama of `deploy`.

In both the reply is limited to the commands that the prompt shows: by a grammar in llama.cpp, by a
JSON schema in Ollama, whose reply is unwrapped here. A bundle that answers in prose has no limit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from opslore import prompt, servers
from opslore.bundle import choices
from opslore.bundle.catalogue import Catalogue, grammar, schema
from opslore.config import Agent
from opslore.config_deploy import Ollama
from opslore.errors import IntegrityError
from opslore.index import Hit, Index
from opslore.servers import Reply

OLLAMA = "ollama"
"""Name of the server that answers with a deployed model instead of the bundle's file."""


class Asking:
    """A loaded model that is asked as the bundle's own prompts ask it."""

    def __init__(
        self,
        agent: Agent,
        folder: Path,
        *,
        server: str = "",
        gguf: Path | None = None,
        model: str = "",
        url: str = "",
    ) -> None:
        """Read the bundle and load the model.

        Args:
            agent: whose bundle.
            folder: the bundle, whose index and catalogue make and limit every answer.
            server: where the model runs; empty is `evaluate.server`.
            gguf: another model than the bundle's, such as its base.
            model: its name in Ollama.
            url: the Ollama; empty is the one that `deploy` names.

        Raises:
            IntegrityError: the bundle is damaged.
            MissingInput: Ollama has no such model.
            ServerError: nobody answers.
        """
        told = settings(folder)
        self.system, self.count, self.prose = told.system, told.entries, told.task == "answers"
        self.index, self.catalogue = Index.read(folder), catalogue(folder)
        self.tokens = agent.evaluate.max_tokens
        self.server: Any
        self.in_ollama = (server or agent.evaluate.server) == OLLAMA
        if self.in_ollama:
            from opslore.servers.ollama import Server

            where, name = deployed(agent, url)
            self.server = Server(model or f"{name}:latest", url=where)
        else:
            backend = servers.load(server or agent.evaluate.server)
            context = agent.export.num_ctx
            self.server = backend.Server(gguf or folder / "model.gguf", context=context)

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Free the model, or close the connection."""
        self.server.close()

    def ask(self, text: str, free: bool = False) -> tuple[list[Hit], Reply]:
        """The entries that the prompt shows, best first, and the reply.

        Args:
            text: the question with its labels.
            free: let the model say anything, not only the catalogue's commands.
        """
        free = free or self.prose
        hits = self.index.search(text, self.count)
        turns = prompt.messages(self.system, text, hits)
        if free:
            reply: Reply = self.server.chat(turns, max_tokens=self.tokens)
            return hits, reply
        allowed = choices.of(text, hits)
        if self.in_ollama:
            said = self.server.chat(turns, format=schema(allowed.short), max_tokens=self.tokens)
            said = replace(said, text=unwrapped(said.text))
        else:
            limit = grammar(allowed.short)
            said = self.server.chat(turns, grammar=limit, max_tokens=self.tokens)
        command, confidence = allowed.finish(said.text, said.confidence)
        return hits, replace(said, text=command, confidence=confidence)


def deployed(agent: Agent, url: str = "") -> tuple[str, str]:
    """The address of the Ollama that `deploy` names, and the model's name there without a tag.

    Args:
        agent: the agent file.
        url: another address; without one and without a target it is OLLAMA_HOST's.
    """
    target = next((t for t in agent.deploy if isinstance(t, Ollama)), None)
    # What a Job in the cluster calls its Ollama, nobody outside can reach.
    known = target.url if target is not None and target.via == "direct" else ""
    return url or known, (target.model if target is not None else "") or agent.name


def unwrapped(text: str) -> str:
    """The command inside a reply that follows the catalogue's schema; else the reply itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return str(found["command"]) if isinstance(found, dict) and "command" in found else text


class Told(NamedTuple):
    """What a bundle says about itself."""

    system: str
    entries: int
    """Entries of the index that its prompts show."""
    task: str
    """`commands`, or `answers` in prose."""


def settings(folder: Path) -> Told:
    """A bundle's system prompt, how many entries its prompts show, and its task.

    Raises:
        IntegrityError: damaged.
    """
    try:
        found = json.loads((folder / "settings.json").read_bytes())
        task = str(found.get("task", "commands"))
        return Told(str(found["system_prompt"]), int(found["entries"]), task)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / "settings.json", error) from error


def catalogue(folder: Path) -> Catalogue:
    """A bundle's known commands.

    Raises:
        IntegrityError: damaged.
    """
    try:
        return Catalogue.model_validate_json((folder / "catalogue.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(folder / "catalogue.json", error) from error


def _damaged(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"{path}: not what `export` wrote: {str(error).splitlines()[0]}",
        hint=f"delete {path.parent} and run `opslore export AGENT.yaml` again",
    )
