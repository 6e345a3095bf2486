"""A custom resource or another manifest that names the model: its file, or the object itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opslore import config_deploy
from opslore.errors import ConfigError
from opslore.release import manifestenv, yamltext
from opslore.release.cluster import Cluster, Conflict
from opslore.release.manifestenv import Place
from opslore.release.places import Places, filled, pack, unpack
from opslore.release.targets import Staged
from opslore.release.yamltree import Node

TRIES = 5
"""How often an object is read again that others change at the same moment."""


class ResourceFile:
    """Deploy target: a manifest in a file; every place in it is written together."""

    def __init__(self, section: config_deploy.Resource, agent: str, model: str) -> None:
        """Find the file; nothing is written.

        Args:
            section: the target in the agent file, with `file`.
            agent: the agent's name, which the object has when the section names none.
            model: fills `{model}`, the model's name in Ollama.

        Raises:
            ConfigError: no repository for the commit.
        """
        self.section, self.model = section, model
        self.object = section.name or agent
        self.places = Places(section.file, section.commit, self._find)

    @property
    def name(self) -> str:
        """The file and the object."""
        return f"manifest {self.places.file.name} {self.section.resource}/{self.object}"

    def stage(self, release: Staged) -> None:
        """Try the edit and the commit without doing them.

        Raises:
            ConfigError: the manifest has no such place, or one that cannot be set.
            ServerError: the file or the repository refuses.
        """
        _, after = self.places.planned(self.aim(release.agent, release.version))
        self.places.file.check(after)

    def aim(self, agent: str, version: str) -> str:
        """The characters of every place when they name this version."""
        value = filled(self.section.value, agent, self.model, version)
        return self.places.aim(value, agent, version)

    def now(self) -> str:
        """The characters of every place."""
        return self.places.now()

    def move(self, state: str | None) -> None:
        """Write every place in one step.

        Raises:
            ConfigError: there is nothing to write, or the file has changed its shape.
            ServerError: the file or the repository refuses.
        """
        if state is None:
            raise ConfigError(f"deploy: {self.name} had a value; it cannot be taken away")
        self.places.move(state, self.model)

    def _find(self, text: str, file: str) -> list[Node]:
        tree = self._document(yamltext.documents(text, file), file)
        where = f"{file}:{tree.line}: {self.section.resource} {self.object}"
        found = manifestenv.places(_plain(tree), self.section, where)
        for place in found:
            if place.variable and place.value is None:
                raise ConfigError(
                    f"deploy: {where}: {yamltext.shown(place.steps[:-2])} has no {place.variable}",
                    hint=f'add `- {{name: {place.variable}, value: ""}}` there, '
                    "or name another list in deploy[].env_key",
                )
        return [yamltext.scalar(tree, place.steps, file) for place in found]

    def _document(self, trees: Sequence[Node], file: str) -> Node:
        seen, found = [], []
        for tree in trees:
            plain = _plain(tree)
            meta = plain.get("metadata") if isinstance(plain, dict) else None
            if not isinstance(meta, dict):
                continue
            seen.append(f"{plain.get('kind')} {meta.get('name')}")
            if self._is_wanted(plain, meta):
                found.append(tree)
        if len(found) == 1:
            return found[0]
        wanted = f"{self.section.resource} {self.object}"
        raise ConfigError(
            f"deploy: {file} has {len(found) or 'no'} {wanted}; "
            f"it has {', '.join(seen[:8]) or 'no manifest'}",
            hint="name one of them by deploy[].resource, name, namespace and api_version",
        )

    def _is_wanted(self, plain: dict[str, Any], meta: dict[str, Any]) -> bool:
        section = self.section
        return (
            plain.get("kind") == section.resource
            and meta.get("name") == self.object
            and (not section.api_version or plain.get("apiVersion") == section.api_version)
            and meta.get("namespace", section.namespace) == section.namespace
        )


class ResourceObject:
    """Deploy target: an object in a cluster, patched through the API in one request."""

    def __init__(self, section: config_deploy.Resource, agent: str, model: str) -> None:
        """Name the object; nothing is read or asked yet.

        Args:
            section: the target in the agent file, without `file`.
            agent: the agent's name, which the object has when the section names none.
            model: fills `{model}`, the model's name in Ollama.
        """
        self.section, self.model = section, model
        self.object = section.name or agent
        self.cluster = Cluster(section.context)

    @property
    def name(self) -> str:
        """The object."""
        return f"{self.section.resource} {self.section.namespace}/{self.object}"

    def stage(self, release: Staged) -> None:
        """Let the cluster check the patch without applying it.

        Raises:
            ConfigError: there is no such object, or it cannot name the model so.
            ServerError: the cluster does not answer, or refuses.
        """
        found = self._read()
        places = self._places(found)
        value = filled(self.section.value, release.agent, self.model, release.version)
        self._patch(found, places, [value] * len(places), dry_run=True)

    def aim(self, agent: str, version: str) -> str:
        """The value of every place when it names this version."""
        value = filled(self.section.value, agent, self.model, version)
        state = pack([value] * len(self._places(self._read())))
        return state or value

    def now(self) -> str | None:
        """The value of every place; None when the only one is empty.

        Raises:
            ConfigError: there is no such object, or it cannot name the model so.
            ServerError: the cluster does not answer, or refuses.
        """
        return pack([place.value for place in self._places(self._read())])

    def move(self, state: str | None) -> None:
        """Patch every place in one request, unless somebody else changes them.

        Raises:
            ConfigError: the object has changed its shape.
            Conflict: somebody else has set another model at this moment.
            ServerError: the cluster does not answer, or refuses.
        """
        seen: str | None = None
        for number in range(TRIES):
            found = self._read()
            places = self._places(found)
            now = pack([place.value for place in places])
            if now == state:
                return
            if number and now != seen:
                break
            seen = now
            try:
                self._patch(found, places, unpack(state, len(places), self.name))
            except Conflict:
                continue  # a controller has written its status; what we set may be as it was
            return
        raise Conflict(
            f"deploy: {self.name} is changed by somebody else at this moment",
            hint="run `opslore deploy AGENT.yaml` again",
            retryable=True,
        )

    def _read(self) -> dict[str, Any]:
        section = self.section
        found = self.cluster.get(
            section.api_version, section.resource, section.namespace, self.object
        )
        if found is None:
            raise ConfigError(
                f"deploy: cluster {self.cluster.name} has no {self.name}",
                hint=f"kubectl -n {section.namespace} get {section.resource.lower()}; "
                "make the object once, or mend deploy[].name",
            )
        return found

    def _places(self, found: dict[str, Any]) -> list[Place]:
        return manifestenv.places(found, self.section, self.name)

    def _patch(
        self,
        found: dict[str, Any],
        places: Sequence[Place],
        wanted: Sequence[str | None],
        *,
        dry_run: bool = False,
    ) -> None:
        patch = manifestenv.operations(places, wanted)
        if not patch:
            return
        # With the version that was read, the server answers 409 when the object has changed since.
        version = found["metadata"]["resourceVersion"]
        first = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        section = self.section
        after = self.cluster.patch(
            section.api_version,
            section.resource,
            (section.namespace, self.object),
            [first, *patch],
            dry_run=dry_run,
        )
        for place, value in zip(self._places(after), wanted, strict=True):
            if place.value != value:
                raise ConfigError(
                    f"deploy: {self.name}: the cluster makes {place.value!r} of {value!r} "
                    f"in {place.shown}",
                    hint=f"does {section.api_version} have this field? "
                    f"kubectl explain {section.resource.lower()}.{section.key}",
                )


def target(
    section: config_deploy.Resource, agent: str, model: str
) -> ResourceFile | ResourceObject:
    """The deploy target of a section: its file when it names one, else the object."""
    if section.file:
        return ResourceFile(section, agent, model)
    return ResourceObject(section, agent, model)


def _plain(node: Node) -> Any:
    """A tree as dicts, lists and texts; a value that is not written is an empty text."""
    if node.kind == "map":
        return {key.text: _plain(value) for key, value in node.children}
    if node.kind == "list":
        return [_plain(value) for _, value in node.children]
    return node.text
