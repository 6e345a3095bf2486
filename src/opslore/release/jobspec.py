"""The manifest of a Kubernetes Job that runs this project's own image.

The Job has no Role, no token, no shell and nothing writable but one scratch folder. Its name says
what it does and its annotation which spec it was made from, so that a second try finds the first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opslore import config_deploy
from opslore.errors import ConfigError

CONTAINER = "opslore"
SCRATCH = "/scratch"
"""The only folder that the program may write to."""

USER = 65532
"""User and group of the program; no image has a person with this number."""

BACKOFF = 2
"""Pods that may fail before the Job does."""

NO_SECOND_TRY = [1, 2, 3, 4, 65, 66]
"""Exit codes after which another pod would fail the same way; 75 may pass."""

OF_AN_AGENT = {
    "component": "ollama-import",
    "app.kubernetes.io/name": "opslore",
    "app.kubernetes.io/component": "ollama-import",
    "app.kubernetes.io/managed-by": "opslore",
}
"""Labels of every Job of ours."""
INSTANCE = "app.kubernetes.io/instance"
"""Label with the agent's name."""
VERSION = "app.kubernetes.io/version"
"""Label with the release, on a Job that imports one."""
SPEC = "opslore/spec-sha256"
"""Annotation with the digest of the spec."""

_BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def name(verb: str, agent: str, digest: str) -> str:
    """`import-{agent}-ollama-{8 hex}`: at most 63 characters, since an agent's name has 40.

    Args:
        verb: what the Job does.
        agent: the agent's name.
        digest: hex digits, of which 8 are taken.
    """
    return f"{verb}-{agent[:40]}-ollama-{digest[:8]}"


def digest(*parts: str) -> str:
    """64 hex digits that tell these texts from all others."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def render(
    section: config_deploy.Job,
    title: str,
    agent: str,
    version: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The manifest of a Job.

    Args:
        section: how the Job is run.
        title: the Job's name.
        agent: label of whose it is.
        version: label of the release; empty for a Job of none.
        arguments: what the image's `opslore` is called with; no shell reads them.
        environment: variables that are no secret; they win over those of the Secret.

    Raises:
        ConfigError: the image could be another one tomorrow.
    """
    if section.pull_policy != "Never" and not _BY_DIGEST.fullmatch(section.image):
        raise ConfigError(
            f"deploy: job.image {section.image!r} is not named by its digest",
            hint="write NAME@sha256:...; see it with `docker buildx imagetools inspect IMAGE`",
        )
    labels = {**OF_AN_AGENT, INSTANCE: agent, **({VERSION: version} if version else {})}
    pod = _pod(section, arguments, environment or {})
    spec = {
        "backoffLimit": BACKOFF,
        "activeDeadlineSeconds": section.deadline,
        "ttlSecondsAfterFinished": section.ttl,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": NO_SECOND_TRY,
                    },
                }
            ]
        },
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": title,
            "namespace": section.namespace,
            "labels": labels,
            "annotations": {SPEC: digest(json.dumps(spec, sort_keys=True))},
        },
        "spec": spec,
    }


def _pod(
    section: config_deploy.Job, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    told = {"HOME": SCRATCH, "TMPDIR": SCRATCH, **environment}
    container = {
        "name": CONTAINER,
        "image": section.image,
        "imagePullPolicy": section.pull_policy,
        "args": list(arguments),
        "env": [{"name": name, "value": value} for name, value in told.items()],
        "resources": {
            "requests": {"cpu": "100m", "memory": f"{section.memory}Mi"},
            "limits": {"memory": f"{section.memory}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
    }
    if section.secret:
        container["envFrom"] = [{"secretRef": {"name": section.secret}}]
    return {
        "restartPolicy": "Never",
        "serviceAccountName": section.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": f"{section.scratch}Mi"}}],
    }
