"""A Kubernetes Job that runs this project's own image: applied, waited for, read."""

from __future__ import annotations

import time
from typing import Any

from opslore import progress
from opslore.errors import ConfigError, ServerError
from opslore.release.cluster import Cluster
from opslore.release.jobspec import CONTAINER, SPEC

GRACE = 60
"""Seconds beyond the Job's own deadline until the cluster has said so."""

POLL = 1.0
"""Seconds between two looks at the Job."""

LOG_LINES = 40
"""Lines of the pod's log that an error shows."""

_HOPELESS = {"InvalidImageName", "ErrImageNeverPull"}


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
        and found["metadata"].get("annotations", {}).get(SPEC) != (where["annotations"][SPEC])
    ):
        raise ConfigError(
            f"deploy: Job {_title(job)} is there already, made from another spec",
            hint=f"look at it, then remove it: kubectl -n {where['namespace']} "
            f"delete job {where['name']}",
        )
    if found is not None and condition(found, "Failed"):
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
        if condition(found, "Complete"):
            return found
        if (failed := condition(found, "Failed")) is not None:
            why = f"{failed.get('reason', '')}: {failed.get('message', '')}"
            raise _red(cluster, job, f"failed: {why}")
        pods = cluster.pods(where["namespace"], where["name"])
        what = waits(pods[-1]) if pods else "no pod yet"
        if what.split(":")[0] in _HOPELESS:
            raise _red(cluster, job, "cannot start")
        seconds = time.monotonic() - started
        if seconds > limit:
            raise _red(cluster, job, f"is not done after {limit} s ({what})")
        progress.report("import", int(seconds), limit, f"{where['name']}: {what}")
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


def condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """A condition of a Job that is true, such as `Complete` or `Failed`."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == "True":
            found: dict[str, Any] = condition
            return found
    return None


def waits(pod: dict[str, Any]) -> str:
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
        lines.append(f"pod {title}: {waits(pods[-1])}")
        try:
            log = cluster.log(where["namespace"], title, CONTAINER, LOG_LINES)
            lines += [f"  | {printable(line)}" for line in log.splitlines()]
        except (ServerError, ConfigError) as error:
            lines.append(f"its log cannot be read: {error.message}")
    hint = f"kubectl -n {where['namespace']} describe job/{where['name']}"
    return ServerError("\n".join(lines), hint=hint)


def printable(line: str) -> str:
    """A line of somebody's log that cannot move the cursor or change a colour."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)


def _title(job: dict[str, Any]) -> str:
    return f"{job['metadata']['namespace']}/{job['metadata']['name']}"
