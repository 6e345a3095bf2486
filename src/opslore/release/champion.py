"""Deploy to the registry: the alias `champion` names the release that is deployed."""

from __future__ import annotations

from opslore.errors import MissingInput
from opslore.release import registry
from opslore.release.connection import shown
from opslore.release.targets import Staged


class Champion:
    """The alias `champion` of one agent's model; a target like every other."""

    def __init__(self, uri: str, agent: str) -> None:
        self._uri = uri
        self._agent = agent

    @property
    def name(self) -> str:
        """Such as `MLflow http://127.0.0.1:5000 agent-sre@champion`."""
        return f"MLflow {shown(self._uri)} {self._agent}@{registry.CHAMPION}"

    def stage(self, release: Staged) -> None:
        """See that the release is registered to the end; nothing is written.

        Raises:
            MissingInput: it is not registered, or its publish died half-way.
            ServerError: the registry does not answer.
        """
        found = registry.find(self._uri, self._agent, release.version)
        if found is None or not found.finished or not found.model_version:
            state = "half registered" if found else "not registered"
            raise MissingInput(
                f"{self.name}: {release.version} is {state}",
                hint="run `opslore publish AGENT.yaml`: it completes what is missing",
            )

    def aim(self, agent: str, version: str) -> str:
        """The version itself."""
        return version

    def now(self) -> str | None:
        """The version that is champion, None when there is none yet."""
        return registry.pointed(self._uri, self._agent, registry.CHAMPION)

    def move(self, state: str | None) -> None:
        """Set the alias to a version; None takes it away."""
        registry.point(self._uri, self._agent, registry.CHAMPION, state)
