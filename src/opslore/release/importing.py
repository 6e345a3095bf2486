"""An Ollama that only the cluster reaches, as a deploy target: Jobs install, read and point.

`import-...` brings `NAME:VERSION` there. The pointer `NAME:latest` cannot be seen from here, so a
`point-...` Job tells what it is, and another one moves it (docs/decisions/0008-import-job.md). Each
prints one line of JSON: `{"now": STATE or null, "versions": {VERSION: STATE, ...}}`.
"""

from __future__ import annotations

import secrets
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from opslore import config_deploy
from opslore.errors import ConfigError, MissingInput, ServerError
from opslore.release import jobspec, keys, kubernetes
from opslore.release.cluster import Cluster
from opslore.release.targets import Staged
from opslore.release.version import checked

POINT_SECONDS = 300
"""The deadline of a Job that only reads or moves the pointer."""


class OllamaJob:
    """Deploy target: the Ollama of a cluster. A state is what `point` in the cluster calls it."""

    def __init__(self, section: config_deploy.Ollama, agent: str) -> None:
        """Read the kubeconfig; nothing is asked yet.

        Args:
            section: the target in the agent file, with `via: job`.
            agent: the agent's name.

        Raises:
            ConfigError: no such context.
        """
        self.section, self.agent = section, agent
        self.model = section.model or agent
        self.cluster = Cluster(section.job.context)
        self._versions: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The Ollama as the Job sees it, and the pointer."""
        return (
            f"Ollama {self.section.url} {self.model}:latest (Job in {self.section.job.namespace})"
        )

    def stage(self, release: Staged) -> None:
        """Run the Job that installs the release; one that is done already is enough.

        Raises:
            ConfigError: the release lies where no Job can read it, or the Job is invalid.
            ServerError: the Job failed; the message has its pod's log.
        """
        kubernetes.run(self.cluster, self.rendered(release))

    def rendered(self, release: Staged) -> dict[str, Any]:
        """The manifest of the Job that installs a release.

        Raises:
            ConfigError: the release lies where no Job can read it, or was not verified.
        """
        if not release.uri.startswith(("s3://", "https://")):
            raise ConfigError(
                f"deploy: a Job cannot read {release.uri}; it runs on another machine",
                hint="keep the store in a bucket: `store: s3://...` in the agent file",
            )
        if not release.signer:
            raise ConfigError(
                "deploy: nobody says which key signed the release, so its Job could not verify it",
                hint="run `opslore deploy AGENT.yaml`: it verifies the release first",
            )
        arguments = ["install", release.uri, "--sha256", release.sha256, *self._where()]
        arguments += ["--version", release.version, "--agent", release.agent]
        place = (self.section.url, self.model, release.signer)
        key = jobspec.digest(release.version, release.sha256, *place)
        title = jobspec.name("import", self.agent, key)
        trusted = {keys.TRUSTED: release.signer}
        return jobspec.render(
            self.section.job, title, self.agent, release.version, arguments, trusted
        )

    def aim(self, agent: str, version: str) -> str:
        """The pointer's state when it is this version, asked by a Job unless one told it before.

        Raises:
            MissingInput: the version is not installed there.
            ServerError: the Job failed, or its answer cannot be read.
        """
        if checked(version) not in self._versions:
            self._point([])
        if version not in self._versions:
            raise MissingInput(
                f"deploy: {self.name}: {self.model}:{version} is not installed there",
                hint="run `opslore deploy AGENT.yaml`: its Job installs the version first",
            )
        return self._versions[version]

    def now(self) -> str | None:
        """The pointer's state, asked by a Job.

        Raises:
            ServerError: the Job failed, or its answer cannot be read.
        """
        return self._point([])

    def move(self, state: str | None) -> None:
        """Move the pointer by a Job.

        Raises:
            ServerError: the Job failed, or says that the pointer is elsewhere.
        """
        now = self._point(["--remove"] if state is None else ["--state", state])
        if now != state:
            raise ServerError(
                f"deploy: {self.name} is at {now} after it was moved to {state}",
                hint="somebody else deploys there at this moment: run `opslore deploy` again",
                retryable=True,
            )

    def _where(self) -> list[str]:
        return ["--url", self.section.url, "--name", self.model]

    def _point(self, arguments: list[str]) -> str | None:
        # Every look and every move is a Job of its own: the answer of an old one is no answer.
        title = jobspec.name("point", self.agent, secrets.token_hex(4))
        deadline = min(self.section.job.deadline, POINT_SECONDS)
        section = self.section.job.model_copy(update={"deadline": deadline})
        whole = ["point", *self._where(), *arguments]
        job = kubernetes.run(self.cluster, jobspec.render(section, title, self.agent, "", whole))
        told = _told(kubernetes.output(self.cluster, job), title)
        # A version once installed is never replaced, so what was told of it stays true.
        self._versions |= told.versions
        return told.now


class _Told(BaseModel):
    """What `point` prints; later versions of it may say more."""

    now: str | None
    versions: dict[str, str] = Field(default_factory=dict)


def _told(log: str, title: str) -> _Told:
    """The last line of JSON that tells where the pointer is."""
    for line in reversed(log.splitlines()):
        try:
            return _Told.model_validate_json(line)
        except ValidationError:
            continue
    raise ServerError(
        f"deploy: Job {title} did not tell where the pointer is",
        hint="is job.image this version of opslore? build it again: make image",
    )
