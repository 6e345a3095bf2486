"""Each trick of the trainer has a switch, and changes nothing but the time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_gemma, tiny_llama  # noqa: F401
from test_adapter import TINY, dataset, example, plain_gradients  # noqa: F401

from opslore import store
from opslore.errors import ConfigError
from opslore.models import Base
from opslore.trainers import loop, parallel, tricks
from opslore.trainers import torch as backend
from opslore.trainers.packing import Tokens, pack, sharing

LEARNED = TINY.model_copy(update={"lora_layers": 7, "batch_size": 4})
MEASURED = [name for name in tricks.TRICKS if name not in ("bf16", "processes")]


@pytest.fixture(params=["tiny_llama", "tiny_gemma"])
def family(request: pytest.FixtureRequest) -> Base:
    found: Base = request.getfixturevalue(request.param)
    return found


def a_run(base: Base, dataset: Path, work: Path) -> loop.Run:
    run = loop.Run(LEARNED, base, dataset, work, partial(backend.team, LEARNED, base))
    run.team.learner.model.float()  # type: ignore[attr-defined]
    rng = torch.Generator().manual_seed(4)
    # B starts as zeros, and then A has no gradient: give both something to learn.
    run.master = [torch.randn(weight.shape, generator=rng) * 0.1 for weight in run.used]
    run.team.learner.take(run.master)
    return run


@pytest.mark.parametrize("without", [*MEASURED, ",".join(MEASURED)])
def test_loss_and_gradient_are_those_of_peft_without_a_trick_too(
    without: str, family: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tricks.VARIABLE, without)
    run = a_run(family, dataset, tmp_path / "w")
    batch = [run.examples[i] for i in (1, 4, 8, 11)]
    kept = [Tokens(run.examples[i].ids, 1, kept=True) for i in (2, 5)]
    loss, found = run.team.gradients(parallel.divided([*batch, *kept], 3), run.master)
    expected = plain_gradients(run, family, batch, kept)
    for name, gradient in zip(run.names, found, strict=True):
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 1e-3, name
    monkeypatch.delenv(tricks.VARIABLE)
    whole, _ = a_run(family, dataset, tmp_path / "v").team.gradients(
        parallel.divided([*batch, *kept], 3), run.master
    )
    assert loss == pytest.approx(whole, rel=1e-5)


def test_what_all_prompts_begin_with_stands_in_a_row_once(
    tiny_llama: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tiny_llama, dataset, tmp_path / "w")
    batch = run.examples[:3]
    common = batch[0].shared
    assert all(t.shared == common and t.ids[:common] == batch[0].ids[:common] for t in batch)
    said = run.tokenizer.decode(batch[0].ids[:common])
    assert "Answer with the command." in said
    once = pack(batch, 2, 8)
    assert once.lines[0] == common
    assert once.sharing == 3
    monkeypatch.setenv(tricks.VARIABLE, "prefix")
    each = pack(batch, 2, 8)
    assert each.sharing == 0
    saved = each.ids.shape[1] - once.ids.shape[1]
    assert 2 * common - 3 * 8 < saved <= 2 * common + 3 * 8
    # The places moved, what is learned there did not.
    for row in (once, each):
        wanted = row.labels != -100
        assert row.labels[wanted].tolist() == [i for t in batch for i in t.ids[t.start :]]
        follows = row.ids[0, row.learn[wanted][:3] + 1].tolist()
        assert follows == batch[0].ids[batch[0].start :][:3]


def test_one_example_and_what_is_kept_share_nothing(tiny_llama: Base) -> None:
    one = [Tokens(list(range(9, 29)), 12)]
    assert sharing(one)[0].shared == 0
    learned = sharing([*one, Tokens([*range(9, 21), 3, 4, 5], 13)])
    assert learned[0].shared == 11
    row = pack([learned[0], Tokens(list(range(9, 29)), 1, kept=True)], 2, 8)
    assert (row.sharing, row.lines) == (0, [24, 24])


def test_what_is_read_is_rounded_up_with_other_places() -> None:
    row = pack([Tokens(list(range(9, 79)), 60), Tokens(list(range(9, 29)), 18, kept=True)], 2, 8)
    read = row.read.tolist()
    assert read == sorted(set(read))
    assert len(read) % 8 == 0
    assert {*row.learn.tolist(), *row.keep.tolist()} <= set(read)


def test_a_trick_that_there_is_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tricks.VARIABLE, "head, sparkle")
    with pytest.raises(ConfigError, match="OPSLORE_TRAIN_WITHOUT: no trick sparkle") as caught:
        tricks.used("head")
    assert "packing, prefix, head" in caught.value.hint


def test_processes_and_half_precision_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from opslore.trainers import learner

    monkeypatch.delenv("OPSLORE_WORKERS", raising=False)
    monkeypatch.setattr(parallel.machine, "cores", lambda: 8)
    monkeypatch.setattr(parallel.machine, "free_memory", lambda: 40)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert parallel.processes(1e14, 4, 1) == 4
    assert learner.dtype(torch.device("cpu")) == torch.bfloat16
    monkeypatch.setenv(tricks.VARIABLE, "processes,bf16")
    assert parallel.processes(1e14, 4, 1) == 1
    assert learner.dtype(torch.device("cpu")) == torch.float32


def test_a_training_without_tricks_learns_the_same(
    tiny_llama: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_rows(dataset / "valid.jsonl", [example(n, 6) for n in range(4)])
    found = []
    for name, without in (("with", ""), ("without", ",".join(tricks.TRICKS))):
        monkeypatch.setenv(tricks.VARIABLE, without)
        found.append(backend.fit(TINY, tiny_llama, dataset, tmp_path / name)["valid_loss"])
    assert found[0] == pytest.approx(found[1], rel=2e-2)
