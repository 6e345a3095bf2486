"""Plays what an API server without nodes lacks: the Job controller and one kubelet.

The API server, its validation and its storage are real. This thread makes a pod for every Job that
appears, writes the status that the Job controller and a kubelet would write, through the status
subresources, and serves the pod's log on the kubelet's port, which the API server asks.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NODE = "played"


@dataclass
class Outcome:
    """What becomes of a Job: its pod's exit code and log, or what it waits for."""

    code: int = 0
    log: str = ""
    waiting: str = ""
    gone: bool = False
    late: bool = False
    """The Job's deadline passes while the pod runs."""


@dataclass
class Player:
    """The program's part is a function of the container, as the manifest has it."""

    api: Any
    program: Callable[[dict[str, Any]], Outcome]
    seen: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: int = 0
    """Jobs whose pod and status are written."""

    def play(self, namespace: str) -> None:
        from kubernetes.client import BatchV1Api

        batch, done = BatchV1Api(self.api), set()
        while not self.stopped.wait(0.05):
            for job in batch.list_namespaced_job(namespace).items:
                if job.metadata.uid not in done and not (job.status and job.status.conditions):
                    done.add(job.metadata.uid)
                    self._finish(job)
                    self.finished += 1

    def _finish(self, job: Any) -> None:
        from kubernetes.client import BatchV1Api, CoreV1Api

        raw = self.api.sanitize_for_serialization(job)
        self.seen.append(raw)
        namespace, title = raw["metadata"]["namespace"], raw["metadata"]["name"]
        outcome = self.program(raw["spec"]["template"]["spec"]["containers"][0])
        if outcome.gone:
            policy = {"propagation_policy": "Background"}
            BatchV1Api(self.api).delete_namespaced_job(title, namespace, **policy)
            return
        pod = f"{title[:56]}-{len(self.seen)}"
        self.logs[pod] = outcome.log
        template = raw["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": title}
        core = CoreV1Api(self.api)
        core.create_namespaced_pod(
            namespace,
            {
                "metadata": {"name": pod, "labels": labels},
                "spec": {**template["spec"], "nodeName": NODE},
            },
        )
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        state: dict[str, Any] = {"terminated": {"exitCode": outcome.code, "reason": "Error"}}
        if outcome.waiting:
            state = {"waiting": {"reason": outcome.waiting, "message": "as the kubelet says"}}
        status = {"name": "opslore", "image": "i", "imageID": "", "restartCount": 0}
        status |= {"ready": False, "state": state}
        phase = "Pending" if outcome.waiting else "Failed" if outcome.code else "Succeeded"
        body = {"status": {"phase": phase, "containerStatuses": [status]}}
        core.patch_namespaced_pod_status(pod, namespace, body)
        if not outcome.waiting:
            self._conclude(title, namespace, outcome, now)

    def _conclude(self, title: str, namespace: str, outcome: Outcome, now: str) -> None:
        from kubernetes.client import BatchV1Api

        code = outcome.code
        said = {"lastTransitionTime": now, "lastProbeTime": now, "status": "True"}
        kinds = ["FailureTarget", "Failed"] if code else ["SuccessCriteriaMet", "Complete"]
        if code:
            said |= {"reason": "PodFailurePolicy", "message": f"exit code {code} is in the rules"}
        if outcome.late:
            said |= {"reason": "DeadlineExceeded", "message": "active longer than its deadline"}
        conditions = [{"type": kind, **said} for kind in kinds]
        body = {"startTime": now, "conditions": conditions, "ready": 0, "terminating": 0}
        body |= {"failed": 1} if code else {"succeeded": 1, "completionTime": now}
        BatchV1Api(self.api).patch_namespaced_job_status(title, namespace, {"status": body})


@contextmanager
def playing(
    kubeconfig: Path, program: Callable[[dict[str, Any]], Outcome], folder: Path, namespace: str
) -> Iterator[Player]:
    """A controller and a kubelet, until the block ends."""
    from kubernetes import config
    from kubernetes.client import CoreV1Api

    api = config.new_client_from_config(str(kubeconfig))
    player = Player(api, program)

    class Kubelet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("?")[0].split("/")
            known = parts[1:3] == ["containerLogs", namespace] and parts[3] in player.logs
            text = player.logs[parts[3]].encode() if known else b"no such pod"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    core = CoreV1Api(api)
    node = {"metadata": {"name": NODE}}
    core.create_node(node)
    port = {"kubeletEndpoint": {"Port": server.server_port}}
    address = [{"type": "InternalIP", "address": "127.0.0.1"}]
    core.patch_node_status(NODE, {"status": {"addresses": address, "daemonEndpoints": port}})
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=player.play, args=[namespace], daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield player
    finally:
        player.stopped.set()
        server.shutdown()
        threads[1].join(10)
        server.server_close()
        core.delete_node(NODE)


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, made now and good for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubelet")])
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "kubelet.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


class Ollama:
    """Plays `opslore install` and `opslore point`, with the Ollama they would talk to."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.pointer: str | None = None
        self.others: set[str] = set()
        """Models that opslore did not bring."""
        self.fails: dict[str, Outcome] = {}

    def __call__(self, container: dict[str, Any]) -> Outcome:
        arguments = container["args"]
        if (failing := self.fails.get(arguments[0])) is not None:
            return failing
        parser = argparse.ArgumentParser(exit_on_error=False)
        verbs = parser.add_subparsers(dest="verb", required=True)
        install, point = verbs.add_parser("install"), verbs.add_parser("point")
        install.add_argument("uri")
        install.add_argument("--sha256", required=True)
        install.add_argument("--version", required=True)
        install.add_argument("--agent", required=True)
        for verb in (install, point):
            verb.add_argument("--url", required=True)
            verb.add_argument("--name", required=True)
        point.add_argument("--state")
        point.add_argument("--remove", action="store_true")
        told = parser.parse_args(arguments)
        if told.verb == "install":
            self.versions[told.version] = f"digest of {told.version}"
            return Outcome(log="installed\n")
        if told.state is not None and told.state not in {*self.versions.values(), *self.others}:
            return Outcome(2, f"{told.state} is not there\n")
        if told.state is not None or told.remove:
            self.pointer = told.state
        answer = json.dumps({"now": self.pointer, "versions": self.versions})
        return Outcome(log=f"opslore 0.1\n{answer}\nbye\n")
