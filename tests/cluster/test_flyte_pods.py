"""The seven steps as pods of a node: started by the tests' control plane, run by Flyte's `a0`.

Real are the pods (containerd, runc, kubelet), their image, the SDK in them, the bucket, MLflow and
`opslore submit`. The control plane is tests/plane: docs/decisions/0033-flyte-backend.md says why.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import flow_world
import flyte_world
import pytest
from between import between
from flow_world import Flow
from flyte_world import let_pass
from plane import pods
from plane.serving import serving
from plane_world import KEYS, Cluster, checkpoint, made, same_release, until
from real.node import Node
from real.s3 import S3

from opslore import config, steps
from opslore.bucket import Bucket
from opslore.cards import Adapter, Bundle
from opslore.release import keys

pytest_plugins = ["real.fixtures"]

STEPS, EVERY, KILLED = 240, 20, 40  # a pod needs seconds to die


@pytest.fixture(scope="module")
def cluster(
    kube_node: Node, s3_server: S3, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    room = tmp_path_factory.mktemp("pods")
    image, folder = flyte_world.world(room / "image"), flyte_world.world(room / "world")
    archive = room / "image.tar"
    pods.pack(archive, image)
    kube_node.bring(archive)
    archive.unlink()
    name = f"ml-{secrets.token_hex(6)}"
    with (
        between(s3_server.url, kube_node.address) as bucket,
        between(mlflow_server, kube_node.address) as mlflow,
        pytest.MonkeyPatch.context() as patch,
    ):
        server = S3(bucket.url, s3_server.access_key, s3_server.secret_key)
        for key, value in server.environment().items():
            patch.setenv(key, value)
        patch.setenv("XDG_CONFIG_HOME", str(room / "signer"))
        known = {
            **server.environment(),
            "OPSLORE_SIGNING_KEY": keys.private().path.read_text(),
            "OPSLORE_FLYTE_IMAGE": pods.IMAGE,
        }
        Bucket.open(f"s3://{name}").ready()
        given = f"store: s3://{name}/team\npublish: {{registry: '{mlflow.url}'}}\ncollect:"
        agent = (folder / "tiny.yaml").read_text().replace("collect:", given)
        (folder / "tiny.yaml").write_text(agent)
        quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
        started = pods.Pods(kube_node, quiet, {key: known[key] for key in KEYS})
        with serving(server, name, started, kube_node.address) as plane:
            (folder / ".flyte").mkdir()
            (folder / ".flyte" / "config.yaml").write_text(plane.settings())
            made = Cluster(folder, plane, started, known)
            made.register("1")
            yield made


@pytest.fixture(scope="module")
def submitted(cluster: Cluster) -> Flow:
    """The first run is refused; Ada lets it pass; the second."""
    refused = cluster.call("submit", "tiny.yaml")
    assert refused.code == 3, refused.err + str(cluster.pods.logs)
    with cluster.inside():
        let_pass()
    return cluster.call("submit", "tiny.yaml", "--json")


def test_pods_make_the_release_that_opslore_run_makes(
    cluster: Cluster, submitted: Flow, tmp_path: Path
) -> None:
    assert submitted.code == 0, submitted.err
    here = flyte_world.world(tmp_path / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
        patch.chdir(here)
        assert flow_world.call(here, "run", "tiny.yaml").code == 3
        let_pass()
        done = flow_world.call(here, "run", "tiny.yaml")
        assert done.code == 0, done.err
        mine = made()
    with cluster.inside():
        theirs = made()
    same_release(json.loads(submitted.out), mine, theirs)
    assert theirs[Bundle].gguf_sha256 == mine[Bundle].gguf_sha256


def test_every_step_was_a_pod_of_the_node_with_its_own_image(
    cluster: Cluster, submitted: Flow
) -> None:
    ran = {pod.action.rpartition(".")[2] for pod in cluster.pods.started}
    assert ran == {"run", "collect", "harvest", "together", "evaluate", *KINDS}
    for name, spec in cluster.pods.specs.items():
        assert spec.spec.node_name == "node", name
        assert spec.spec.containers[0].image == pods.IMAGE
        told = {one.name: one for one in spec.spec.containers[0].env}
        if "AWS_SECRET_ACCESS_KEY" in told:  # never by value
            assert told["AWS_SECRET_ACCESS_KEY"].value is None


KINDS = ("prepare", "train", "export", "judge", "publish", "deploy")


def test_the_pod_after_a_deleted_one_repeats_less_than_a_checkpoint(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = cluster.agent("killed", **{"iters: 1,": f"iters: {STEPS}, save_every: {EVERY},"})
    for key, value in cluster.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(cluster.folder)
    bucket = Bucket.open(config.load(Path(name)).store)
    process = cluster.start("submit", name)
    pod = until(
        lambda: next((p for p in cluster.pods.alive.values() if "train" in p.action), None), 300
    )
    at = until(lambda: checkpoint(bucket, KILLED), 300)
    cluster.pods.delete(pod.name)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 3, err
    (line,) = [line for line in out.splitlines() if line.startswith("train")]
    assert line.endswith("2 tries")
    said = cluster.pods.logs[pod.name.removesuffix("1") + "2"]
    begun = re.search(r"goes on from s3://\S+/checkpoint-(\d+)\.tar", said)
    assert begun is not None, said
    assert int(begun[1]) >= at >= KILLED
    home = steps.store_of(config.load(Path(name)))
    rows = (home.path(home.latest(Adapter)) / "loss.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, STEPS + 1))
    assert not bucket.sizes("killed/.work")
