"""Runs in a Flyte cluster: start one, follow it, list the last ones.

What is known of a run is asked of the cluster, so that every machine sees the runs of all.
Flyte is imported when a function is called, not before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from opslore import errors, flowing
from opslore.cards import Deployment
from opslore.errors import ConfigError, MissingExtra, MissingInput, OpsloreError, ServerError
from opslore.flyteplace import asked, connect, known_here
from opslore.record import Record

if TYPE_CHECKING:
    from opslore.config import Agent

FLOW = "opslore.run"
"""The task that takes all seven steps, as `opslore.flows` names it."""
LABEL = "opslore-agent"
"""A run's label with the agent's name."""
ROOT = "a0"
"""Flyte's name for the action of a run that all others are below."""
GLANCE = 4.0
"""Seconds that `opslore status` gives it."""
SILENCE = 300.0
"""Seconds without an answer after which a run is no longer followed; it goes on."""
EVERY = 2.0
"""Seconds between two looks at a run."""
SHOWN = 5
"""Runs that `opslore status` shows."""
SEARCHED = 100
"""The last runs of all agents, among which an agent's are looked for."""

WELL = ("succeeded", "recovered")
"""Flyte's phases of what ended well."""
OVER = (*WELL, "failed", "aborted", "timed_out")
"""Flyte's phases in which nothing more happens."""


class Task(Record):
    """One task of a run."""

    id: str
    step: str
    """`prepare`; `run` is the whole flow."""
    parent: str
    phase: str
    """Flyte's: queued, initializing, running, succeeded, failed, aborted, timed_out."""
    seconds: float
    tries: int
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.phase in OVER


class Execution(Record):
    """One run of the flow."""

    name: str
    url: str
    phase: str
    started: str
    """ISO 8601, UTC."""
    seconds: float
    tasks: list[Task] = Field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether it came to its end."""
        return self.phase in OVER


def start(agent: Agent, project: str = "", domain: str = "") -> Execution:
    """Start the flow that was registered last, with this agent.

    Raises:
        ConfigError: the agent's store is a folder, which pods do not see; or see `connect`.
        MissingInput: the flow is not registered.
        ServerError: the cluster did not answer, or refused.
    """
    if not flowing.is_shared(agent.store):
        raise ConfigError(
            f"store: {agent.store} is a folder of this machine, which no pod sees",
            hint="name a bucket in the agent file: `store: s3://BUCKET/PREFIX`",
        )
    endpoint = connect(project, domain)
    import flyte
    import flyte.errors
    import flyte.remote

    flow = flyte.remote.Task.get(FLOW, auto_version="latest")
    try:
        asked(endpoint, flow.fetch)
    except flyte.errors.RemoteTaskNotFoundError as error:
        raise MissingInput(
            f"{FLOW} is not registered at {endpoint}: {error}",
            hint="register it: flyte deploy --version 1 --copy-style none --root-dir src "
            "src/opslore/flows.py env (docs/flyte.md)",
        ) from error
    runner = flyte.with_runcontext(mode="remote", labels={LABEL: agent.name})
    run = asked(endpoint, lambda: runner.run(flow, agent))
    return _execution(run)


def follow(name: str, endpoint: str) -> Iterator[Execution]:
    """How a run stands, again and again until it is over.

    Raises:
        MissingInput: there is no such run.
        ServerError: the cluster does not answer any more; the run goes on.
    """
    failures: dict[str, str] = {}
    heard = time.monotonic()
    while True:
        try:
            found = asked(endpoint, lambda: _look(name, failures))
        except ServerError as error:
            if not error.retryable or time.monotonic() - heard > SILENCE:
                raise
        else:
            heard = time.monotonic()
            yield found
            if found.over:
                return
        time.sleep(EVERY)


def outcome(execution: Execution, endpoint: str) -> Deployment:
    """What a run that is over gave.

    Raises:
        OpsloreError: it failed or was aborted; with the exit code that the step has here.
        ServerError: the cluster did not answer.
    """
    import flyte.remote

    if execution.phase not in WELL:
        raise _failure(execution)
    run = asked(endpoint, lambda: flyte.remote.Run.get(execution.name))
    given = asked(endpoint, lambda: run.typed_outputs({"o0": Deployment}))
    return Deployment.model_validate(given["o0"])


def recent(agent: Agent, project: str = "", domain: str = "") -> tuple[list[Execution], str]:
    """An agent's last runs, the newest first, or one line that says why they are not known.

    Says nothing where no run can be: without a bucket, without Flyte, without a configuration.
    """
    if not flowing.is_shared(agent.store):
        return [], ""
    try:
        endpoint = connect(project, domain)
    except (MissingExtra, ConfigError):
        return [], ""
    import flyte.remote

    if not known_here(endpoint):
        return [], f"Flyte at {endpoint} asks who you are: flyte get run"

    def ask() -> list[Execution]:
        rows = flyte.remote.Run.listall(
            task_name=FLOW, sort_by=("created_at", "desc"), limit=SEARCHED
        )
        own = [run for run in rows if dict(run.pb2.labels).get(LABEL) == agent.name]
        return [_execution(run) for run in own[:SHOWN]]

    try:
        return asked(endpoint, ask, GLANCE), ""
    except ServerError as error:
        return [], error.message


def _look(name: str, failures: dict[str, str]) -> Execution:
    """A run and its tasks now; what a task failed of is asked for once."""
    import flyte.remote

    run = flyte.remote.Run.get(name)
    tasks = []
    for action in flyte.remote.Action.listall(for_run_name=name):
        phase, status = action.phase.value, action.pb2.status
        if phase == "failed" and action.name not in failures:
            details = flyte.remote.ActionDetails.get(run_name=name, name=action.name)
            info = details.error_info
            failures[action.name] = f"{info.code}\n{info.message}" if info else ""
        tasks.append(
            Task(
                id=action.name,
                step=(action.task_name or action.name).rpartition(".")[2],
                parent=action.parent_name or "",
                phase=phase,
                seconds=_seconds(status),
                tries=status.attempts,
                error=failures.get(action.name, ""),
            )
        )
    return _execution(run).model_copy(update={"tasks": tasks})


def _execution(run: Any) -> Execution:
    status = run.pb2.action.status
    return Execution(
        name=run.name,
        url=run.url,
        phase=run.action.phase.value,
        started=run.action.start_time.isoformat(timespec="seconds"),
        seconds=_seconds(status),
    )


def _seconds(status: Any) -> float:
    """From the start to the end, or until now."""
    began: int = status.start_time.ToMilliseconds()
    if not began:
        return 0.0
    ended = status.end_time.ToMilliseconds() if status.HasField("end_time") else time.time() * 1000
    return max(0.0, round(float(ended - began) / 1000, 1))


def _failure(execution: Execution) -> OpsloreError:
    """The error of the task that failed first, not of those that waited for it."""
    failed = [task for task in execution.tasks if task.phase == "failed"]
    above = {task.parent for task in failed}
    lowest = next((task for task in failed if task.id not in above), None)
    hint = f"its tasks and their logs: {execution.url}"
    if execution.phase == "aborted" or lowest is None:
        return OpsloreError(f"{execution.name} {execution.phase}", hint=hint)
    code, _, text = lowest.error.partition("\n")
    error = OpsloreError(f"{lowest.step} failed in {execution.name}: {text or code}", hint=hint)
    kind = getattr(errors, code, None)
    if isinstance(kind, type) and issubclass(kind, OpsloreError):
        error.exit_code = kind.exit_code
    return error
