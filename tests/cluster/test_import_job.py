"""The import Job as a real pod: from a bucket into an Ollama that only the cluster reaches.

Everything is real: the image that `make image` packs, containerd, runc, kubelet, the controllers,
the bucket, Ollama, the command line with the rights of deploy/kubernetes/import.yaml and no more.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from between import between
from cluster import cluster_world
from cluster.cluster_world import IMAGE, NAMESPACE, SECRET, World
from real import node as nodes
from real.node import Node
from real.s3 import S3

from opslore import config_deploy
from opslore.cards import Message
from opslore.errors import ServerError
from opslore.release import kubernetes
from opslore.release.cluster import Cluster
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client

pytest_plugins = ["real.fixtures"]

TTL = 5
LOOK = """
import json, os, pathlib
def may(path):
    try:
        pathlib.Path(path, "probe").write_text("x")
        return True
    except OSError as error:
        return error.strerror
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines()
              if ":\\t" in line)
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "writes": {path: may(path) for path in ("/", "/tmp", "/etc", "/usr/local/bin", "/scratch")},
    "status": {key: status[key].strip() for key in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "memory": open("/sys/fs/cgroup/memory/memory.limit_in_bytes").read().strip(),
}))
"""


@pytest.fixture(scope="module")
def node(kube_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The node with our image on it."""
    archive = tmp_path_factory.mktemp("image") / "opslore.tar"
    nodes.images().build(archive, IMAGE)
    kube_node.bring(archive)
    archive.unlink()
    return kube_node


@pytest.fixture(scope="module")
def world(
    node: Node,
    kubectl: Path,
    s3_server: S3,
    ollama_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with (
        between(s3_server.url, node.address) as bucket,
        between(ollama_server, node.address) as ollama,
    ):
        yield cluster_world.made(folder, kubectl, node, s3_server, bucket, ollama)


@pytest.fixture
def cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, with the rights of whoever deploys."""
    monkeypatch.setenv("KUBECONFIG", world.environment["KUBECONFIG"])
    return Cluster()


def rendered(title: str, *arguments: str, python: bool = False, **changed: Any) -> dict[str, Any]:
    """A Job as the product makes them; with `python`, its program is the image's Python."""
    told = {"image": IMAGE, "pull_policy": "Never", "namespace": NAMESPACE, "secret": SECRET}
    section = config_deploy.Job.model_validate({**told, **changed})
    job = kubernetes.render(section, title, "tiny", "", arguments)
    if python:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        container["command"] = [f"/usr/local/bin/{nodes.images().VERSION}", "-I", "-c"]
    return job


def _answered(world: World) -> str:
    """What a client gets from the model when it names no tag."""
    with Server("tiny", url=world.ollama.url) as server:
        return server.chat([Message(role="user", content="disk?")]).text


def _tags(world: World) -> set[str]:
    with Client(world.ollama.url) as client:
        return {str(tag["name"]) for tag in client.ask("GET", "/api/tags")["models"]}


def test_the_pod_may_do_nothing_but_write_to_its_scratch_folder(
    world: World, cluster: Cluster
) -> None:
    world.tell_secret("unused")
    job = rendered("look", LOOK, python=True, memory=256, ttl=TTL)
    kubernetes.run(cluster, job)
    found = json.loads(kubernetes.output(cluster, job))
    assert found["user"] == [65532, 65532, [65532]]
    assert found["writes"].pop("/scratch") is True
    read_only, none = "Read-only file system", "No such file or directory"
    assert found["writes"] == {"/": read_only, "/etc": read_only, "/usr/local/bin": read_only,
                               "/tmp": none}  # fmt: skip
    nothing = "0" * 16
    assert found["status"] == {
        "CapEff": nothing, "CapBnd": nothing, "NoNewPrivs": "1", "Seccomp": "2"
    }  # fmt: skip
    assert found["token"] is False
    assert found["memory"] == str(256 << 20)
    until = time.monotonic() + TTL + 60
    while {item["metadata"]["name"][:4] for item in world.items("jobs,pods")} & {"look"}:
        assert time.monotonic() < until, "a finished Job was not removed"
        time.sleep(1)


def test_an_image_that_the_node_does_not_have_is_told_at_once(cluster: Cluster) -> None:
    job = rendered("absent", "--help", image="localhost/absent:1")
    with pytest.raises(ServerError, match=r"cannot start\npod absent-\S+: ErrImageNeverPull: "):
        kubernetes.run(cluster, job)


def test_a_pod_that_takes_too_long_is_ended_by_the_cluster(cluster: Cluster, world: World) -> None:
    job = rendered("slow", "import time; time.sleep(600)", python=True, deadline=10)
    job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    with pytest.raises(ServerError, match="failed: DeadlineExceeded: ") as caught:
        kubernetes.run(cluster, job)
    assert "describe job/slow" in caught.value.hint
    assert "slow" not in [pod["metadata"]["name"][:4] for pod in world.items("pods")]


def test_a_release_reaches_ollama_through_pods_and_goes_back(world: World) -> None:
    first = world.publish("df -h")
    _a_wrong_login_is_red_with_the_log_of_the_pod(world)
    world.tell_secret(world.s3.secret_key)
    world.bucket.forget()
    assert json.loads(world.call("deploy", "tiny.yaml").stdout)["version"] == first
    assert _tags(world) == {f"tiny:{first}", "tiny:latest"}
    assert _answered(world) == "df -h"
    # The bucket's other clients do not come this way: these are the pod's.
    assert {path.split("?")[0] for path in world.bucket.methods("GET", "HEAD")} == {
        f"/ml-models/tiny/{first}/ollama-model.tar.gz"
    }
    assert world.bucket.methods("PUT", "POST", "DELETE") == []
    _the_job_is_as_rendered(world, first)

    second = world.publish("uptime -p")
    assert json.loads(world.call("deploy", "tiny.yaml").stdout)["version"] == second
    assert _tags(world) == {f"tiny:{first}", f"tiny:{second}", "tiny:latest"}
    assert _answered(world) == "uptime -p"
    _everything_names(world, second)

    back = json.loads(world.call("rollback", "tiny.yaml").stdout)
    assert (back["from"], back["to"]) == (second, first)
    assert _answered(world) == "df -h"
    _everything_names(world, first)
    _no_secret_was_told(world)


def _a_wrong_login_is_red_with_the_log_of_the_pod(world: World) -> None:
    wrong = secrets.token_hex(20)
    world.tell_secret(wrong)
    said = world.call("deploy", "tiny.yaml", code=75).stderr
    assert f"Job {NAMESPACE}/import-tiny-ollama-" in said
    assert "failed: BackoffLimitExceeded: " in said
    assert re.search(r"pod import-tiny-ollama-\S+: exit 75 \(Error\)", said)
    assert "  | error: s3://ml-models/tiny/" in said
    assert "access denied" in said
    assert wrong not in said
    pods = [pod for pod in world.items("pods") if pod["metadata"]["name"].startswith("import-")]
    assert len(pods) == 1 + kubernetes.BACKOFF
    assert _tags(world) == set()
    assert {place["state"] for place in world.places()[:2]} == {"empty"}


def _the_job_is_as_rendered(world: World, version: str) -> None:
    """What the cluster ran is what was asked for, and one pod was enough."""
    (job,) = [job for job in world.items("jobs") if job["metadata"]["name"].startswith("import-")]
    assert job["status"]["succeeded"] == 1
    assert "failed" not in job["status"]
    assert job["metadata"]["labels"]["app.kubernetes.io/version"] == version
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    title = job["metadata"]["name"]
    (pod,) = [pod for pod in world.items("pods") if pod["metadata"]["name"].startswith(title)]
    assert pod["metadata"]["labels"]["component"] == "ollama-import"
    assert pod["spec"]["serviceAccountName"] == "opslore-import"
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["scratch"]
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": SECRET}}]
    assert pod["status"]["hostIP"] == world.node.address != pod["status"]["podIP"]
    (status,) = pod["status"]["containerStatuses"]
    assert (status["image"], status["state"]["terminated"]["exitCode"]) == (IMAGE, 0)


def _everything_names(world: World, version: str) -> None:
    found = world.places()
    assert found[0]["names"] == version
    assert found[1]["name"].startswith(f"Ollama {world.ollama.url} tiny:latest (Job in ")
    states = {place["state"] for place in found if "@candidate" not in place["name"]}
    assert states == {"ok"}, found


def _no_secret_was_told(world: World) -> None:
    """The Jobs name the Secret and do not hold it, and no pod prints it."""
    told = world.kube("get", "jobs,pods,events", "-o", "json")
    ended = [pod for pod in world.items("pods") if pod["status"]["phase"] != "Pending"]
    told += "".join(world.kube("logs", pod["metadata"]["name"]) for pod in ended)
    assert '{"now":' in told
    assert SECRET in told
    assert world.s3.secret_key not in told
    assert world.s3.access_key not in told
