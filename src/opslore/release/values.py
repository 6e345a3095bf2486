"""The key of a Helm values file (or any YAML file) that names the model, as a deploy target."""

from __future__ import annotations

import json

from opslore import config_deploy
from opslore.errors import ConfigError, OpsloreError
from opslore.release import yamltext
from opslore.release.helm import Helm
from opslore.release.places import Places, filled
from opslore.release.targets import Staged
from opslore.release.yamltree import Node


class Values:
    """Deploy target: a key in a file, and the Helm release that reads it.

    The state is the value's characters in the file. While the Helm release does not have the
    file's value, the state tells both, so that a switch that was cut short is completed.
    """

    def __init__(self, section: config_deploy.Values, model: str) -> None:
        """Read the key path and find the file; nothing is written.

        Args:
            section: the target in the agent file.
            model: fills `{model}`, the model's name in Ollama.

        Raises:
            ConfigError: no key path, or no repository for the commit.
        """
        self.section, self.model = section, model
        self.steps = yamltext.path(section.key)
        self.places = Places(section.file, section.commit, self._find)
        self.helm = Helm(section.helm) if section.helm else None

    @property
    def name(self) -> str:
        """The file and the key."""
        return f"values {self.places.file.name} {self.section.key}"

    def stage(self, release: Staged) -> None:
        """Try everything without changing anything: the key, the edit, the commit, the upgrade.

        Raises:
            ConfigError: the file or the chart cannot take the value; the message says why.
            ServerError: the file, the repository or the cluster refuses.
        """
        state = self.aim(release.agent, release.version)
        _, after = self.places.planned(state)
        self.places.file.check(after)
        if self.helm is not None:
            self.helm.check(after, self.places.file.name, self.section.key)

    def aim(self, agent: str, version: str) -> str:
        """The value's characters when it names this version."""
        value = filled(self.section.value, agent, self.model, version)
        return self.places.aim(value, agent, version)

    def now(self) -> str:
        """The value's characters; with a Helm release that has another value, also its revision."""
        state = self.places.now()
        if self.helm is None:
            return state
        deployed = self.helm.deployed()
        if deployed.healthy and _inside(deployed.values, self.steps) == self.places.value():
            return state
        return json.dumps({"file": state, "helm_revision": deployed.revision})

    def move(self, state: str | None) -> None:
        """Edit the file, commit, upgrade; if the upgrade fails, both are put back.

        Raises:
            ConfigError: there is no value to write, or the file has changed its shape.
            ServerError: the file, the repository or Helm refused.
        """
        if state is None:
            raise ConfigError(f"deploy: {self.name} had a value; it cannot be taken away")
        if state.startswith('{"file"'):
            both = json.loads(state)
            self.places.move(both["file"], self.model)
            if self.helm is not None:
                self.helm.rollback(both["helm_revision"])
            return
        before = self.places.now()
        self.places.move(state, self.model)
        if self.helm is None:
            return
        try:
            self.helm.upgrade(self.places.file.read())
        except BaseException as error:
            # The next try must not read a value that nothing runs.
            try:
                self.places.move(before, self.model)
            except OpsloreError as other:
                error.add_note(f"and the file was not put back: {other.message}")
            raise

    def _find(self, text: str, file: str) -> list[Node]:
        trees = yamltext.documents(text, file)
        if not trees:
            raise ConfigError(f"deploy: {file} is empty", hint=f"write {self.section.key} into it")
        having = [tree for tree in trees if _has(tree, self.steps)]
        if len(having) > 1:
            raise ConfigError(
                f"deploy: {file} has {self.section.key} in {len(having)} documents, "
                f"lines {', '.join(str(tree.line) for tree in having)}",
                hint="Helm reads the first document only: remove the others from the file",
            )
        return [yamltext.scalar((having or trees)[0], self.steps, file)]


def _has(tree: Node, steps: tuple[yamltext.Step, ...]) -> bool:
    node: Node | None = tree
    for step in steps:
        node = yamltext.lookup(node, step) if node is not None else None
    return node is not None


def _inside(values: object, steps: tuple[yamltext.Step, ...]) -> object:
    for step in steps:
        if isinstance(values, dict):
            values = values.get(step)
        elif isinstance(values, list) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            return None
    return values
