"""A training that is killed on one machine goes on on another, from the bucket alone."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import flow_world
import pytest
import tiny_models
from base_models import model_cache  # noqa: F401
from between import CUT, Between, between
from real.s3 import S3

from opslore import config, files, s3, steps, store
from opslore.cards import Adapter, Corpus
from opslore.config import Agent
from opslore.trainers import relay

pytest_plugins = ["real.fixtures"]

ITERS, EVERY = 9, 3
KILLED = 8
"""The step after which the first machine is killed: the checkpoint of step 6 was left in step 7."""
SCRIPT = """
import sys
from pathlib import Path
from opslore import config, progress, steps
from opslore.cards import Dataset
agent = config.load(Path(sys.argv[1]))
with progress.listening(lambda what, done, total, note: print(what, done, flush=True)):
    print("made", steps.train(agent, steps.store_of(agent).latest(Dataset)).id)
"""


@pytest.fixture
def proxy(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    with between(s3_server.url) as it:
        for name, value in {**s3_server.environment(), "AWS_ENDPOINT_URL": it.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        yield it


@pytest.fixture
def agent(
    proxy: Between, tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Agent:
    """Prepared, with its store in a bucket."""
    monkeypatch.chdir(tmp_path)
    Path("RUNBOOK.md").write_text(flow_world.runbook())
    tiny_models.llama(Path("tiny.gguf"))
    Path("tiny.yaml").write_text(flow_world.AGENT)
    given = config.load(Path("tiny.yaml")).model_dump()
    given["store"] = f"s3://ml-{secrets.token_hex(6)}/team"
    given["train"] |= {"iters": ITERS, "save_every": EVERY, "general": 0}
    it = Agent.model_validate(given)
    Path("tiny.yaml").write_text(it.model_dump_json())
    machine(tmp_path, "first", monkeypatch)
    steps.prepare(it, steps.collect(it))
    return it


def machine(folder: Path, name: str, patch: pytest.MonkeyPatch) -> None:
    """From here on this is another machine: its own disk, and only the bucket in common."""
    patch.setenv("OPSLORE_CACHE", str(folder / name))


def training() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "tiny.yaml"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kept(agent: Agent) -> list[str]:
    """Names of what trainings that have not ended left in the bucket."""
    bucket = steps.store_of(agent).bucket
    assert bucket is not None
    return sorted(Path(key).name for key in bucket.sizes(f"{agent.name}/{relay.ROOM}"))


def weights(agent: Agent) -> str:
    home = steps.store_of(agent)
    return files.sha256(home.path(home.latest(Adapter)) / "adapter" / "adapter_model.safetensors")


@pytest.mark.slow
def test_a_killed_training_goes_on_elsewhere_and_repeats_two_steps(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = training()
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"train {KILLED}\n":
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert kept(agent) == ["checkpoint-000006.tar"]

    machine(tmp_path, "second", monkeypatch)
    out, err = training().communicate(timeout=300)
    *said, made = out.splitlines()
    assert [line for line in said if line.startswith("train")] == [
        f"train {step}" for step in range(7, ITERS + 1)
    ]
    repeated = KILLED - 6
    assert repeated == 2
    assert "goes on from s3://" in err
    assert made.split()[1] == steps.store_of(agent).latest(Adapter).id
    assert kept(agent) == []

    alone = agent.model_copy(update={"store": str(tmp_path / "alone")})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "tiny.yaml").write_text(alone.model_dump_json())
    steps.prepare(alone, steps.collect(alone))
    _, err = training().communicate(timeout=300)
    assert weights(alone) == weights(agent), err


def checkpoint(folder: Path, step: int, text: str = "state") -> Path:
    made = folder / "scratch" / f"checkpoint-{step:06}"
    made.mkdir(parents=True)
    (made / "progress.json").write_text(f"{text} {step}")
    return made


@pytest.fixture
def home(proxy: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    machine(tmp_path, "one", monkeypatch)
    return store.opened(f"s3://ml-{secrets.token_hex(6)}/team", "sre")


def left(home: store.Store) -> list[str]:
    assert home.bucket is not None
    return sorted(Path(key).name for key in home.bucket.sizes(f"sre/{relay.ROOM}"))


def test_the_newest_whole_checkpoint_is_taken_up(home: store.Store, tmp_path: Path) -> None:
    given = relay.Relay(home, tmp_path / "a" / "adapter-1")
    checkpoint(tmp_path / "a" / "adapter-1", 3)
    given.give()
    checkpoint(tmp_path / "a" / "adapter-1", 6)
    given.give()
    assert left(home) == ["checkpoint-000006.tar"]
    work = tmp_path / "b" / "adapter-1"
    relay.Relay(home, work).take()
    taken = work / "scratch" / "checkpoint-000006"
    assert (taken / "progress.json").read_text() == "state 6"
    assert [path.name for path in (work / "scratch").glob("checkpoint-*")] == [taken.name]


def test_a_newer_checkpoint_of_this_machine_stays(home: store.Store, tmp_path: Path) -> None:
    checkpoint(tmp_path / "a" / "adapter-1", 6)
    relay.Relay(home, tmp_path / "a" / "adapter-1").give()
    checkpoint(tmp_path / "b" / "adapter-1", 9, "own")
    relay.Relay(home, tmp_path / "b" / "adapter-1").take()
    found = sorted((tmp_path / "b" / "adapter-1" / "scratch").glob("checkpoint-*"))
    assert [path.name for path in found] == ["checkpoint-000009"]


def test_a_changed_checkpoint_is_put_aside_and_the_training_begins_anew(
    home: store.Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint(tmp_path / "a" / "adapter-1", 6)
    relay.Relay(home, tmp_path / "a" / "adapter-1").give()
    assert home.bucket is not None
    (key,) = home.bucket.sizes(f"sre/{relay.ROOM}")
    home.bucket.put(key, b"something else")
    with tarfile.open(tmp_path / "outside.tar", "w") as archive:
        archive.add(tmp_path / "a" / "adapter-1" / "scratch" / "checkpoint-000006", "../x")
    packed = tmp_path / "outside.tar"
    newer = key.replace("000006", "000009")
    home.bucket.send(newer, packed, files.sha256(packed))
    work = tmp_path / "b" / "adapter-1"
    relay.Relay(home, work).take()
    assert not list((work / "scratch").glob("checkpoint-*"))
    assert not list(tmp_path.rglob("b/x"))
    assert caplog.text.count("is not taken up") == 2


def test_a_bucket_that_is_away_does_not_end_a_training(
    home: store.Store,
    proxy: Between,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(s3, "RETRIES", 0)
    proxy.rule = lambda call: CUT
    away = store.opened(home.place, "sre")
    work = tmp_path / "a" / "adapter-1"
    checkpoint(work, 3)
    given = relay.Relay(away, work)
    given.give()
    assert "checkpoint-000003 stays on this machine" in caplog.text
    proxy.forget()
    checkpoint(work, 6)
    given.give()
    assert left(home) == ["checkpoint-000006.tar"]


def test_checkpoints_of_what_is_made_are_deleted(home: store.Store, tmp_path: Path) -> None:
    def corpus(work: Path) -> dict[str, object]:
        return {"documents": 1, "dropped": 0, "digest": "d"}

    done = home.made(Corpus, {}, [], corpus)
    for name in (f"corpus-{done.id[:16]}", "adapter-1"):
        checkpoint(tmp_path / name, 3)
        relay.Relay(home, tmp_path / name).give()
    assert home.bucket is not None
    relay.clear(home)
    assert list(home.bucket.sizes(f"sre/{relay.ROOM}")) == [
        f"sre/{relay.ROOM}/adapter-1/checkpoint-000003.tar"
    ]
