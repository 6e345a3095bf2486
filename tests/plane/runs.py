"""Runs and their actions: each is tried in pods until it ends, as its task's template says."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import obstore
from flyteidl2.common import identifier_pb2, phase_pb2
from flyteidl2.core import execution_pb2
from flyteidl2.task import run_pb2, task_definition_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from obstore.store import S3Store
from real.s3 import S3

ENDED = {
    phase_pb2.ACTION_PHASE_SUCCEEDED,
    phase_pb2.ACTION_PHASE_FAILED,
    phase_pb2.ACTION_PHASE_ABORTED,
}
AT_ONCE = 32
"""Pods at once; a task that waits for those below it holds one."""


@dataclass(frozen=True)
class Pod:
    """What is started for one try of an action."""

    name: str
    action: str
    image: str
    words: tuple[str, ...]
    environment: dict[str, str]
    secrets: tuple[str, ...]


class Launcher(Protocol):
    """Starts pods."""

    def run(self, pod: Pod, running: Callable[[], None], stop: threading.Event) -> str:
        """Run it to its end, or until it is to stop; says how it died, nothing when it ended."""
        ...


@dataclass
class Action:
    """One task of a run."""

    id: identifier_pb2.ActionIdentifier
    spec: task_definition_pb2.TaskSpec
    input_uri: str
    base: str
    parent: str = ""
    group: str = ""
    cache_key: str = ""
    phase: int = phase_pb2.ACTION_PHASE_QUEUED
    attempt: int = 0
    output_uri: str = ""
    error: execution_pb2.ExecutionError | None = None
    reason: str = ""
    began: Timestamp = field(default_factory=lambda: now())
    ended: Timestamp | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    changes: int = 0

    @property
    def over(self) -> bool:
        return self.phase in ENDED


@dataclass
class Run:
    """A run: its root action is `a0`."""

    id: identifier_pb2.RunIdentifier
    spec: run_pb2.RunSpec
    actions: dict[str, Action]


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


class Bucket:
    """Where inputs, outputs and errors lie."""

    def __init__(self, server: S3, name: str) -> None:
        self.url = f"s3://{name}"
        self._store = S3Store(
            name,
            endpoint=server.url,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            region=server.region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def put(self, uri: str, data: bytes) -> None:
        obstore.put(self._store, uri.removeprefix(self.url + "/"), data)

    def get(self, uri: str) -> bytes | None:
        """What lies there, if anything."""
        try:
            return bytes(obstore.get(self._store, uri.removeprefix(self.url + "/")).bytes())
        except FileNotFoundError:
            return None


class Engine:
    """Takes actions, starts their pods, and tells whoever watches. All but pods in one loop."""

    def __init__(self, bucket: Bucket, launcher: Launcher, known: dict[str, str]) -> None:
        self.bucket, self.launcher, self.known = bucket, launcher, known
        self.runs: dict[str, Run] = {}
        self.tasks: dict[tuple[str, str], task_definition_pb2.TaskDetails] = {}
        self.triggers: list[task_definition_pb2.TaskTrigger] = []
        self.cache: dict[str, str] = {}
        self.changed = asyncio.Condition()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pod")
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, run: Run, action: Action) -> None:
        """Begin with an action; one of the same name is the same action."""
        if action.id.name in run.actions and run.actions[action.id.name] is not action:
            return
        run.actions[action.id.name] = action
        work = asyncio.get_running_loop().create_task(self._until_over(run, action))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)

    async def say(self, action: Action, phase: int) -> None:
        """An action enters a phase, unless it is over already."""
        async with self.changed:
            if not action.over:
                action.phase = phase
                action.changes += 1
                action.ended = now() if action.over else None
                self.changed.notify_all()

    async def abort(self, run: Run, action: Action, reason: str) -> None:
        """End an action and all below it; their pods are stopped."""
        for below in [one for one in run.actions.values() if one.parent == action.id.name]:
            await self.abort(run, below, reason)
        if not action.over:
            action.reason = reason
            await self.say(action, phase_pb2.ACTION_PHASE_ABORTED)
        action.stop.set()

    async def _until_over(self, run: Run, action: Action) -> None:
        if (kept := self.cache.get(action.cache_key)) and action.cache_key:
            action.output_uri = kept
            return await self.say(action, phase_pb2.ACTION_PHASE_SUCCEEDED)
        retries = action.spec.task_template.metadata.retries
        for number in range(1 + retries.retries):
            if number:
                await self._wait(action, retries, number)
            if action.over:
                return None
            if await self._try(run, action, number + 1):
                break
        else:
            await self.say(action, phase_pb2.ACTION_PHASE_FAILED)
        for below in [one for one in run.actions.values() if one.parent == action.id.name]:
            await self.abort(run, below, f"{action.id.name} is over")
        return None

    async def _wait(self, action: Action, retries: object, number: int) -> None:
        """Between two tries, as long as the task's template says; an abort ends it."""
        backoff = retries.backoff  # type: ignore[attr-defined]
        base, cap = (one.ToTimedelta() for one in (backoff.base, backoff.cap))
        pause = base * (backoff.factor or 1) ** (number - 1)
        pause = min(pause, cap) if cap > timedelta() else pause
        await self.say(action, phase_pb2.ACTION_PHASE_QUEUED)
        await self._in_pool(action.stop.wait, pause.total_seconds())

    async def _try(self, run: Run, action: Action, attempt: int) -> bool:
        """One pod; whether there is nothing more to try."""
        action.attempt, action.error = attempt, None
        folder = f"{action.base}/{action.id.name}/{attempt}"
        await self.say(action, phase_pb2.ACTION_PHASE_INITIALIZING)
        loop = asyncio.get_running_loop()

        def running() -> None:
            going = self.say(action, phase_pb2.ACTION_PHASE_RUNNING)
            asyncio.run_coroutine_threadsafe(going, loop).result(30)

        pod = self._pod(run, action, folder)
        died = await self._in_pool(self.launcher.run, pod, running, action.stop)
        if action.over:
            return True
        if told := await self._in_pool(self.bucket.get, f"{folder}/error.pb"):
            found = execution_pb2.ErrorDocument.FromString(told).error
            action.error = execution_pb2.ExecutionError(
                code=found.code, message=found.message, kind=found.origin
            )
            if found.kind == execution_pb2.ContainerError.NON_RECOVERABLE:
                await self.say(action, phase_pb2.ACTION_PHASE_FAILED)
                return True
            return False
        if died or not await self._in_pool(self.bucket.get, f"{folder}/outputs.pb"):
            action.error = execution_pb2.ExecutionError(
                code="PodFailed",
                message=died or "the pod ended without outputs.pb and without error.pb",
                kind=execution_pb2.ExecutionError.SYSTEM,
            )
            return False
        action.output_uri = folder  # the SDK adds the name
        if action.cache_key:
            self.cache[action.cache_key] = action.output_uri
        await self.say(action, phase_pb2.ACTION_PHASE_SUCCEEDED)
        return True

    def _pod(self, run: Run, action: Action, folder: str) -> Pod:
        """The pod that the task's template describes, its placeholders filled in."""
        container = action.spec.task_template.container
        started = run.actions["a0"].began.ToJsonString()
        before = f"{action.base}/{action.id.name}/{action.attempt - 1}/_flytecheckpoints"
        filled = {
            "{{.input}}": action.input_uri,
            "{{.outputPrefix}}": folder,
            "{{.rawOutputDataPrefix}}": f"{folder}/raw",
            "{{.checkpointOutputPrefix}}": f"{folder}/_flytecheckpoints",
            "{{.prevCheckpointPrefix}}": before if action.attempt > 1 else "",
            "{{.runName}}": run.id.name,
            "{{.actionName}}": action.id.name,
            "{{.runStartTime}}": started,
        }
        environment = {
            **self.known,
            **{one.key: one.value for one in run.spec.envs.values},
            **{one.key: one.value for one in container.env},
            "ACTION_NAME": action.id.name,
            "RUN_NAME": run.id.name,
            "FLYTE_INTERNAL_EXECUTION_PROJECT": run.id.project,
            "FLYTE_INTERNAL_EXECUTION_DOMAIN": run.id.domain,
            "_U_ORG_NAME": run.id.org,
            "_U_RUN_BASE": action.base,
        }
        security = action.spec.task_template.security_context
        return Pod(
            name=f"{run.id.name}-{action.id.name}-{action.attempt}".lower()[:63],
            action=action.spec.task_template.id.name,
            image=container.image,
            words=tuple(filled.get(word, word) for word in (*container.command, *container.args)),
            environment=environment,
            secrets=tuple(one.key for one in security.secrets),
        )

    async def _in_pool(self, function: Callable[..., object], *values: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *values)

    def close(self) -> None:
        """End every pod."""
        for run in self.runs.values():
            for action in run.actions.values():
                action.stop.set()
        self._pool.shutdown(wait=True)


def new_name() -> str:
    """A name for a run that nobody named."""
    return "r" + secrets.token_hex(9)
