"""What every trainer keeps, whoever computes: the same tests for torch, MLX and Unsloth."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_llama  # noqa: F401
from test_adapter import environment
from test_lora import example
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore import store, trainers
from opslore.bundle import gguf
from opslore.config import Train
from opslore.errors import DataError, OpsloreError
from opslore.models import Base
from opslore.servers import llamacpp
from opslore.servers import trained as transformers_server

LEARNS = Train(iters=40, learning_rate=1e-2, batch_size=3, lora_layers=2, save_every=8, seed=1,
               general=0)  # fmt: skip
"""Enough for the tiny model to know its three commands by heart."""

ADAPTER = "adapter/adapter_model.safetensors"

CI_HAS = {"torch", "mlx"} if platform.machine() == "x86_64" else {"torch"}
"""What must run in CI on Linux."""

FIT = (
    "import os, sys, torch; torch.set_num_threads(1); from pathlib import Path\n"
    "from opslore import trainers; from opslore.config import Train\n"
    "from opslore.models import Base\n"
    "name, folder, dataset, work, train, stop = sys.argv[1:]\n"
    "trainers.load(name).fit(\n"
    "    Train.model_validate_json(train), Base('tiny', Path(folder), None, '', ''),\n"
    "    Path(dataset), Path(work),\n"
    "    lambda step, steps, loss: os._exit(137) if step == int(stop) else None)\n"
)


@pytest.fixture(scope="module", params=trainers.BUILT_IN)
def name(request: pytest.FixtureRequest) -> str:
    """A trainer that can run here."""
    try:
        trainers.load(request.param)
    except OpsloreError as error:
        if os.environ.get("CI") == "true" and sys.platform == "linux" and request.param in CI_HAS:
            raise
        pytest.skip(error.message)
    return str(request.param)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract") / "dataset"
    store.write_rows(folder / "train.jsonl", [example(n) for n in range(12)])
    store.write_rows(folder / "valid.jsonl", [example(n) for n in range(3)])
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many here as in the process that is killed: sums over more are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def work(
    name: str, tiny_llama: Base, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished training."""
    folder = tmp_path_factory.mktemp(name) / "whole"
    trainers.load(name).fit(LEARNS, tiny_llama, dataset, folder)
    return folder


def test_the_loss_falls_and_every_step_is_in_the_log(work: Path) -> None:
    rows = [json.loads(line) for line in (work / "loss.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, LEARNS.iters + 1))
    assert sum(row["loss"] for row in rows[-5:]) < 0.2 * sum(row["loss"] for row in rows[:5])
    heard = [row["valid_loss"] for row in rows if row["valid_loss"] is not None]
    assert heard[-1] < 0.2 * heard[0]


def test_a_killed_run_ends_with_the_same_adapter(
    name: str, tiny_llama: Base, dataset: Path, work: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    arguments = [name, tiny_llama.folder, dataset, killed, LEARNS.model_dump_json(), 19]
    command = [sys.executable, "-c", FIT, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), check=False, timeout=600)
    assert done.returncode == 137
    assert not (killed / "adapter").exists()
    trainers.load(name).fit(LEARNS, tiny_llama, dataset, killed)
    assert store.sha256(killed / ADAPTER) == store.sha256(work / ADAPTER)
    assert len((killed / "loss.jsonl").read_text().splitlines()) == LEARNS.iters


def test_the_same_seed_gives_the_same_adapter(
    name: str, tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        train = LEARNS.model_copy(update={"iters": 2, "seed": seed})
        trainers.load(name).fit(train, tiny_llama, dataset, tmp_path / str(number))
        digests.append(store.sha256(tmp_path / str(number) / ADAPTER))
    assert digests[0] == digests[1] != digests[2]


def test_the_adapter_is_a_peft_folder_and_merged_it_says_the_same(
    tiny_llama: Base, work: Path
) -> None:
    from peft import PeftModel

    names = sorted(path.name for path in (work / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    base = AutoModelForCausalLM.from_pretrained(tiny_llama.folder, dtype=torch.float32)
    pair = [
        PeftModel.from_pretrained(base, str(work / "adapter")).eval(),
        AutoModelForCausalLM.from_pretrained(work / "merged", dtype=torch.float32).eval(),
    ]
    asked = AutoTokenizer.from_pretrained(work / "merged").apply_chat_template(
        [turn.model_dump() for turn in example(1).messages[:-1]],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        adapted, merged = (model(**asked).logits for model in pair)
    assert torch.allclose(adapted, merged, atol=0.01 * float(adapted.abs().max()))
    said = [m.generate(**asked, max_new_tokens=12, do_sample=False)[0].tolist() for m in pair]
    assert said[0] == said[1]
    template = "chat_template.jinja"
    assert (work / "merged" / template).read_text() == (tiny_llama.folder / template).read_text()


def test_merged_and_as_gguf_the_model_answers_and_ends_its_turn(
    tiny_llama: Base, work: Path, tmp_path: Path
) -> None:
    template = (work / "merged" / "chat_template.jinja").read_text(encoding="utf-8")
    gguf.write(work / "merged", tmp_path / "f16.gguf", "f16", tiny_llama, template)
    rows = [example(number) for number in range(3)]
    asked = [row.messages[:-1] for row in rows]
    with transformers_server.Server(work / "merged") as server:
        merged = list(server.chat_many(asked, max_tokens=24))
    with llamacpp.Server(tmp_path / "f16.gguf", context=512, threads=1) as server:
        packed = [server.chat(turns, max_tokens=24) for turns in asked]
    for replies in (merged, packed):
        assert [reply.text for reply in replies] == [row.target for row in rows]
        assert all(reply.stopped for reply in replies)


def test_what_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    name: str, tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    wild = LEARNS.model_copy(update={"learning_rate": 1e30, "save_every": 1})
    with pytest.raises(DataError, match=r"^step 2: the (loss|gradient) is (nan|inf)") as caught:
        trainers.load(name).fit(wild, tiny_llama, dataset, tmp_path / "work")
    assert caught.value.hint == "lower train.learning_rate; the last good checkpoint is kept"
    assert (tmp_path / "work/scratch/checkpoint-000001/state.safetensors").is_file()
    assert not (tmp_path / "work" / "adapter").exists()
