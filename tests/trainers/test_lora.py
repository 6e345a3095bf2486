"""The LoRA trainer against plain transformers and PEFT, on tiny Llama and Gemma 3 models."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from base_models import model_cache, tiny_gemma, tiny_llama  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore import store, trainers
from opslore.cards import Example, Message, Span
from opslore.config import Train
from opslore.errors import DataError
from opslore.models import Base
from opslore.trainers import packing
from opslore.trainers import torch as backend
from opslore.trainers.packing import Tokens, pack, stratified, tokenize

SMALL = Train(iters=24, learning_rate=5e-3, batch_size=3, lora_layers=2, save_every=8, seed=1)


def example(number: int, extra: str = "") -> Example:
    target = f"kubectl get pods -n team-{number % 3}"
    return Example(
        id=f"train-{number}",
        messages=[
            Message(role="system", content="Answer with the command."),
            Message(role="user", content=f"pods of team {number % 3} are ill {extra}"),
            Message(role="assistant", content=target),
        ],
        target=target,
        source=Span(file="RUNBOOK.md", first=1, last=1),
        group=f"g{number % 3}",
        split="train",
        family="chat/train-0",
        question="q",
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    store.write_rows(folder / "train.jsonl", [example(n, "x " * (n % 7)) for n in range(14)])
    store.write_rows(folder / "valid.jsonl", [example(n) for n in range(3)])
    return folder


def some_tokens(vocabulary: int, lengths: list[int]) -> list[Tokens]:
    rng = random.Random(0)
    return [Tokens([rng.randrange(5, vocabulary) for _ in range(n)], n - 7) for n in lengths]


def losses(base: Base, lengths: list[int], learning: bool) -> tuple[float, float]:
    """The packed loss, and transformers' own example by example."""
    packed = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=torch.float32, attn_implementation=packing.ATTENTION
    )
    plain = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=torch.float32, attn_implementation="eager"
    )
    batch = some_tokens(packed.get_input_embeddings().num_embeddings, lengths)
    row = pack(batch, 2)
    with torch.set_grad_enabled(learning):
        hidden = packed.model(
            input_ids=row.ids, position_ids=row.positions, use_cache=False, lines=row.lines
        ).last_hidden_state[0]
        ours = torch.nn.functional.cross_entropy(packed.lm_head(hidden[row.learn]), row.labels)
        total, count = 0.0, 0
        for tokens in batch:
            logits = plain(input_ids=torch.tensor([tokens.ids])).logits[0, tokens.start - 1 : -1]
            labels = torch.tensor(tokens.ids[tokens.start :])
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            count += len(labels)
    return float(ours), total / count


class TestPacking:
    # Where something is learned below, attention is another kernel than where nothing is.
    @pytest.mark.parametrize("learning", [True, False])
    def test_the_packed_loss_is_transformers_own_for_llama(
        self, tiny_llama: Base, learning: bool
    ) -> None:
        ours, plain = losses(tiny_llama, [70, 33, 150], learning)
        assert ours == pytest.approx(plain, rel=1e-5)

    @pytest.mark.parametrize("learning", [True, False])
    def test_the_packed_loss_is_transformers_own_for_gemma(
        self, tiny_gemma: Base, learning: bool
    ) -> None:
        model = AutoModelForCausalLM.from_pretrained(tiny_gemma.folder)
        window = model.config.get_text_config().sliding_window
        ours, plain = losses(tiny_gemma, [40, window + 60], learning)
        assert ours == pytest.approx(plain, rel=1e-5)

    def test_rows_are_rounded_and_filler_is_not_learned(self) -> None:
        row = pack(some_tokens(100, [70, 33]), 2)
        assert (row.ids.shape[1], row.lines, len(row.learn)) == (192, [128, 64], 64)
        assert (row.labels != -100).sum() == 14
        assert row.ids[0, 70:128].tolist() == [2] * 58
        assert row.ids[0, 128 + 33 :].tolist() == [2] * 31
        assert row.positions[0, 128:132].tolist() == [0, 1, 2, 3]
        row = pack(some_tokens(100, [70, 33]), 2, grain=8)
        assert (row.lines, len(row.learn)) == ([72, 40], 16)
        assert row.positions[0, 72:75].tolist() == [0, 1, 2]

    def test_batches_take_every_length_band_and_no_example_twice(self) -> None:
        examples = some_tokens(100, list(range(10, 52)))
        batches = stratified(examples, 4, random.Random(3))
        assert len(batches) == 10
        used = [id(t) for batch in batches for t in batch]
        assert len(used) == len(set(used)) == 40
        sums = [sum(len(t.ids) for t in batch) for batch in batches]
        assert max(sums) - min(sums) < 40

    def test_the_completion_alone_is_learned_and_ends_its_turn(self, tiny_llama: Base) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_llama.folder)
        tokens = tokenize(tokenizer, example(1), 500)
        said = tokenizer.decode(tokens.ids[tokens.start :])
        assert said == "kubectl get pods -n team-1<|im_end|>"

    def test_an_example_that_is_too_long_is_an_error(self, tiny_llama: Base) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_llama.folder)
        with pytest.raises(DataError, match=r"example train-1: \d+ tokens, train.max_length is 64"):
            tokenize(tokenizer, example(1, "very ill " * 40), 64)


class TestFit:
    def test_a_gemma_learns_and_the_merged_model_is_the_adapted_one(
        self, tiny_gemma: Base, dataset: Path, tmp_path: Path
    ) -> None:
        work = tmp_path / "work"
        fitted = backend.fit(SMALL, tiny_gemma, dataset, work)
        rows = [json.loads(line) for line in (work / "loss.jsonl").open()]
        assert [row["step"] for row in rows] == list(range(1, 25))
        assert sum(r["loss"] for r in rows[-5:]) < 0.8 * sum(r["loss"] for r in rows[:5])
        assert fitted["valid_loss"] < rows[0]["loss"]
        kinds = {p.suffix for p in (work / "adapter").iterdir()}
        assert kinds <= {".json", ".safetensors", ".md"}
        from peft import PeftModel

        plain = AutoModelForCausalLM.from_pretrained(tiny_gemma.folder, dtype=torch.float32)
        adapted = PeftModel.from_pretrained(plain, str(work / "adapter"))
        merged = AutoModelForCausalLM.from_pretrained(work / "merged", dtype=torch.float32)
        ids = torch.tensor([[5, 9, 14, 200, 31]])
        with torch.no_grad():
            expected, got = adapted(input_ids=ids).logits, merged(input_ids=ids).logits
        assert torch.allclose(expected, got, atol=0.02 * float(expected.abs().max()))
        assert expected[0, -1].argmax() == got[0, -1].argmax()

    def test_no_training_example_is_an_error(self, tiny_llama: Base, tmp_path: Path) -> None:
        store.write_rows(tmp_path / "train.jsonl", [])
        with pytest.raises(DataError, match="no training example"):
            backend.fit(SMALL, tiny_llama, tmp_path, tmp_path / "work")


class TestLoad:
    def test_a_dotted_path_is_the_plugin_door(self) -> None:
        assert trainers.load("opslore.trainers.torch") is backend
