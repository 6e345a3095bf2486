"""A pod as a pod of Kubernetes, on the node of `make test-cluster`.

What a task asks for of cores and memory is left out: that node has what this machine has, and the
flow wants five cores at once. Packages that are too large for an image in memory are mounted from
this machine, read-only, as the default pod template of a cluster may do.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from real import node as nodes
from real.node import Node

from .runs import Pod

NAMESPACE = "default"
SECRET = "opslore-flow"
IMAGE = "localhost/opslore-flow:dev"
LONGEST = 600
"""Seconds that a pod may take."""
WORK = "work"
"""The image's working folder."""
PROGRAM = """#!/usr/local/bin/{python}
import sys
from flyte._bin.runtime import main
sys.exit(main())
"""


def packages() -> list[Path]:
    """This environment's packages, Flyte's among them."""
    return [Path(path) for path in sys.path if Path(path).name == "site-packages"]


def pack(archive: Path, work: Path) -> None:
    """Pack the image of the flow: this Python, opslore, `a0`, and what the agent file names.

    Args:
        archive: the OCI archive.
        work: the folder with the agent's sources and base model.
    """
    image = nodes.images()
    files = image.base_files()
    (source,) = importlib.util.find_spec("opslore").submodule_search_locations  # type: ignore[union-attr]
    for file in sorted(Path(source).rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            files[f"{image.SITE}/opslore/{file.relative_to(source).as_posix()}"] = file
    library = Path(sys.base_prefix) / "lib" / image.VERSION
    for file in (library / "pydoc_data").glob("*.py"):  # torch imports pydoc
        files[f"usr/local/lib/{image.VERSION}/pydoc_data/{file.name}"] = file
    files["usr/local/bin/a0"] = PROGRAM.format(python=image.VERSION).encode()
    files["tmp/.keep"] = b""
    needing = [file for folder in packages() for file in folder.glob("*/**/*.so*")]
    wanted = ("torch", "numpy", "xllamacpp", "pydantic_core", "obstore", "lxml", "pyqwest")
    needing = [file for file in needing if file.relative_to(_of(file)).parts[0] in wanted]
    files |= image.libraries([*(f for f in files.values() if isinstance(f, Path)), *needing])
    own = {f"{WORK}/{file.relative_to(work)}": file for file in work.rglob("*") if file.is_file()}
    settings = {
        "Env": ["PATH=/usr/local/bin", "LANG=C.UTF-8", f"HOME=/{WORK}"],
        "WorkingDir": f"/{WORK}",
        "Entrypoint": ["/usr/local/bin/a0"],
    }
    image.pack(archive, [files, own], settings, IMAGE)


def _of(file: Path) -> Path:
    return next(folder for folder in packages() if folder in file.parents)


class Pods:
    """Starts pods on a node.

    Attributes:
        started: every pod, in order.
        specs: what Kubernetes says of those that ended, by name.
    """

    def __init__(self, node: Node, given: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        from kubernetes import config
        from kubernetes.client import CoreV1Api

        self.core = CoreV1Api(config.new_client_from_config(str(node.kubeconfig)))
        self.given = dict(given)
        self.started: list[Pod] = []
        self.alive: dict[str, Pod] = {}
        self.specs: dict[str, Any] = {}
        self.logs: dict[str, str] = {}
        body = {"metadata": {"name": SECRET}, "stringData": dict(secrets)}
        self.core.create_namespaced_secret(NAMESPACE, body)

    def run(self, pod: Pod, running: Callable[[], None], stop: threading.Event) -> str:
        """Run it to its end."""
        self.core.create_namespaced_pod(NAMESPACE, self._body(pod))
        self.started.append(pod)
        self.alive[pod.name] = pod
        try:
            return self._watch(pod.name, running, stop)
        finally:
            del self.alive[pod.name]

    def delete(self, name: str) -> None:
        """Kill a pod at once, as a node does that goes away."""
        from kubernetes.client import ApiException

        try:
            self.core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0)
        except ApiException as error:
            if error.status != 404:
                raise

    def _watch(self, name: str, running: Callable[[], None], stop: threading.Event) -> str:
        from kubernetes.client import ApiException

        until, seen = time.monotonic() + LONGEST, False
        while time.monotonic() < until and not stop.wait(0.3):
            try:
                found = self.core.read_namespaced_pod(name, NAMESPACE)
            except ApiException as error:
                if error.status == 404:
                    return f"pod {name} was deleted"
                raise
            phase = found.status.phase
            if phase != "Pending" and not seen:
                seen = True
                running()
            if phase in ("Succeeded", "Failed"):
                self.specs[name] = found
                self.logs[name] = self.core.read_namespaced_pod_log(name, NAMESPACE)
                self.delete(name)
                tail = "\n".join(self.logs[name].splitlines()[-15:])
                return "" if phase == "Succeeded" else f"pod {name} failed\n{tail}"
            self.logs[name] = str(found.status.container_statuses)
        self.delete(name)
        return f"pod {name} was stopped; {self.logs.get(name, '')}"

    def _body(self, pod: Pod) -> dict[str, Any]:
        mounts = {f"packages-{number}": folder for number, folder in enumerate(packages())}
        given = {
            **self.given,
            **pod.environment,
            "PYTHONPATH": ":".join(f"/packages/{name}" for name in mounts),
        }
        environment: list[dict[str, Any]] = [
            {"name": key, "value": value} for key, value in given.items()
        ]
        for key in pod.secrets:
            reference = {"secretKeyRef": {"name": SECRET, "key": key}}
            environment.append({"name": key, "valueFrom": reference})
        program, *words = pod.words
        container = {
            "name": "main",
            "image": pod.image,
            "imagePullPolicy": "Never",
            "command": [f"/usr/local/bin/{program}"],
            "args": words,
            "env": environment,
            "volumeMounts": [
                {"name": name, "mountPath": f"/packages/{name}", "readOnly": True}
                for name in mounts
            ],
        }
        return {
            "metadata": {"name": pod.name, "annotations": {"task": json.dumps(pod.action)}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "containers": [container],
                "volumes": [
                    {"name": name, "hostPath": {"path": str(folder), "type": "Directory"}}
                    for name, folder in mounts.items()
                ],
            },
        }
