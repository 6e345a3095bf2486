"""Training in more than one process: the same numbers, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_llama  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_lora import SMALL, dataset  # noqa: F401

from opslore.errors import ServerError
from opslore.models import Base
from opslore.trainers import loop, parallel
from opslore.trainers import torch as backend
from opslore.trainers.learner import Learner
from opslore.trainers.packing import Tokens

FIT = (
    "import sys, torch; torch.set_num_threads(1); from pathlib import Path\n"
    "from opslore.config import Train; from opslore.models import Base\n"
    "from opslore.trainers import torch as backend\n"
    "folder, digest, dataset, work, train = sys.argv[1:]\n"
    "backend.fit(Train.model_validate_json(train), Base('tiny', Path(folder), None, digest, ''),"
    " Path(dataset), Path(work))\n"
)


def start(
    base: Base, dataset: Path, work: Path, workers: int, iters: int = 6
) -> subprocess.Popen[str]:
    train = SMALL.model_copy(update={"iters": iters, "save_every": 2, "batch_size": 4})
    return subprocess.Popen(
        [sys.executable, "-c", FIT, str(base.folder), base.digest, str(dataset), str(work),
         train.model_dump_json()],
        env={**os.environ, "OPSLORE_WORKERS": str(workers), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def helpers_of(pid: int) -> list[int]:
    """Processes that `pid` has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue
        if int(fields["PPid"]) == pid and not fields["State"].strip().startswith("Z"):
            found.append(int(status.parent.name))
    return found


def waited_for(condition: object, seconds: float = 240.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=17), each=st.integers(1, 5))
def test_a_batch_is_divided_without_loss_into_nearly_equal_parts(
    lengths: list[int], each: int
) -> None:
    batch = [Tokens([0] * n, 0) for n in lengths]
    parts = parallel.divided(batch, each)
    assert sorted(map(id, batch)) == sorted(id(t) for part in parts for t in part)
    assert all(1 <= len(part) <= each for part in parts)
    sums = [sum(len(t.ids) for t in part) for part in parts]
    assert max(sums) - min(sums) <= max(lengths)


def test_the_adapter_does_not_depend_on_the_number_of_processes(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    for workers in (1, 2):
        process = start(tiny_llama, dataset, tmp_path / str(workers), workers)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    one, two = (
        load_file(tmp_path / str(n) / "adapter" / "adapter_model.safetensors") for n in (1, 2)
    )
    assert one.keys() == two.keys()
    assert any(bool(weight.any()) for name, weight in one.items() if "lora_B" in name)
    for name in one:
        assert torch.equal(one[name], two[name]), name
    rows = [(tmp_path / str(n) / "loss.jsonl").read_text().splitlines() for n in (1, 2)]
    assert [r.split('"seconds"')[0] for r in rows[0]] == [r.split('"seconds"')[0] for r in rows[1]]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_helper_outlives_the_training(
    tiny_llama: Base, dataset: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(tiny_llama, dataset, tmp_path / "w", 2, iters=5000)
    try:
        saved = tmp_path / "w" / "scratch"
        assert waited_for(lambda: process.poll() or list(saved.glob("checkpoint-??????")))
        assert process.poll() is None, process.communicate()
        helpers = helpers_of(process.pid)
        assert len(helpers) == 1
    finally:
        process.send_signal(number)
        process.communicate(timeout=60)
    assert waited_for(lambda: not Path(f"/proc/{helpers[0]}/cmdline").exists())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_helper_that_is_killed_is_an_error_and_the_checkpoint_is_kept(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    process = start(tiny_llama, dataset, tmp_path / "w", 2, iters=5000)
    saved = tmp_path / "w" / "scratch"
    try:
        assert waited_for(lambda: process.poll() or list(saved.glob("checkpoint-??????")))
        assert process.poll() is None, process.communicate()
        os.kill(helpers_of(process.pid)[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "train: a helping process ended: it was killed; is memory short?" in said
    assert "OPSLORE_WORKERS=1 trains in one process" in said
    assert list(saved.glob("checkpoint-??????/state.safetensors"))


def test_a_helper_that_cannot_load_the_model_says_why(
    tiny_llama: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSLORE_WORKERS", "2")
    gone = tmp_path / "gone"
    job = parallel.Job(SMALL, tiny_llama, 2, "cpu")
    team = parallel.Team(lambda: Learner(job))
    team._helpers.append(parallel._Helper(1, replace(job, weights=gone)))
    part = [Tokens([5, 6, 7, 8], 2)]
    weights = [w.detach().float() for w in team.learner.used]
    with team, pytest.raises(ServerError, match=r"a helping process ended: .*gone") as caught:
        team.gradients([part, part], weights)
    assert caught.value.retryable


def test_a_small_training_starts_no_process(
    tiny_llama: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPSLORE_WORKERS", raising=False)
    run = loop.Run(
        SMALL, tiny_llama, dataset, tmp_path / "w", partial(backend.team, SMALL, tiny_llama)
    )
    with run.team:
        assert run.team._helpers == []


def test_processes_are_limited_by_parts_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPSLORE_WORKERS", raising=False)
    monkeypatch.setattr(parallel.machine, "cores", lambda: 8)
    monkeypatch.setattr(parallel.machine, "free_memory", lambda: 40)
    assert parallel.processes(1e12, 4, 1) == 1
    assert parallel.processes(1e14, 4, 1) == 4
    assert parallel.processes(1e14, 4, 10) == 3
    assert parallel.processes(1e14, 4, 100) == 1
    monkeypatch.setattr(parallel.machine, "cores", lambda: 2)
    assert parallel.processes(1e14, 4, 1) == 2
    monkeypatch.setenv("OPSLORE_WORKERS", "3")
    assert parallel.processes(0, 4, 100) == 3


def test_each_card_takes_a_part_of_the_batch(
    tiny_llama: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(cards: int, device: str = "cuda", **changed: int) -> list[str]:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
        train = SMALL.model_copy(update={"batch_size": 4, **changed})
        return backend.places(train, tiny_llama, 100, torch.device(device))

    assert places(1) == ["cuda:0"]
    assert places(2) == ["cuda:0", "cuda:1"]
    assert places(3) == ["cuda:0", "cuda:1"]  # of two examples each
    assert places(8) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert places(8, micro_batch=2) == ["cuda:0", "cuda:1"]
    assert places(1, micro_batch=1) == ["cuda:0"]
    assert places(0, "mps") == ["mps"]


def test_a_batch_in_smaller_parts_learns_the_same(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    found = []
    for size in (1, 4):
        train = SMALL.model_copy(update={"iters": 6, "batch_size": 4, "micro_batch": size})
        backend.fit(train, tiny_llama, dataset, tmp_path / str(size))
        found.append(load_file(tmp_path / str(size) / "adapter" / "adapter_model.safetensors"))
    for name, weight in found[0].items():
        assert torch.allclose(weight, found[1][name], rtol=1e-3, atol=1e-4), name
