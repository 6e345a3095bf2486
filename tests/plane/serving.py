"""The server: services of flyteidl2 on one port of loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from real.process import PATIENCE, Failed, free_port
from real.s3 import S3

from .runs import Bucket, Engine, Launcher
from .services import applications


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    endpoint: str
    """For `flyte --endpoint`, with `--insecure`."""
    engine: Engine

    def settings(self, project: str = "ops", domain: str = "development") -> str:
        """A Flyte configuration file that leads here."""
        return (
            f"admin: {{endpoint: '{self.endpoint}', insecure: true}}\n"
            f"task: {{org: test, project: {project}, domain: {domain}}}\n"
        )


@contextmanager
def serving(
    server: S3,
    bucket: str,
    launcher: Launcher,
    address: str = "127.0.0.1",
    given: Mapping[str, str] | None = None,
) -> Iterator[Plane]:
    """Serve until the block ends; pods that still run are then stopped.

    Args:
        server: the S3 server.
        bucket: a bucket in it, for inputs and outputs.
        launcher: how pods are started.
        address: where to listen; pods call back there.
        given: variables that every pod gets.

    Raises:
        Failed: it did not start.
    """
    port = free_port()
    endpoint = f"dns:///{address}:{port}"
    known = {
        "_U_EP_OVERRIDE": endpoint,
        "_U_INSECURE": "true",
        "_U_USE_ACTIONS": "1",
        "FLYTE_AWS_ENDPOINT": server.url,
        "FLYTE_AWS_ACCESS_KEY_ID": server.access_key,
        "FLYTE_AWS_SECRET_ACCESS_KEY": server.secret_key,
        **(given or {}),
    }
    ready: list[Engine] = []
    apps: dict[str, Any] = {}

    async def serve() -> None:
        engine = Engine(Bucket(server, bucket), launcher, known)
        apps.update(applications(engine))
        ready.append(engine)
        await web.serve()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        service = "/" + scope["path"].strip("/").split("/")[0]
        if service not in apps:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"no such service"})
            return
        await apps[service](scope, receive, send)

    settings = uvicorn.Config(
        answer,
        host=address,
        port=port,
        lifespan="off",
        log_level="error",
        timeout_graceful_shutdown=2,
    )
    web = uvicorn.Server(settings)
    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="plane", daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE
    while not web.started:
        if time.monotonic() > until or not thread.is_alive():
            raise Failed(f"the control plane did not start on {endpoint}")
        time.sleep(0.05)
    try:
        yield Plane(endpoint, ready[0])
    finally:
        ready[0].close()
        web.should_exit = True
        thread.join(30)
