"""The places in one YAML file that name the model: read together, written together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from opslore.config_deploy import Commit
from opslore.errors import ConfigError
from opslore.release import yamltext
from opslore.release.edited import File
from opslore.release.gitcommit import Branch
from opslore.release.yamltree import Node

S = TypeVar("S", str, str | None)
"""A place's state; None where nothing stands there yet."""


class Text(Protocol):
    """Where the file's text is read and written: a folder, or a branch."""

    @property
    def name(self) -> str:
        """What people call the file."""

    def read(self) -> str:
        """The text, every character as it is."""

    def check(self, after: str) -> None:
        """Refuse now whatever would refuse the writing of this text."""

    def write(self, before: str, after: str, message: str) -> None:
        """Replace the text in one step, unless it is not `before` any more."""


class Places:
    """Scalars of one file. Their state is their characters as they stand there."""

    def __init__(
        self, file: str, commit: Commit | None, find: Callable[[str, str], list[Node]]
    ) -> None:
        """Name the file.

        Args:
            file: path of the YAML file.
            commit: the branch that gets a commit, or None to edit the file where it is.
            find: gives the scalars of a text (and of the name of its file, for messages).
        """
        path = Path(file)
        self.file: Text = File(path) if commit is None else Branch(path, commit.branch)
        self._commit = commit
        self._find = find
        self._versions: dict[str, tuple[str, str]] = {}

    def now(self) -> str:
        """The characters that stand there."""
        text = self.file.read()
        return pack([yamltext.raw(text, node) for node in self._find(text, self.file.name)])

    def value(self) -> str:
        """What a reader gets from the first place."""
        text = self.file.read()
        return self._find(text, self.file.name)[0].text

    def aim(self, value: str, agent: str, version: str) -> str:
        """The characters that will stand there, in the quotes that are there now."""
        text = self.file.read()
        nodes = self._find(text, self.file.name)
        state = pack([yamltext.written(text, node, value) for node in nodes])
        self._versions[state] = (agent, version)
        return state

    def planned(self, state: str) -> tuple[str, str]:
        """The text as it is, and as it will be."""
        text = self.file.read()
        nodes = self._find(text, self.file.name)
        raws = unpack(state, len(nodes), self.file.name)
        wanted = [
            (node, raw)
            for node, raw in zip(nodes, raws, strict=True)
            if raw != yamltext.raw(text, node)
        ]
        return text, yamltext.change(text, wanted, self.file.name) if wanted else text

    def move(self, state: str, model: str) -> None:
        """Write the characters; nothing is written when they stand there already.

        Args:
            state: what `aim` or `now` said.
            model: for the message of the commit.
        """
        before, after = self.planned(state)
        if before == after:
            return
        agent, version = self._versions.get(state, (model, state))
        message = self._commit.message if self._commit else ""
        self.file.write(before, after, filled(message, agent, model, version))


def filled(template: str, agent: str, model: str, version: str) -> str:
    """A template with `{agent}`, `{model}` and `{version}` in it; other braces stay as they are."""
    for name, value in (("agent", agent), ("model", model), ("version", version)):
        template = template.replace(f"{{{name}}}", value)
    return template


def pack(states: list[S]) -> S:
    """The state of many places as one text; that of one place is its own."""
    return states[0] if len(states) == 1 else json.dumps(states, ensure_ascii=False)


def unpack(state: S, count: int, name: str) -> list[S]:
    """What `pack` made.

    Raises:
        ConfigError: there are more or fewer places now.
    """
    found: list[S] = [state] if count == 1 else []
    if count > 1 and state is not None and state.startswith("["):
        found = json.loads(state)
    if len(found) != count:
        raise ConfigError(
            f"deploy: {name} has {count} places that name the model now, not as many as before",
            hint="run `opslore deploy AGENT.yaml` again",
        )
    return found
