"""Memory runs out in a real training, and the error says what to lower."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_llama  # noqa: F401
from test_lora import SMALL, example

from opslore import store
from opslore.errors import ConfigError
from opslore.models import Base
from opslore.trainers import shortage

FIT = """
import os, resource, sys, torch
torch.set_num_threads(1)
from pathlib import Path
from opslore import console, models
from opslore.config import Train
from opslore.errors import OpsloreError
from opslore.trainers import parallel
from opslore.trainers import torch as backend
from opslore.trainers.packing import Tokens

folder, digest, dataset, work, train, stop, room, where = sys.argv[1:]
base = models.Base("tiny", Path(folder), None, digest, "")

def stopped(step, steps, loss):
    if step == int(stop):
        os._exit(7)

def limited(pid):
    now = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (now + int(room) * 2**20,) * 2)

begun = parallel.Team.gradients
def gradients(self, parts, weights):
    # A short step first, so that every library is loaded.
    begun(self, [[Tokens([5, 6, 7, 8], 2)]] * 2, weights)
    limited(self._helpers[0]._process.pid if where == "helper" else os.getpid())
    return begun(self, parts, weights)
if int(room):
    parallel.Team.gradients = gradients
try:
    backend.fit(Train.model_validate_json(train), base, Path(dataset), Path(work), stopped)
except OpsloreError as error:
    sys.exit(console.explain(error))
"""


def fit(
    base: Base, dataset: Path, work: Path, micro: int, stop: int, room: int, where: str
) -> subprocess.CompletedProcess[str]:
    """A training that may take `room` MiB more once it is loaded (0: all), by the kernel's rule."""
    settings = {"batch_size": 8, "micro_batch": micro, "save_every": 1, "lora_layers": 2}
    train = SMALL.model_copy(update=settings)
    return subprocess.run(
        [sys.executable, "-c", FIT, str(base.folder), base.digest, str(dataset), str(work),
         train.model_dump_json(), str(stop), str(room), where],
        env={**os.environ, "OPSLORE_WORKERS": "2" if where == "helper" else "1",
             "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture
def long_examples(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    rows = [example(n, "very ill " * 300) for n in range(16)]
    store.write_rows(folder / "train.jsonl", rows)
    return folder


needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits another process's memory"
)


@needs_limits
def test_a_step_without_memory_says_what_to_lower_and_keeps_the_checkpoint(
    tiny_llama: Base, long_examples: Path, tmp_path: Path
) -> None:
    work = tmp_path / "w"
    done = fit(tiny_llama, long_examples, work, 1, 3, 0, "main")
    assert done.returncode == 7, done.stderr
    done = fit(tiny_llama, long_examples, work, 8, -1, 100, "main")
    assert done.returncode == ConfigError.exit_code, done.stderr
    said, hint = done.stderr.splitlines()[-2:]
    assert re.match(r"error: train: memory ran out(: .*memory.*)?; the checkpoint of step \d", said)
    assert "the checkpoint of step 2 is kept" in said
    # Half of the examples at once need half of the memory; the lengths as much or more.
    assert re.search(r"lower .*train\.micro_batch to 4 \(saves about 0\.\d GiB\)", hint)
    assert "the same command goes on, with other settings it starts anew" in hint
    assert list((work / "scratch").glob("checkpoint-000002/state.safetensors"))
    done = fit(tiny_llama, long_examples, work, 1, 4, 0, "main")
    assert done.returncode == 7, done.stderr
    assert list((work / "scratch").glob("checkpoint-000003/state.safetensors"))


@needs_limits
def test_a_helper_without_memory_says_the_same(
    tiny_llama: Base, long_examples: Path, tmp_path: Path
) -> None:
    done = fit(tiny_llama, long_examples, tmp_path / "w", 4, -1, 60, "helper")
    assert done.returncode == ConfigError.exit_code, done.stderr
    assert "train: memory ran out: a helping process ended: " in done.stderr
    assert "no checkpoint was written yet" in done.stderr
    assert "OPSLORE_WORKERS to 1" in done.stderr or "train.micro_batch to 2" in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_library_s_words_for_it_are_known(
    error: Exception, tiny_llama: Base, tmp_path: Path
) -> None:
    with (
        pytest.raises(ConfigError, match="memory ran out") as caught,
        shortage.explained(SMALL, tiny_llama, tmp_path, []),
    ):
        raise error
    assert "smaller base_model" in caught.value.hint


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EACCES, "no")])
def test_other_errors_stay_as_they_are(error: Exception, tiny_llama: Base, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, shortage.explained(SMALL, tiny_llama, tmp_path, []):
        raise error
    assert caught.value is error
