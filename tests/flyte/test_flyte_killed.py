"""A pod that dies half-way: the next one, on another disk, goes on from the checkpoint."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from flyte_world import started  # noqa: F401
from plane_world import Cluster, bare, checkpoint, cluster, until  # noqa: F401

from opslore import config, files, steps
from opslore.bucket import Bucket
from opslore.cards import Adapter

pytest_plugins = ["real.fixtures"]
pytestmark = pytest.mark.slow

STEPS, EVERY, KILLED = 120, 5, 20


def test_the_pod_after_a_killed_one_repeats_less_than_a_checkpoint(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from real.fixtures import _LOGS

    name = cluster.agent("killed", **{"iters: 1,": f"iters: {STEPS}, save_every: {EVERY},"})
    for key, value in cluster.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(cluster.folder)
    agent = config.load(Path(name))
    bucket = Bucket.open(agent.store)
    submitted = cluster.start("submit", name)
    (first,) = until(lambda: [pod for pod in cluster.pods.alive if _is_training(cluster, pod)])
    at = until(lambda: checkpoint(bucket, KILLED))
    os.killpg(cluster.pods.alive[first].pid, signal.SIGKILL)
    out, err = submitted.communicate(timeout=300)

    assert submitted.returncode == 3, err  # a tiny model passes no gate
    (line,) = [line for line in out.splitlines() if line.startswith("train")]
    assert line.endswith("2 tries")
    second = first.removesuffix("1") + "2"
    said = (cluster.pods.room / f"{second}.log").read_text()
    (begun,) = re.findall(r"goes on from s3://\S+/checkpoint-(\d+)\.tar", said)
    assert int(begun) >= at >= KILLED
    # Every checkpoint was uploaded once: no step before the last one was taken again.
    log = _LOGS["s3_server"][0].read_text()
    sent = re.findall(r"PUT \| .*/killed/\.work/.*/checkpoint-(\d+)\.tar", log)
    assert [int(step) for step in sent] == list(range(EVERY, STEPS, EVERY))

    home = steps.store_of(agent)
    folder = home.path(home.latest(Adapter))
    assert [row["step"] for row in map(_read, (folder / "loss.jsonl").open())] == list(
        range(1, STEPS + 1)
    )
    assert not bucket.sizes("killed/.work")  # nothing is left over
    assert files.cache() not in cluster.pods.room.parents  # the pods' disks were their own


def _read(line: str) -> dict[str, int]:
    import json

    row: dict[str, int] = json.loads(line)
    return row


def _is_training(cluster: Cluster, name: str) -> bool:
    return any(pod.name == name and pod.action.endswith(".train") for pod in cluster.pods.started)
