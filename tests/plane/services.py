"""The calls of Flyte's SDK: tasks, runs, actions, inputs and outputs. The rest is unimplemented."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.actions.actions_service_connect import ActionsService, ActionsServiceASGIApplication
from flyteidl2.cluster import payload_pb2 as cluster_pb
from flyteidl2.cluster.service_connect import ClusterService, ClusterServiceASGIApplication
from flyteidl2.common import identifier_pb2, list_pb2, phase_pb2, run_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as proxy_pb
from flyteidl2.dataproxy.dataproxy_service_connect import (
    DataProxyService,
    DataProxyServiceASGIApplication,
)
from flyteidl2.task import common_pb2
from flyteidl2.task import task_definition_pb2 as task_pb
from flyteidl2.task import task_service_pb2 as tasks_pb
from flyteidl2.task.task_service_connect import TaskService, TaskServiceASGIApplication
from flyteidl2.workflow import run_definition_pb2 as run_pb
from flyteidl2.workflow import run_service_pb2 as runs_pb
from flyteidl2.workflow import state_service_pb2 as state_pb
from flyteidl2.workflow.run_service_connect import RunService, RunServiceASGIApplication

from .runs import Action, Engine, Run, new_name, now

_FILTER = list_pb2.Filter.Function


def _kept(filters: Iterable[list_pb2.Filter], facts: dict[str, str]) -> bool:
    """Whether a row passes filters; one that is not known is refused, as a server would."""
    for one in filters:
        found = facts.get(one.field)
        if found is None and not one.field.startswith("labels."):
            raise ConnectError(Code.INVALID_ARGUMENT, f"no filter for {one.field}")
        if one.function in (_FILTER.EQUAL, _FILTER.VALUE_IN):
            passed = found in one.values
        elif one.function == _FILTER.CONTAINS:
            passed = one.values[0] in (found or "")
        else:
            raise ConnectError(Code.INVALID_ARGUMENT, f"no filter function {one.function}")
        if not passed:
            return False
    return True


class _Service:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run_of(self, name: str) -> Run:
        if (run := self.engine.runs.get(name)) is None:
            raise ConnectError(Code.NOT_FOUND, f"no run {name}")
        return run

    def action_of(self, wanted: identifier_pb2.ActionIdentifier) -> Action:
        if (action := self.run_of(wanted.run.name).actions.get(wanted.name)) is None:
            raise ConnectError(Code.NOT_FOUND, f"no action {wanted.name} in {wanted.run.name}")
        return action


class Tasks(_Service, TaskService):
    async def deploy_task(self, request: Any, ctx: Any) -> Any:
        key = (request.task_id.name, request.task_id.version)
        if key in self.engine.tasks:
            raise ConnectError(Code.ALREADY_EXISTS, f"task {key}")
        self.engine.tasks[key] = task_pb.TaskDetails(
            task_id=request.task_id,
            metadata=task_pb.TaskMetadata(deployed_at=now()),
            spec=request.spec,
        )
        self.engine.triggers += request.triggers  # told, and not fired here
        return tasks_pb.DeployTaskResponse()

    async def get_task_details(self, request: Any, ctx: Any) -> Any:
        found = self.engine.tasks.get((request.task_id.name, request.task_id.version))
        if found is None:
            raise ConnectError(Code.NOT_FOUND, f"no task {request.task_id.name}")
        return tasks_pb.GetTaskDetailsResponse(details=found)

    async def list_tasks(self, request: Any, ctx: Any) -> Any:
        rows = [
            task_pb.Task(task_id=one.task_id, metadata=one.metadata)
            for one in self.engine.tasks.values()
            if one.task_id.project == request.project_id.name
            and _kept(request.request.filters, {"name": one.task_id.name})
        ]
        if request.request.sort_by.direction == list_pb2.Sort.DESCENDING:
            rows.reverse()  # they are kept as they came
        return tasks_pb.ListTasksResponse(tasks=rows[: request.request.limit or None])


class Runs(_Service, RunService):
    async def create_run(self, request: Any, ctx: Any) -> Any:
        if request.HasField("run_id"):
            named = request.run_id
        else:
            project = request.project_id
            named = identifier_pb2.RunIdentifier(
                org=project.organization, project=project.name, domain=project.domain
            )
            named.name = new_name()
        if named.name in self.engine.runs:
            raise ConnectError(Code.ALREADY_EXISTS, f"run {named.name}")
        key = (request.task_id.name, request.task_id.version)
        if not request.HasField("task_spec") and key not in self.engine.tasks:
            raise ConnectError(Code.NOT_FOUND, f"no task {key}")
        spec = request.task_spec if request.HasField("task_spec") else self.engine.tasks[key].spec
        root = Action(
            id=identifier_pb2.ActionIdentifier(run=named, name="a0"),
            spec=spec,
            input_uri=request.offloaded_input_data.uri,
            base=f"{self.engine.bucket.url}/{named.project}/{named.domain}/{named.name}",
        )
        run = Run(named, request.run_spec, {"a0": root})
        self.engine.runs[named.name] = run
        self.engine.take(run, root)
        return runs_pb.CreateRunResponse(run=_run(run))

    async def list_runs(self, request: Any, ctx: Any) -> Any:
        rows = []
        for run in self.engine.runs.values():
            root = run.actions["a0"]
            facts = {"task_name": root.spec.task_template.id.name, "phase": str(root.phase)}
            facts |= {f"labels.{key}": text for key, text in run.spec.labels.values.items()}
            if run.id.project == request.project_id.name and _kept(request.request.filters, facts):
                rows.append(_run(run))
        if request.request.sort_by.direction == list_pb2.Sort.DESCENDING:
            rows.reverse()
        return runs_pb.ListRunsResponse(runs=rows[: request.request.limit or None])

    async def get_run_details(self, request: Any, ctx: Any) -> Any:
        run = self.run_of(request.run_id.name)
        details = _details(run.actions["a0"])
        details.ClearField("error_info")  # the SDK says that the backend leaves it out here
        return runs_pb.GetRunDetailsResponse(
            details=run_pb.RunDetails(run_spec=run.spec, action=details)
        )

    async def list_actions(self, request: Any, ctx: Any) -> Any:
        rows = [
            _action(one)
            for one in self.run_of(request.run_id.name).actions.values()
            if _kept(request.request.filters, {"phase": str(one.phase), "parent_name": one.parent})
        ]
        return runs_pb.ListActionsResponse(actions=rows)

    async def get_action_details(self, request: Any, ctx: Any) -> Any:
        return runs_pb.GetActionDetailsResponse(details=_details(self.action_of(request.action_id)))

    async def watch_action_details(self, request: Any, ctx: Any) -> AsyncIterator[Any]:
        action, seen = self.action_of(request.action_id), -1
        while True:
            async with self.engine.changed:
                while action.changes == seen:
                    await self.engine.changed.wait()
                seen = action.changes
            yield runs_pb.WatchActionDetailsResponse(details=_details(action))
            if action.over:
                return

    async def abort_run(self, request: Any, ctx: Any) -> Any:
        run = self.run_of(request.run_id.name)
        await self.engine.abort(run, run.actions["a0"], request.reason)
        return runs_pb.AbortRunResponse()


class Below(_Service, ActionsService):
    """What a task's pod asks for: the tasks that it calls."""

    async def enqueue(self, request: Any, ctx: Any) -> Any:
        wanted = request.action
        run = self.run_of(wanted.action_id.run.name)
        if run.actions["a0"].over:
            raise ConnectError(Code.ABORTED, f"{run.id.name} is over")
        action = Action(
            id=wanted.action_id,
            spec=wanted.task.spec,
            input_uri=wanted.input_uri,
            base=wanted.run_output_base,
            parent=wanted.parent_action_name,
            group=wanted.group,
            cache_key=wanted.task.cache_key.value,
        )
        self.engine.take(run, action)
        return actions_pb.EnqueueResponse()

    async def watch_for_updates(self, request: Any, ctx: Any) -> AsyncIterator[Any]:
        wanted = request.parent_action_id
        run, seen = self.run_of(wanted.run.name), dict[str, int]()
        for update in self._news(run, wanted.name, seen):
            yield update
        yield actions_pb.WatchForUpdatesResponse(
            control_message=state_pb.ControlMessage(sentinel=True)
        )
        while not run.actions[wanted.name].over:
            async with self.engine.changed:
                await self.engine.changed.wait()
            for update in self._news(run, wanted.name, seen):
                yield update

    def _news(self, run: Run, parent: str, seen: dict[str, int]) -> list[Any]:
        found = []
        for one in run.actions.values():
            if one.parent == parent and seen.get(one.id.name) != one.changes:
                seen[one.id.name] = one.changes
                update = state_pb.ActionUpdate(
                    action_id=one.id, phase=one.phase, error=one.error, output_uri=one.output_uri
                )
                found.append(actions_pb.WatchForUpdatesResponse(action_update=update))
        return found

    async def abort(self, request: Any, ctx: Any) -> Any:
        run = self.run_of(request.action_id.run.name)
        await self.engine.abort(run, self.action_of(request.action_id), request.reason)
        return actions_pb.AbortResponse()


class Proxy(_Service, DataProxyService):
    async def upload_inputs(self, request: Any, ctx: Any) -> Any:
        data = request.inputs.SerializeToString(deterministic=True)
        digest = hashlib.sha256(data).hexdigest()
        uri = f"{self.engine.bucket.url}/inputs/{digest}/inputs.pb"
        self.engine.bucket.put(uri, data)
        return proxy_pb.UploadInputsResponse(
            offloaded_input_data=run_pb2.OffloadedInputData(uri=uri, inputs_hash=digest)
        )

    async def get_action_data(self, request: Any, ctx: Any) -> Any:
        action = self.action_of(request.action_id)
        inputs = self.engine.bucket.get(action.input_uri)
        outputs = self.engine.bucket.get(f"{action.output_uri}/outputs.pb")
        return proxy_pb.GetActionDataResponse(
            inputs=common_pb2.Inputs.FromString(inputs or b""),
            outputs=common_pb2.Outputs.FromString(outputs or b""),
        )


class Clusters(_Service, ClusterService):
    async def select_cluster(self, request: Any, ctx: Any) -> Any:
        return cluster_pb.SelectClusterResponse()


def _action(action: Action) -> run_pb.Action:
    template = action.spec.task_template
    took = (action.ended or now()).ToMilliseconds() - action.began.ToMilliseconds()
    return run_pb.Action(
        id=action.id,
        metadata=run_pb.ActionMetadata(
            parent=action.parent,
            group=action.group,
            task=run_pb.TaskActionMetadata(
                id=task_pb.TaskIdentifier(name=template.id.name, version=template.id.version),
                short_name=action.spec.short_name,
            ),
        ),
        status=run_pb.ActionStatus(
            phase=action.phase,
            start_time=action.began,
            end_time=action.ended,
            attempts=action.attempt,
            duration_ms=took,
        ),
    )


def _details(action: Action) -> run_pb.ActionDetails:
    row = _action(action)
    error = aborted = None
    if action.error is not None and action.phase == phase_pb2.ACTION_PHASE_FAILED:
        error = run_pb.ErrorInfo(message=action.error.message, code=action.error.code)
    if action.phase == phase_pb2.ACTION_PHASE_ABORTED:
        aborted = run_pb.AbortInfo(reason=action.reason)
    return run_pb.ActionDetails(
        id=row.id,
        metadata=row.metadata,
        status=row.status,
        error_info=error,
        abort_info=aborted,
        task=action.spec,
    )


def _run(run: Run) -> run_pb.Run:
    return run_pb.Run(action=_action(run.actions["a0"]), labels=dict(run.spec.labels.values))


def applications(engine: Engine) -> dict[str, Any]:
    """Each service's application by the path that its calls begin with."""
    apps = (
        TaskServiceASGIApplication(Tasks(engine)),
        RunServiceASGIApplication(Runs(engine)),
        ActionsServiceASGIApplication(Below(engine)),
        DataProxyServiceASGIApplication(Proxy(engine)),
        ClusterServiceASGIApplication(Clusters(engine)),
    )
    return {app.path: app for app in apps}
