"""What is said of a training beforehand: its work, its memory, and what to lower."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_gemma, tiny_llama  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from opslore import modelfolder, models
from opslore.config import Train
from opslore.models import Base
from opslore.trainers import adapter, footprint, forecast, lengths
from opslore.trainers.estimate import Lengths, Shape, work
from opslore.trainers.footprint import Place, memory, savings
from opslore.trainers.packing import Tokens
from tests.bench.growth import dataset, llama

TINY = Shape(width=4, inner=6, blocks=3, heads=2, key_heads=1, head=2, words=10)
SMOLLM = Shape(width=576, inner=1536, blocks=30, heads=9, key_heads=3, head=64, words=49152)
SOME = Lengths([(200, 20), (250, 18), (300, 25), (459, 30)] * 40, 160)
EVEN = Lengths([(300, 20)] * 8, 8)
PLAIN = Train(general=0)


def shape_of(base: Base) -> Shape:
    return Shape.of(modelfolder.configuration(base.folder))


def done(train: Train, lengths: Lengths = SOME) -> float:
    return work(SMOLLM, train, lengths.batch(train)).total


def needed(train: Train, lengths: Lengths = SOME, place: Place | None = None) -> int:
    return memory(SMOLLM, train, lengths, place or Place()).total


class TestWork:
    def test_a_tiny_step_is_what_a_hand_counts(self) -> None:
        # One example of 5 tokens, 2 of them learned; the last of three blocks has an adapter.
        train = Train(general=0, lora_layers=1, lora_rank=2, batch_size=1)
        found = work(TINY, train, [Tokens([0] * 5, 3)])
        block = 4 * 4 + 2 * (4 * 2) + 4 * 4 + 3 * (4 * 6)
        assert TINY.block == block == 120
        assert found.frozen == 2 * 120 * 2 * 5
        assert found.learned == 4 * 120 * 1 * 5
        rows = (4 + 4) + 2 * (4 + 2) + (4 + 4) + 3 * (4 + 6)
        assert found.lora == 6 * (2 * rows) * 5
        assert found.head == 4 * (10 * 4) * 2
        # Half of 5 x 5 pairs, width 4: twice 2 forward in 3 blocks, twice that back in one.
        assert found.attention == (4 * 12.5 * 4) * (3 + 2)

    def test_kept_tokens_are_read_by_the_base_alone_too(self) -> None:
        train = Train(general=0, lora_layers=1, batch_size=1)
        learned, kept = (work(TINY, train, [Tokens([0] * 5, 3, k)]) for k in (False, True))
        assert kept.frozen - learned.frozen == 2 * 120 * 3 * 5
        assert kept.learned == learned.learned

    @pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma"])
    def test_shapes_and_weights_are_the_models_own(
        self, family: str, request: pytest.FixtureRequest
    ) -> None:
        base: Base = request.getfixturevalue(family)
        shape = shape_of(base)
        model = AutoModelForCausalLM.from_pretrained(base.folder)
        found = sum(w.numel() for name, w in model.named_parameters() if "norm" not in name)
        assert shape.parameters == found
        train = Train(lora_layers=2, lora_rank=3)
        adapted = get_peft_model(model, adapter.settings(train, shape.blocks))
        assert shape.adapter(train) == sum(
            w.numel() for w in adapted.parameters() if w.requires_grad
        )

    def test_a_gguf_that_is_not_converted_has_the_same_shape(
        self, tiny_llama: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "empty"))
        assert models.here(tiny_llama.name) is None
        told = models.configuration(tiny_llama.name)
        assert told is not None
        assert Shape.of(told) == shape_of(tiny_llama)


class TestGrowth:
    @given(
        key=st.sampled_from(["batch_size", "lora_rank", "lora_layers", "general"]),
        small=st.integers(1, 12), more=st.integers(1, 12),
    )  # fmt: skip
    def test_work_and_memory_grow_with_every_setting(self, key: str, small: int, more: int) -> None:
        less, much = (PLAIN.model_copy(update={key: n}) for n in (small, small + more))
        assert done(less) < done(much)
        # Of unlike lengths a longer batch may be divided into parts that are more alike.
        assert needed(less, EVEN) <= needed(much, EVEN)
        if key in ("lora_rank", "lora_layers"):
            assert needed(less) < needed(much)

    @given(tokens=st.integers(40, 1000), more=st.integers(8, 500))
    def test_and_with_the_examples_length(self, tokens: int, more: int) -> None:
        short, long = (Lengths([(n, 20)] * 8, 8) for n in (tokens, tokens + more))
        assert done(PLAIN, short) < done(PLAIN, long)
        assert needed(PLAIN, short) < needed(PLAIN, long)

    @given(size=st.integers(2, 16), part=st.integers(1, 8))
    def test_micro_batch_lowers_memory_and_not_work(self, size: int, part: int) -> None:
        whole, parts = (
            PLAIN.model_copy(update={"batch_size": size, "micro_batch": n})
            for n in (size, min(part, size))
        )
        assert done(whole) == done(parts)
        assert needed(parts) <= needed(whole)
        one = PLAIN.model_copy(update={"batch_size": size, "micro_batch": 1})
        assert needed(one) < needed(whole)

    def test_processes_share_the_model_on_a_cpu_and_each_card_has_its_own(self) -> None:
        one, two = (memory(SMOLLM, PLAIN, SOME, Place(processes=n)) for n in (1, 2))
        # A single process reads the file as it is, which then stays mapped beside the weights.
        assert two.base == one.base - 2 * SMOLLM.parameters == 4 * SMOLLM.parameters
        assert two.program == 2 * one.program
        cards = [memory(SMOLLM, PLAIN, SOME, Place("cuda", 2, 64, n, False)) for n in (1, 2)]
        assert cards[1].base == 2 * cards[0].base
        assert cards[0].program == 0

    def test_four_bits_are_an_eighth_of_a_blocks_weights(self) -> None:
        small = PLAIN.model_copy(update={"load_in_4bit": True})
        place = Place(mapped=False)
        whole, less = (memory(SMOLLM, train, SOME, place).base for train in (PLAIN, small))
        saved = SMOLLM.blocks * SMOLLM.block * (4 - 0.52)
        assert whole - less == pytest.approx(saved, rel=1e-6)

    def test_half_precision_halves_the_activations(self) -> None:
        one = memory(SMOLLM, PLAIN, SOME, Place())
        half = memory(SMOLLM, PLAIN, SOME, Place(width=2))
        assert half.activations == pytest.approx(one.activations / 2)


class TestSavings:
    def test_they_are_what_the_estimate_says(self) -> None:
        place = Place(processes=2)
        found = {one.key: one for one in savings(SMOLLM, PLAIN, SOME, place)}
        layers = found["train.lora_layers"]
        assert layers.value == 8
        less = PLAIN.model_copy(update={"lora_layers": 8})
        assert layers.saved == needed(PLAIN, place=place) - needed(less, place=place)
        assert found["OPSLORE_WORKERS"].saved > 1 << 30

    def test_the_largest_comes_first_and_depends_on_the_settings(self) -> None:
        found = savings(SMOLLM, PLAIN, SOME, Place())
        assert [one.saved for one in found] == sorted((s.saved for s in found), reverse=True)
        assert all(one.saved > 0 for one in found)
        wide = PLAIN.model_copy(update={"lora_rank": 512, "micro_batch": 1})
        keys = [[one.key for one in savings(SMOLLM, t, SOME, Place())] for t in (PLAIN, wide)]
        narrow_place, wide_place = (some.index("train.lora_rank") for some in keys)
        assert wide_place < narrow_place
        long = Lengths([(2000, 20)] * 8, 8)
        most = savings(SMOLLM, PLAIN.model_copy(update={"micro_batch": 1}), long, Place())
        assert most[0].key == footprint.SHORTER
        assert "train.micro_batch" not in {one.key for one in most}


class TestForecast:
    def test_it_tells_a_range_and_what_is_short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = {}
        for free in (64 << 30, 1 << 30):
            monkeypatch.setattr(forecast.machine, "free_memory", lambda free=free: free)
            found[free] = forecast.forecast(PLAIN, SMOLLM, SOME, SOME, "dataset", True)
        rich, poor = found.values()
        assert 0 < rich.seconds_least < rich.seconds_most
        assert rich.fits
        assert rich.mend() == ""
        assert not poor.fits
        assert poor.mend().startswith(f"lower {poor.savings[0].told()}")
        assert rich.step_work == pytest.approx(done(PLAIN))
        assert forecast.Forecast.model_validate_json(rich.model_dump_json()) == rich

    def test_more_steps_take_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forecast, "speed", lambda *_: 1e11)
        some = [
            forecast.forecast(
                PLAIN.model_copy(update={"iters": n}), SMOLLM, SOME, SOME, "dataset", True
            ).seconds_least
            for n in (10, 20, 40)
        ]
        assert some == sorted(some)
        # What is beside the steps is there once.
        assert some[2] - some[1] == pytest.approx(2 * (some[1] - some[0]), rel=0.1)

    def test_the_speed_of_this_machine_is_that_of_a_product(self) -> None:
        place = Place()
        before = torch.get_num_threads()
        found = forecast.speed(SMOLLM, 400, place)
        assert 1e8 < found < 1e15
        assert torch.get_num_threads() == before

    def test_a_sample_has_the_longest_example(
        self, tiny_llama: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = dataset(tmp_path, str(tiny_llama.gguf), 120, 50)
        monkeypatch.setattr(lengths, "SAMPLE", 10)
        found = lengths.counted(tiny_llama.folder, tmp_path / "train.jsonl", 2048)
        assert found is not None
        assert (len(found.lines), found.count) == (10, 50)
        assert found.longest == told.longest
        assert found.mean == pytest.approx(told.mean, rel=0.1)
        assert lengths.counted(tiny_llama.folder, tmp_path / "none.jsonl", 2048) is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_real_training_takes_less_than_estimated_and_more_than_half(
    workers: int, model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = models.resolve(str(llama(tmp_path / "base", (256, 8, 704, 4, 2))))
    train = Train(iters=3, general=0, batch_size=4, micro_batch=2)
    data = tmp_path / "data"
    told = dataset(data, base.name, 400, 8)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.train_arm", "opslore", base.name, str(data), "-",
         str(tmp_path / "work"), train.model_dump_json()],
        env={**os.environ, "OPSLORE_WORKERS": str(workers), "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = json.loads(done.stdout.splitlines()[-1])["peak_mb"] * footprint.MIB
    monkeypatch.setenv("OPSLORE_WORKERS", str(workers))
    shape = shape_of(base)
    where = replace(forecast.place(train, shape, told, False), grain=8)
    assert where.processes == workers
    assert peak <= memory(shape, train, told, where).total < 2 * peak
