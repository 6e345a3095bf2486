"""A Kubernetes Job that runs this project's own image: rendered, applied, waited for, read.

The Job has no Role, no token, no shell and nothing writable but one scratch folder. Its name says
what it does and its annotation which spec it was made from, so that a second try finds the first.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from opslore import config_deploy, progress
from opslore.errors import ConfigError, ServerError
from opslore.release.cluster import Cluster

CONTAINER = "opslore"
SCRATCH = "/scratch"
"""The only folder that the program may write to."""

USER = 65532
"""User and group of the program; no image has a person with this number."""

BACKOFF = 2
"""Pods that may fail before the Job does."""

NO_SECOND_TRY = [1, 2, 3, 4, 65, 66]
"""Exit codes after which another pod would fail the same way; 75 may pass."""

GRACE = 60
"""Seconds beyond the Job's own deadline until the cluster has said so."""

POLL = 1.0
"""Seconds between two looks at the Job."""

LOG_LINES = 40
"""Lines of the pod's log that an error shows."""

_SPEC = "opslore/spec-sha256"
_BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_HOPELESS = {"InvalidImageName", "ErrImageNeverPull"}


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
    section: config_deploy.Job, title: str, agent: str, version: str, arguments: Sequence[str]
) -> dict[str, Any]:
    """The manifest of a Job.

    Args:
        section: how the Job is run.
        title: the Job's name.
        agent: label of whose it is.
        version: label of the release; empty for a Job of none.
        arguments: what the image's `opslore` is called with; no shell reads them.

    Raises:
        ConfigError: the image could be another one tomorrow.
    """
    if section.pull_policy != "Never" and not _BY_DIGEST.fullmatch(section.image):
        raise ConfigError(
            f"deploy: job.image {section.image!r} is not named by its digest",
            hint="write NAME@sha256:...; see it with `docker buildx imagetools inspect IMAGE`",
        )
    labels = {
        "component": "ollama-import",
        "app.kubernetes.io/name": "opslore",
        "app.kubernetes.io/component": "ollama-import",
        "app.kubernetes.io/instance": agent,
        "app.kubernetes.io/managed-by": "opslore",
        **({"app.kubernetes.io/version": version} if version else {}),
    }
    pod = _pod(section, arguments)
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
            "annotations": {_SPEC: digest(json.dumps(spec, sort_keys=True))},
        },
        "spec": spec,
    }


def run(cluster: Cluster, job: dict[str, Any]) -> dict[str, Any]:
    """Apply a Job after a server-side dry-run and wait until it is done.

    A Job of this name and spec that is done, or still running, is not started again; one that
    failed is replaced.

    Returns:
        The Job as the cluster has it.

    Raises:
        ConfigError: the cluster finds the Job invalid, or has another one of this name.
        ServerError: the Job failed, with its pod's log; or it did not finish in time.
    """
    where = job["metadata"]
    found = cluster.get("batch/v1", "Job", where["namespace"], where["name"])
    if (
        found is not None
        and found["metadata"].get("annotations", {}).get(_SPEC) != (where["annotations"][_SPEC])
    ):
        raise ConfigError(
            f"deploy: Job {_title(job)} is there already, made from another spec",
            hint=f"look at it, then remove it: kubectl -n {where['namespace']} "
            f"delete job {where['name']}",
        )
    if found is not None and _condition(found, "Failed"):
        cluster.delete(found)
        _until_gone(cluster, found)
        found = None
    if found is None:
        cluster.create(job, dry_run=True)
        cluster.create(job)
    return _wait(cluster, job)


def output(cluster: Cluster, job: dict[str, Any]) -> str:
    """The end of the log of a Job's last pod.

    Raises:
        ServerError: there is no pod, or its log cannot be read.
    """
    where = job["metadata"]
    pods = cluster.pods(where["namespace"], where["name"])
    if not pods:
        raise ServerError(
            f"deploy: Job {_title(job)} has no pod any more, and so no log",
            hint="give job.ttl 60 seconds or more",
            retryable=True,
        )
    return cluster.log(where["namespace"], pods[-1]["metadata"]["name"], CONTAINER, LOG_LINES)


def _pod(section: config_deploy.Job, arguments: Sequence[str]) -> dict[str, Any]:
    container = {
        "name": CONTAINER,
        "image": section.image,
        "imagePullPolicy": section.pull_policy,
        "args": list(arguments),
        "env": [{"name": "HOME", "value": SCRATCH}, {"name": "TMPDIR", "value": SCRATCH}],
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


def _wait(cluster: Cluster, job: dict[str, Any]) -> dict[str, Any]:
    where, limit = job["metadata"], int(job["spec"]["activeDeadlineSeconds"]) + GRACE
    started = time.monotonic()
    while True:
        found = cluster.get("batch/v1", "Job", where["namespace"], where["name"])
        if found is None:
            raise ServerError(
                f"deploy: Job {_title(job)} was removed before it could be read",
                hint="give job.ttl 60 seconds or more, then deploy again",
                retryable=True,
            )
        if _condition(found, "Complete"):
            return found
        if (failed := _condition(found, "Failed")) is not None:
            why = f"{failed.get('reason', '')}: {failed.get('message', '')}"
            raise _red(cluster, job, f"failed: {why}")
        pods = cluster.pods(where["namespace"], where["name"])
        waits = _waits(pods[-1]) if pods else "no pod yet"
        if waits.split(":")[0] in _HOPELESS:
            raise _red(cluster, job, "cannot start")
        seconds = time.monotonic() - started
        if seconds > limit:
            raise _red(cluster, job, f"is not done after {limit} s ({waits})")
        progress.report("import", int(seconds), limit, f"{where['name']}: {waits}")
        time.sleep(POLL)


def _until_gone(cluster: Cluster, found: dict[str, Any]) -> None:
    where = found["metadata"]
    until = time.monotonic() + GRACE
    while True:
        now = cluster.get("batch/v1", "Job", where["namespace"], where["name"])
        if now is None or now["metadata"]["uid"] != where["uid"]:
            return
        if time.monotonic() > until:
            raise ServerError(
                f"deploy: the failed Job {_title(found)} is there {GRACE} s after its removal",
                hint=f"kubectl -n {where['namespace']} get job {where['name']} -o yaml",
                retryable=True,
            )
        time.sleep(POLL)


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == "True":
            found: dict[str, Any] = condition
            return found
    return None


def _waits(pod: dict[str, Any]) -> str:
    """What a pod is doing, or what it waits for, in the cluster's words."""
    status = pod.get("status", {})
    for state in status.get("containerStatuses") or []:
        if (waiting := state.get("state", {}).get("waiting")) is not None:
            return ": ".join(filter(None, [waiting.get("reason"), waiting.get("message")]))
        if (ended := state.get("state", {}).get("terminated")) is not None:
            return f"exit {ended.get('exitCode')} ({ended.get('reason', '')})"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return str(status.get("phase", "no status yet"))


def _red(cluster: Cluster, job: dict[str, Any], what: str) -> ServerError:
    """The error of a Job, with its last pod's status and log."""
    where = job["metadata"]
    lines = [f"deploy: Job {_title(job)} {what}"]
    pods = cluster.pods(where["namespace"], where["name"])
    if pods:
        title = pods[-1]["metadata"]["name"]
        lines.append(f"pod {title}: {_waits(pods[-1])}")
        try:
            log = cluster.log(where["namespace"], title, CONTAINER, LOG_LINES)
            lines += [f"  | {_printable(line)}" for line in log.splitlines()]
        except (ServerError, ConfigError) as error:
            lines.append(f"its log cannot be read: {error.message}")
    hint = f"kubectl -n {where['namespace']} describe job/{where['name']}"
    return ServerError("\n".join(lines), hint=hint)


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)


def _title(job: dict[str, Any]) -> str:
    return f"{job['metadata']['namespace']}/{job['metadata']['name']}"
