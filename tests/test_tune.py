"""`opslore tune` on a tiny model: it finds, keeps, goes on, and leaves alone what is not better."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tiny_models
from base_models import model_cache  # noqa: F401
from flow_world import environment, runbook

from opslore import cli, config, steps, tuner
from opslore.cards import Adapter, Dataset
from opslore.tuning import Done

AGENT = """\
name: tiny   # the smallest
base_model: tiny.gguf
collect: [{path: RUNBOOK.md}]
prepare: {s1: 10, s2: 3, s3: 6, s4: 3, phrasings: 2, calibrate: 30, valid: 0.4, embedder: none}

# Chosen in haste.
train: {backend: tuneplug.narrow, learning_rate: 1e-4, iters: 16,
  lora_layers: 1, batch_size: 2, general: 0}  # ?
"""

NARROW = """\
from functools import partial
from opslore.errors import ConfigError, DataError
from opslore.trainers import loop
from opslore.trainers.torch import merge, team

def fit(train, base, dataset, work, progress=None):
    if (train.lora_rank, train.batch_size, train.lora_layers) != (8, 2, 1):
        failed = ConfigError if train.lora_rank != 8 else DataError
        raise failed("memory ran out" if train.lora_rank != 8 else "step 1: the loss is nan")
    def step(done, total, loss):
        with open("steps.log", "a") as log:
            log.write(f"{work.name} {done} {total}\\n")
        progress(done, total, loss)
    return loop.fit(train, base, dataset, work, step, partial(team, train, base))
"""
"""A trainer of somebody's own: PyTorch's with a log of every step, and a taste in ranks."""

LUCK = """\
import zlib
from tuneplug import narrow
from tuneplug.narrow import merge

def fit(train, base, dataset, work, progress=None):
    seed = zlib.crc32(repr(train.learning_rate).encode()) % 1000 + train.seed
    same = train.model_copy(update={"learning_rate": 5e-3, "seed": seed})
    return narrow.fit(same, base, dataset, work, progress)
"""
"""A trainer whose learning rate is nothing but another seed."""


@pytest.fixture(scope="module")
def first(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an agent whose learning rate is absurdly small, its dataset prepared."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "tiny.yaml").write_text(AGENT)
    (folder / "tuneplug").mkdir()
    (folder / "tuneplug" / "narrow.py").write_text(NARROW)
    (folder / "tuneplug" / "luck.py").write_text(LUCK)
    tiny_models.llama(folder / "tiny.gguf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        agent = config.load(Path("tiny.yaml"))
        steps.prepare(agent, steps.collect(agent))
    return folder


@pytest.fixture
def here(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder."""
    folder = tmp_path / "here"
    shutil.copytree(first, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def trials(folder: Path) -> dict[str, Done]:
    found = sorted((folder / "runs" / "tiny" / "tune").glob("*/trial.json"))
    return {path.parent.name: Done.model_validate_json(path.read_bytes()) for path in found}


def times(folder: Path) -> dict[Path, int]:
    found = (folder / "runs" / "tiny" / "tune").glob("*/*.json")
    return {path: path.stat().st_mtime_ns for path in found}


def test_an_absurd_learning_rate_is_mended_in_the_agent_file_and_nothing_is_trained_twice(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = say(capsys, "tune", "tiny.yaml", "--minutes", "10", "--dry-run", "--json")
    assert code == 0, err
    assert "plan: up to" in err
    dry = json.loads(out)
    assert not dry["written"]
    assert (here / "tiny.yaml").read_text() == AGENT
    changes = {one["key"]: one["new"] for one in dry["changes"]}
    assert changes["learning_rate"] >= 16e-4
    full = [row for row in dry["trials"] if row["whole"]]
    assert full[0]["name"] == "configured"
    won = next(row for row in full if row["name"] == dry["winner"])
    assert won["difference"]["high"] < 0
    assert won["loss"] < full[0]["loss"]
    assert dry["spent"] < 10

    # The trainer's own validation loss is the one that the trials are compared by.
    for name, done in trials(here).items():
        if done.failure:
            continue
        folder = here / "runs" / "tiny" / "tune" / name
        last = (folder / "loss.jsonl").read_text().splitlines()[-1]
        assert done.loss == pytest.approx(json.loads(last)["valid_loss"], rel=1e-4)
        assert not (folder / "merged").exists()

    before = times(here)
    trained = (here / "steps.log").read_text()
    code, out, err = say(capsys, "tune", "tiny.yaml", "--minutes", "10")
    assert code == 0, err
    assert times(here) == before
    assert (here / "steps.log").read_text() == trained
    assert f"learning_rate: 0.0001 -> {changes['learning_rate']:g}" in out
    assert "next: opslore run tiny.yaml" in out
    text = (here / "tiny.yaml").read_text()
    told = "".join(text.partition("train:")[:2])
    assert told == "".join(AGENT.partition("train:")[:2])
    assert text.endswith("}  # ?\n")
    agent = config.load(here / "tiny.yaml")
    found = agent.train.model_dump()
    assert {key: found[key] for key in changes} == changes

    page = Path(out.rpartition("page: ")[2].strip())
    assert dry["verdict"].split(":")[0] in page.read_text()
    assert "<svg" in page.read_text()

    # What was trained in full length is taken over by the next `train`: no step is made again.
    adapter = steps.train(agent, steps.store_of(agent).latest(Dataset))
    assert (here / "steps.log").read_text() == trained
    assert adapter.steps == agent.train.iters
    assert adapter.valid_loss == pytest.approx(won["loss"], rel=1e-4)


def test_luck_changes_nothing_and_a_candidate_that_fails_is_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = AGENT.replace("narrow", "luck")
    (here / "tiny.yaml").write_text(agent)
    code, out, err = say(capsys, "tune", "tiny.yaml", "--minutes", "10", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["changes"] == []
    assert (found["winner"], found["written"]) == ("", False)
    assert "stay" in found["verdict"]
    assert found["seed_gap"] > 0
    assert (here / "tiny.yaml").read_text() == agent
    failed = [row for row in found["trials"] if row["failure"]]
    assert {row["name"] for row in failed} >= {"lora_rank 16", "batch_size 1"}
    assert all(row["loss"] is None for row in failed)
    told = {row["settings"]["lora_rank"] != 8: row["failure"] for row in failed}
    assert told == {True: "memory ran out", False: "step 1: the loss is nan"}


def test_killed_and_called_again_it_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "tiny.yaml").write_text(AGENT.replace("16,", "64,").replace("1e-4", "1e-3"))
    agent = config.load(Path("tiny.yaml"))
    home = steps.store_of(agent)
    adapter = steps.train(agent, home.latest(Dataset))
    command = [sys.executable, "-m", "opslore", "tune", "tiny.yaml", "--minutes", "20", "--json"]
    env = environment()
    env["PYTHONPATH"] = f"{here}:{env['PYTHONPATH']}"
    log = here / "steps.log"
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as running:
        until = time.monotonic() + 200
        while time.monotonic() < until and running.poll() is None:
            lines = log.read_text().split("\n") if log.is_file() else []
            if len(trials(here)) >= 2 and lines[-2].split()[1:] == ["10", "16"]:
                break
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    kept = times(here)
    assert len(trials(here)) >= 2
    code, out, err = say(capsys, *command[3:])
    assert code == 0, err
    after = times(here)
    assert {path: after[path] for path in kept if path.name == "trial.json"} == {
        path: at for path, at in kept.items() if path.name == "trial.json"
    }
    counts = Counter(line.rpartition(" ")[0] for line in log.read_text().splitlines())
    again = [line for line, count in counts.items() if count > 1]
    # A short trial keeps every fourth of its 16 steps: those since then are made anew.
    assert len({line.split()[0] for line in again}) == 1
    assert 1 <= len(again) <= 4
    assert max(counts.values()) == 2
    found = json.loads(out)
    assert found["changes"]

    # What `train` had made of the configured settings was taken as it was, and is still the newest.
    full = next(row for row in found["trials"] if row["whole"])
    assert (full["name"], full["id"]) == ("configured", adapter.id)
    assert full["loss"] == pytest.approx(adapter.valid_loss, rel=1e-4)
    assert max(counts[f"{adapter.id[:16]} {step}"] for step in range(65)) == 0
    assert home.latest(Adapter).id == adapter.id


def test_too_little_time_is_refused_with_the_minutes_that_are_needed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = say(capsys, "tune", "tiny.yaml", "--minutes", "0.001")
    assert (code, out) == (2, "")
    assert "full trainings take about" in err
    assert "hint: opslore tune tiny.yaml --minutes " in err
    assert (here / "tiny.yaml").read_text() == AGENT
    code, _, err = say(capsys, "tune", "tiny.yaml", "--minutes", "0")
    assert code == 2
    assert "must be more than 0" in err


def test_without_validation_examples_there_is_nothing_to_compare_by(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "tiny.yaml").write_text(AGENT.replace("valid: 0.4", "valid: 0"))
    code, _, err = say(capsys, "tune", "tiny.yaml")
    assert code == 65
    assert "too few validation examples" in err
    assert "prepare.valid" in err


def test_a_damaged_record_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = config.load(Path("tiny.yaml"))
    dataset = steps.store_of(agent).latest(Dataset)
    trials_ = tuner.Trials(agent, dataset)
    short = tuner.Space(agent.train, 2).settings(tuner.CONFIGURED)
    assert short is not None
    path = trials_.folder / trials_.identity(short)[:16] / "trial.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    code, _, err = say(capsys, "tune", "tiny.yaml")
    assert code == 4
    assert "not a trial" in err
    assert str(path.parent) in err
