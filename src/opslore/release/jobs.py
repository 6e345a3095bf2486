"""The Jobs of an agent as a cluster has them: which runs, which failed, and why."""

from __future__ import annotations

from typing import Any, Literal

from opslore.cards import Record
from opslore.errors import OpsloreError
from opslore.release import kubernetes
from opslore.release.cluster import Cluster
from opslore.release.jobspec import INSTANCE, OF_AN_AGENT, VERSION


class ImportJob(Record):
    """One Job that imports a release, or that reads or moves a pointer."""

    name: str
    namespace: str
    verb: str
    """`install` or `point`."""
    version: str
    """The release that it imports; empty for one that only points."""
    state: Literal["running", "done", "failed", "deadline exceeded"]
    reason: str
    """Why it failed, or what a running one waits for."""
    created: str
    """ISO 8601, by the cluster's clock."""
    ended: str
    """The same; empty while it runs."""


def of_agent(cluster: Cluster, namespace: str, agent: str) -> list[dict[str, Any]]:
    """Every Job of an agent in a namespace, the newest last.

    Raises:
        ServerError: the cluster does not answer, or refuses.
    """
    labels = {**OF_AN_AGENT, INSTANCE: agent}
    found = cluster.labelled("batch/v1", "Job", namespace, labels)
    # The members of a list do not say what they are.
    return [{"apiVersion": "batch/v1", "kind": "Job", **job} for job in found]


def arguments(job: dict[str, Any]) -> list[str]:
    """What the program in a Job is called with; of another image's Job that may be nothing."""
    containers = job["spec"]["template"]["spec"]["containers"]
    return [str(word) for word in containers[0].get("args") or []]


def option(job: dict[str, Any], name: str) -> str:
    """The value of an option among a Job's arguments; empty when it is not there."""
    words = arguments(job)
    place = words.index(name) + 1 if name in words else len(words)
    return words[place] if place < len(words) else ""


def done_at(job: dict[str, Any]) -> str:
    """When a Job was completed, ISO 8601 by the cluster's clock; empty when it was not."""
    complete = kubernetes.condition(job, "Complete") is not None
    return str(job["status"].get("completionTime", "")) if complete else ""


def described(cluster: Cluster, job: dict[str, Any]) -> ImportJob:
    """A Job in words; for one that is not done its last pod is asked why.

    Raises:
        ServerError: the cluster does not answer, or refuses.
    """
    where = job["metadata"]
    failed = kubernetes.condition(job, "Failed")
    done = done_at(job)
    late = failed is not None and failed.get("reason") == "DeadlineExceeded"
    state: Literal["running", "done", "failed", "deadline exceeded"] = "running"
    if failed is not None:
        state = "deadline exceeded" if late else "failed"
    elif done:
        state = "done"
    return ImportJob(
        name=where["name"],
        namespace=where["namespace"],
        verb=next(iter(arguments(job)), ""),
        version=str(where["labels"].get(VERSION, "")),
        state=state,
        reason="" if done else _reason(cluster, job, failed),
        created=str(where["creationTimestamp"]),
        ended=done or str((failed or {}).get("lastTransitionTime", "")),
    )


def _reason(cluster: Cluster, job: dict[str, Any], failed: dict[str, Any] | None) -> str:
    """What the cluster says of a Job, what its pod does, and the error in the pod's log."""
    where = job["metadata"]
    told = [f"{failed.get('reason', '')}: {failed.get('message', '')}"] if failed else []
    pods = cluster.pods(where["namespace"], where["name"])
    if not pods:
        return "; ".join([*told, "no pod any more" if failed else "no pod yet"])
    told.append(kubernetes.waits(pods[-1]))
    if failed:
        try:
            log = kubernetes.output(cluster, job)
        except OpsloreError:
            return "; ".join(told)  # its node is gone, or nobody may read it; the rest is known
        told += [line for line in log.splitlines() if line.startswith("error: ")][-1:]
    return "; ".join(kubernetes.printable(line) for line in told)
