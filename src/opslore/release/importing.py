"""An Ollama that only the cluster reaches, as a deploy target: Jobs install, read and point.

`import-...` brings `NAME:VERSION` there. The pointer `NAME:latest` cannot be seen from here, so a
`point-...` Job tells what it is, and another one moves it (docs/decisions/0008-import-job.md). Each
prints one line of JSON: `{"now": STATE or null, "versions": {VERSION: STATE, ...}}`.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from opslore import config_deploy
from opslore.cards import Record
from opslore.errors import ConfigError, MissingInput, OpsloreError, ServerError
from opslore.release import jobs, jobspec, keys, kubernetes
from opslore.release.cluster import Cluster
from opslore.release.targets import Staged
from opslore.release.version import checked

POINT_SECONDS = 300
"""The deadline of a Job that only reads or moves the pointer."""

_logger = logging.getLogger(__name__)


class Notes(Protocol):
    """A store, as far as notes go."""

    def pointer(self, name: str) -> str | None:
        """What was noted, None when nothing was."""

    def note(self, name: str, text: str) -> None:
        """Note something instead of what was noted before."""


class Known(Record):
    """What a Job told of the pointer, when it was done."""

    now: str | None
    """The pointer's state, None when there is no pointer."""
    versions: dict[str, str]
    """The state of every release that is installed."""
    at: str
    """When, ISO 8601 by the cluster's clock."""
    job: str


class OllamaJob:
    """Deploy target: the Ollama of a cluster. A state is what `point` in the cluster calls it."""

    def __init__(
        self, section: config_deploy.Ollama, agent: str, notes: Notes | None = None
    ) -> None:
        """Name the Ollama; nothing is read or asked yet.

        Args:
            section: the target in the agent file, with `via: job`.
            agent: the agent's name.
            notes: the store, which keeps what Jobs told.
        """
        self.section, self.agent, self.notes = section, agent, notes
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

    def check(self) -> None:
        """See that Jobs can be listed and created there; the cluster checks one, and makes none.

        Raises:
            ConfigError: no such context or namespace, or the Job is invalid.
            ServerError: the cluster does not answer, or refuses.
        """
        jobs.of_agent(self.cluster, self.section.job.namespace, self.agent)
        self.cluster.create(self._pointing([]), dry_run=True)

    def known(self) -> Known | None:
        """What the last Job told of the pointer: kept in the store, or still in the pod's log.

        Nothing is run. What the store keeps is enough when the cluster does not answer.

        Raises:
            ServerError: the store does not answer; or it keeps nothing, nor does the cluster.
        """
        kept = self._kept()
        try:
            listed = jobs.of_agent(self.cluster, self.section.job.namespace, self.agent)
            mine = [job for job in listed if jobs.done_at(job) and self._is_mine(job)]
            last = max(mine, key=_order, default=None)
            # Whoever started it may have died before it could keep what the Job told.
            if last is not None and (kept is None or _order(last) > (kept.at, False)):
                return self._heard(last)
        except OpsloreError as error:
            if kept is None:
                raise
            _logger.info("%s", error.message)
        return kept

    def _is_mine(self, job: dict[str, Any]) -> bool:
        told = [jobs.option(job, "--url"), jobs.option(job, "--name")]
        return jobs.arguments(job)[:1] == ["point"] and told == [self.section.url, self.model]

    def _kept(self) -> Known | None:
        text = self.notes.pointer(self._note) if self.notes is not None else None
        try:
            return Known.model_validate_json(text) if text else None
        except ValidationError:
            return None  # of another version of opslore: as good as nothing

    def _keep(self, known: Known) -> None:
        if self.notes is None:
            return
        try:
            self.notes.note(self._note, known.model_dump_json())
        except (OpsloreError, OSError) as error:
            # The Job has done what it should; a pointer is not put back for want of a note.
            _logger.warning("what %s told could not be kept: %s", known.job, error)

    @property
    def _note(self) -> str:
        job, url = self.section.job, self.section.url
        return f"told-{jobspec.digest(job.context, job.namespace, url, self.model)[:8]}"

    def _where(self) -> list[str]:
        return ["--url", self.section.url, "--name", self.model]

    def _point(self, arguments: list[str]) -> str | None:
        known = self._heard(kubernetes.run(self.cluster, self._pointing(arguments)))
        self._keep(known)
        # A version once installed is never replaced, so what was told of it stays true.
        self._versions |= known.versions
        return known.now

    def _pointing(self, arguments: list[str]) -> dict[str, Any]:
        # Every look and every move is a Job of its own: the answer of an old one is no answer.
        title = jobspec.name("point", self.agent, secrets.token_hex(4))
        deadline = min(self.section.job.deadline, POINT_SECONDS)
        section = self.section.job.model_copy(update={"deadline": deadline})
        whole = ["point", *self._where(), *arguments]
        return jobspec.render(section, title, self.agent, "", whole)

    def _heard(self, job: dict[str, Any]) -> Known:
        title = job["metadata"]["name"]
        told = _told(kubernetes.output(self.cluster, job), title)
        return Known(now=told.now, versions=told.versions, at=jobs.done_at(job), job=title)


class _Told(BaseModel):
    """What `point` prints; later versions of it may say more."""

    now: str | None
    versions: dict[str, str] = Field(default_factory=dict)


def _order(job: dict[str, Any]) -> tuple[str, bool]:
    """When a Job was done, in whole seconds; of two in one second the look came before the move."""
    return jobs.done_at(job), bool({"--state", "--remove"} & set(jobs.arguments(job)))


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
