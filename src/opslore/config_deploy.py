"""Where a release goes: the `deploy` section of the agent file, one class per kind of target."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from opslore.config_section import Section

NAME = r"^[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?$"


class Folder(Section):
    """Deploy target: a folder that holds the newest release's files."""

    kind: Literal["folder"] = "folder"
    path: str
    """Folder that is filled, then switched to by renaming."""


class Job(Section):
    """The Kubernetes Job that installs a release into an Ollama which only the cluster reaches."""

    image: str = ""
    """This project's image, by digest: `registry/opslore@sha256:...`."""
    namespace: str = "default"
    """Namespace of the Job."""
    service_account: str = "opslore-import"
    """ServiceAccount of the Job; it needs no Role, and its token is not mounted."""
    secret: str = ""
    """Secret whose keys become the Job's AWS_* environment."""
    context: str = ""
    """Context of your kubeconfig; empty is the current one."""
    deadline: Annotated[int, Field(ge=10)] = 1800
    """Seconds after which the Job is given up."""
    ttl: Annotated[int, Field(ge=0)] = 3600
    """Seconds that a finished Job stays to be read."""
    memory: Annotated[int, Field(ge=64)] = 512
    """MiB that the Job may use."""
    scratch: Annotated[int, Field(ge=64)] = 8192
    """MiB of the node's disk for the archive and what it unpacks to."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the node fetches the image."""


class Ollama(Section):
    """Deploy target: an Ollama. `NAME:VERSION` is installed, then `NAME:latest` moves to it."""

    kind: Literal["ollama"] = "ollama"
    url: str = "http://127.0.0.1:11434"
    """Base URL of the Ollama server, as whoever installs sees it."""
    model: Annotated[str, Field(pattern=NAME)] | Literal[""] = ""
    """Name in Ollama; empty is the agent's name."""
    via: Literal["direct", "job"] = "direct"
    """Who installs: this program, or a Job in the cluster."""
    job: Job = Job()
    """How the Job is run."""

    @model_validator(mode="after")
    def _job_has_image(self) -> Ollama:
        if self.via == "job" and not self.job.image:
            raise ValueError("via: job needs job.image")
        return self


class Helm(Section):
    """The Helm release that is upgraded after its values have changed."""

    release: str
    """Name of the Helm release."""
    chart: str
    """Folder, archive or reference of the chart."""
    namespace: str = "default"
    """Namespace of the Helm release."""
    context: str = ""
    """Context of your kubeconfig; empty is the current one."""
    timeout: Annotated[int, Field(ge=10)] = 300
    """Seconds to wait until it is ready."""


class Commit(Section):
    """Keep an edit as a git commit."""

    branch: str
    """Branch that gets the commit; made from HEAD when missing."""
    message: str = "{agent}: {version}"
    """Commit message; `{agent}`, `{version}` and `{model}` are filled."""


class Values(Section):
    """Deploy target: a key of a Helm values file (or any YAML file) that names the model."""

    kind: Literal["values"] = "values"
    file: str
    """The YAML file; its comments and layout stay."""
    key: str
    """Path of the key, such as `ollamaHub.agentModel` or `models[0].name`."""
    value: str = "{model}:{version}"
    """What is written; `{agent}`, `{model}` and `{version}` are filled."""
    commit: Commit | None = None
    """Commit the edit on a branch instead of leaving it in the working tree."""
    helm: Helm | None = None
    """Upgrade this Helm release with the file, after a server-side dry-run."""


class Resource(Section):
    """Deploy target: a custom resource or another manifest that names the model."""

    kind: Literal["resource"] = "resource"
    file: str = ""
    """Manifest to edit; empty patches the object through the API."""
    api_version: str = ""
    """`group/version` of the object, such as `ai.example.com/v1`; not needed with one document."""
    resource: str = "LambdaAgent"
    """The object's `kind`."""
    name: str = ""
    """The object's name; empty is the agent's name."""
    namespace: str = "default"
    """The object's namespace."""
    context: str = ""
    """Context of your kubeconfig; empty is the current one."""
    key: str = "spec.ai.model"
    """Path of the field that names the model; empty sets only the variable."""
    env: str = ""
    """Environment variable that names the model too, such as MODEL_NAME, set in every container
    (or in the list that `env_key` names)."""
    env_key: str = ""
    """Path of the list of `{name, value}`; empty is every container of the pod template."""
    value: str = "{model}:{version}"
    """What is written; `{agent}`, `{model}` and `{version}` are filled."""
    commit: Commit | None = None
    """Commit the edit of `file` on a branch."""

    @model_validator(mode="after")
    def _file_or_api(self) -> Resource:
        if not self.file and not self.api_version:
            raise ValueError("needs file, or api_version to patch the object through the API")
        if self.commit and not self.file:
            raise ValueError("commit needs file")
        if not self.key and not self.env:
            raise ValueError("needs key or env, the place that names the model")
        return self


Target = Annotated[Folder | Ollama | Values | Resource, Field(discriminator="kind")]
"""One place a release goes to."""
