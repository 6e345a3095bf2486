"""A cluster with the flow registered, whose pods are processes: what `opslore submit` talks to.

The control plane is the tests' own (tests/plane); the registration is Flyte's program, the pods are
Flyte's `a0`, the store and the inputs and outputs lie in a real S3 server.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flow_world import Flow
from flyte_world import SOURCE, world
from plane.processes import Processes
from plane.serving import Plane, serving
from real.s3 import S3

from opslore import config, steps
from opslore.bucket import Bucket
from opslore.cards import Deployment, Release
from opslore.lineage import KINDS
from opslore.release import keys

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPSLORE_SIGNING_KEY")
LINE = next(
    re.finditer(r"^flyte .*", (SOURCE.parent / "docs" / "flyte.md").read_text(), re.MULTILINE)
)[0]
"""How docs/flyte.md registers the flow."""


@dataclass
class Cluster:
    """A running cluster, and a folder from which `opslore submit` is called."""

    folder: Path
    plane: Plane
    pods: Processes
    secrets: dict[str, str]
    more: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """A person's: opslore's source, the bucket's keys, a cache that no pod sees."""
        return {
            **os.environ,
            **self.secrets,
            "PYTHONPATH": str(SOURCE),
            "HOME": str(self.folder),
            "OPSLORE_CACHE": str(self.folder / ".cache"),
            **self.more,
        }

    @contextmanager
    def inside(self) -> Iterator[None]:
        """In the block this process is in the folder, with a person's variables."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            yield

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Call opslore; it is not waited for."""
        return subprocess.Popen(
            [sys.executable, "-m", "opslore", *words],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> Flow:
        """Call opslore to its end."""
        process = self.start(*words)
        out, err = process.communicate(timeout=600)
        return Flow(self.folder, process.returncode, out, err, 0.0)

    def agent(self, name: str, **changed: str) -> str:
        """Another agent file beside the first: some of its lines replaced."""
        text = (self.folder / "tiny.yaml").read_text().replace("name: tiny", f"name: {name}")
        for old, new in changed.items():
            text = text.replace(old, new)
        (self.folder / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"

    def register(self, version: str, **more: str) -> str:
        """Register the flow with the line of docs/flyte.md; what the program said.

        Args:
            version: what it is registered as.
            more: variables beside the usual ones.
        """
        words = shlex.split(LINE.replace("--version 1", f"--version {version}"))
        words[1:3] = ["--endpoint", self.plane.endpoint, "--insecure", "--org", "test"]
        done = subprocess.run(
            [str(Path(sys.executable).with_name(words[0])), *words[1:]],
            cwd=SOURCE.parent,
            env={
                **self.environment(),
                "OPSLORE_FLYTE_GPUS": "0",
                "OPSLORE_FLYTE_SECRETS": ",".join(KEYS),
                "NO_COLOR": "1",
                **more,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def bare(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3, mlflow_server: str
) -> Iterator[Cluster]:
    """A cluster in which nothing is registered."""
    room = tmp_path_factory.mktemp("cluster")
    folder, bucket = world(room / "world"), f"ml-{secrets.token_hex(6)}"
    agent = (folder / "tiny.yaml").read_text()
    store = f"store: s3://{bucket}/team\npublish: {{registry: '{mlflow_server}'}}\n"
    (folder / "tiny.yaml").write_text(agent.replace("collect:", f"{store}collect:"))
    for name in (*KEYS, "AWS_SESSION_TOKEN"):
        assert name not in os.environ
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(room / "signer"))
        key = keys.private().path.read_text()
    known = {**s3_server.environment(), "OPSLORE_SIGNING_KEY": key}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        Bucket.open(f"s3://{bucket}").ready()
    image = room / "image"  # as pip installs it: Flyte takes no task from anywhere else
    (image / "site-packages").mkdir(parents=True)
    (image / "site-packages" / "opslore").symlink_to(SOURCE / "opslore")
    kept = ("PATH", "TMPDIR", "LANG", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "DO_NOT_TRACK")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    given |= {"PYTHONPATH": str(image / "site-packages")}
    (room / "pods").mkdir()
    shutil.copytree(folder, image / "work")
    granted = {name: known[name] for name in KEYS}
    pods = Processes(room / "pods", image / "work", given, granted)
    with serving(s3_server, bucket, pods) as plane:
        (folder / ".flyte").mkdir()
        (folder / ".flyte" / "config.yaml").write_text(plane.settings())
        yield Cluster(folder, plane, pods, known)


@pytest.fixture(scope="module")
def cluster(bare: Cluster) -> Cluster:
    """The same with the flow registered."""
    bare.register("1")
    return bare


def made() -> dict[type[Any], Any]:
    """The newest card of every kind, of the agent in the working folder."""
    home = steps.store_of(config.load(Path("tiny.yaml")))
    return {kind: home.latest(kind) for kind in KINDS}


def same_release(
    said: dict[str, Any], here: dict[type[Any], Any], there: dict[type[Any], Any]
) -> None:
    """See that a run gave what lies in its store, and that it is the release of `opslore run`."""
    assert said["deployment"]["id"] == there[Deployment].id
    for kind in KINDS[:5]:
        assert there[kind].id == here[kind].id, kind
    mine, theirs = (found[Release].version for found in (here, there))
    assert mine.split("-")[1] == theirs.split("-")[1]


def checkpoint(bucket: Bucket, least: int) -> int:
    """The step of the newest checkpoint that is whole in the bucket, from one step on; else 0."""
    found = re.findall(r"checkpoint-(\d+)\.tar", " ".join(bucket.sizes("killed/.work")))
    newest = max(map(int, found), default=0)
    return newest if newest >= least else 0


def until(found: Callable[[], Any], seconds: float = 180) -> Any:
    """What is found, once it is."""
    end = time.monotonic() + seconds
    while not (there := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return there
