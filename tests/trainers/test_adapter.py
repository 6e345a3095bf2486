"""Gradients against PEFT, what the adapter folder holds, and trainings that are stopped."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from base_models import model_cache, tiny_gemma, tiny_llama  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer

import opslore
from opslore import store, trainers
from opslore.cards import Example, Message, Span
from opslore.config import Train
from opslore.errors import ConfigError, DataError, MissingExtra
from opslore.models import Base
from opslore.trainers import adapter, checkpoint, learner, loop, packing, parallel
from opslore.trainers import torch as backend
from opslore.trainers.packing import Tokens, tokenize, turn_ends

TINY = Train(iters=12, learning_rate=5e-3, batch_size=3, lora_layers=1, save_every=4)


def example(number: int, words: int = 0, target: str = "") -> Example:
    target = target or f"flux reconcile kustomization app-{number % 4} --with-source"
    turns = [
        Message(role="system", content="Answer with the command."),
        Message(role="user", content=f"app {number % 4} drifts" + " from git" * words),
        Message(role="assistant", content=target),
    ]
    return Example(
        id=f"train-{number}",
        messages=turns,
        target=target,
        source=Span(file="RUNBOOK.md", first=1, last=1),
        group=f"g{number % 4}",
        split="train",
        family="chat/train-0",
        question=turns[1].content,
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    store.write_rows(folder / "train.jsonl", [example(n, n % 5) for n in range(12)])
    store.write_rows(folder / "valid.jsonl", [example(n, 6) for n in range(4)])
    return folder


def a_run(train: Train, base: Base, dataset: Path, work: Path) -> loop.Run:
    return loop.Run(train, base, dataset, work, partial(backend.team, train, base))


def plain_gradients(
    run: loop.Run, base: Base, batch: list[Tokens], kept: Sequence[Tokens] = ()
) -> dict[str, torch.Tensor]:
    """The same loss by PEFT on plain transformers, with a padded batch and an attention mask."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(run.train.seed)
    model = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=learner.dtype(run.device), attn_implementation="eager"
    ).float()
    layers = model.config.get_text_config().num_hidden_layers
    config = LoraConfig(
        r=run.train.lora_rank,
        lora_alpha=run.train.lora_alpha,
        target_modules=adapter.PROJECTIONS,
        layers_to_transform=list(range(layers - run.train.lora_layers, layers)),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in zip(run.names, run.used, strict=True):
            weights[name].copy_(weight)
    longest = max(len(t.ids) for t in batch)
    ids = torch.full((len(batch), longest), 2)
    labels = torch.full((len(batch), longest), -100)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for line, tokens in enumerate(batch):
        size = len(tokens.ids)
        ids[line, :size] = torch.tensor(tokens.ids)
        labels[line, tokens.start : size] = torch.tensor(tokens.ids[tokens.start :])
        mask[line, :size] = 1
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    for tokens in kept:
        row, places = torch.tensor([tokens.ids]), slice(tokens.start - 1, len(tokens.ids) - 1)
        with torch.no_grad(), model.disable_adapter():
            before = model(input_ids=row).logits[0, places].softmax(-1)
        now = model(input_ids=row).logits[0, places].log_softmax(-1)
        far = (before * (before.log() - now)).sum()
        loss = loss + far / sum(len(t.ids) - t.start for t in batch)
    loss.backward()
    return {name: w.grad for name, w in weights.items() if w.grad is not None}


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gemma"])
def test_gradients_are_those_of_peft_with_padding(
    family: str, keeps: bool, request: pytest.FixtureRequest, dataset: Path, tmp_path: Path
) -> None:
    base: Base = request.getfixturevalue(family)
    run = a_run(TINY.model_copy(update={"lora_layers": 7}), base, dataset, tmp_path / "work")
    run.team.learner.model.float()
    layers = run.team.learner.model.config.get_text_config()
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        # B starts as zeros, and then A has no gradient: give both something to learn.
        for weight in run.used:
            weight.copy_(torch.randn(weight.shape, generator=rng) * 0.1)
    batch = [run.examples[i] for i in (1, 4, 8, 11)]
    if family == "tiny_gemma":
        assert min(len(t.ids) for t in batch) > layers.sliding_window
    run.master = [weight.detach().clone() for weight in run.used]
    kept = [Tokens(run.examples[i].ids, 1, kept=True) for i in (2, 5) if keeps]
    _, found = run.team.gradients(parallel.divided([*batch, *kept], run.each), run.master)
    expected = plain_gradients(run, base, batch, kept)
    assert set(expected) == set(run.names)
    for name, gradient in zip(run.names, found, strict=True):
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 1e-3, name


def test_the_adapter_folder_holds_weights_and_settings_of_no_machine(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from opslore.config import Train\n"
        "from opslore.models import Base; from opslore.trainers import torch as backend\n"
        "base = Base('tiny-model', Path(sys.argv[1]), None, '', '')\n"
        "train = Train.model_validate_json(sys.argv[2]).model_copy(update={'iters': 1})\n"
        "backend.fit(train, base, Path(sys.argv[3]), Path(sys.argv[4]))\n"
    )
    works = [tmp_path / "here", tmp_path / "there"]
    # Sets are written in another order when strings are hashed with another seed.
    arguments = [tiny_llama.folder, TINY.model_dump_json(), dataset, works[1]]
    subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**environment(), "PYTHONHASHSEED": "4711"},
        check=True,
        timeout=300,
    )
    named = Base("tiny-model", tiny_llama.folder, None, "", "")
    backend.fit(TINY.model_copy(update={"iters": 1}), named, dataset, works[0])
    for work in works:
        names = sorted(p.name for p in (work / "adapter").iterdir())
        assert names == ["adapter_config.json", "adapter_model.safetensors"]
    texts = [(work / "adapter" / "adapter_config.json").read_text() for work in works]
    assert texts[0] == texts[1]
    assert str(tiny_llama.folder) not in texts[0]
    assert json.loads(texts[0])["base_model_name_or_path"] == "tiny-model"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(opslore.__file__).parents[1])}


def test_a_gemmas_vocabulary_reaches_the_converter(
    tiny_gemma: Base, dataset: Path, tmp_path: Path
) -> None:
    """llama.cpp's converter reads it from files that transformers does not write again."""
    folder = tmp_path / "gemma"
    shutil.copytree(tiny_gemma.folder, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    settings["added_tokens_decoder"] = {"107": {"content": "\n", "special": False}}
    kept = {
        "tokenizer.model": b"\x0a\x0e\x0a\x05<pad>\x15",
        "tokenizer_config.json": json.dumps(settings).encode(),
        "added_tokens.json": b'{"<a>": 6}',
    }
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    work = tmp_path / "work"
    backend.fit(
        TINY.model_copy(update={"iters": 1}), Base("g", folder, None, "", ""), dataset, work
    )
    assert {name: (work / "merged" / name).read_bytes() for name in kept} == kept


def test_early_stop_is_remembered_after_a_kill(
    tiny_llama: Base, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the decision to stop and the finished adapter, it does not train on."""
    worse = [example(n, target="zzz " * 8) for n in range(4)]
    store.write_rows(dataset / "valid.jsonl", worse)
    train = TINY.model_copy(update={"iters": 60, "patience": 1, "learning_rate": 2e-2})
    whole = backend.fit(train, tiny_llama, dataset, tmp_path / "whole")
    assert whole["steps"] < 60

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    work = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_finish", kill)
        with pytest.raises(Killed):
            backend.fit(train, tiny_llama, dataset, work)
    assert backend.fit(train, tiny_llama, dataset, work)["steps"] == whole["steps"]
    rows = [json.loads(line) for line in (work / "loss.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, whole["steps"] + 1))


def test_a_half_written_checkpoint_is_not_taken_up(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    stopping = TINY.model_copy(update={"save_every": 1, "iters": 3})
    backend.fit(stopping, tiny_llama, dataset, work)
    scratch = work / "scratch"
    assert [p.name for p in sorted(scratch.iterdir())] == ["checkpoint-000002", "checkpoint-000003"]
    torn = scratch / "checkpoint-000004.tmp"
    torn.mkdir()
    (torn / "state.safetensors").write_bytes(b"half")
    run = a_run(TINY, tiny_llama, dataset, work)
    assert checkpoint.load(run)
    assert run.step == 3
    assert len(run.log) == 3
    run.step = 4
    checkpoint.save(run)
    assert [p.name for p in sorted(scratch.iterdir())] == ["checkpoint-000003", "checkpoint-000004"]


def test_many_validation_examples_are_looked_at_seldom(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    store.write_rows(dataset / "valid.jsonl", [example(n, 6) for n in range(15)])
    work = tmp_path / "w"
    backend.fit(TINY.model_copy(update={"iters": 12}), tiny_llama, dataset, work)
    rows = [json.loads(line) for line in (work / "loss.jsonl").read_text().splitlines()]
    # Fifteen beside batches of three: as long as five steps' batches, so every tenth step.
    assert [row["step"] for row in rows if row["valid_loss"] is not None] == [10, 12]


def test_a_validation_loss_that_is_no_number_is_an_error(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    run = a_run(TINY, tiny_llama, dataset, tmp_path / "work")
    with torch.no_grad():
        run.master[0].fill_(math.nan)
    with pytest.raises(DataError, match="step 0: the validation loss is nan"):
        loop._validate(run)


def test_without_validation_examples_there_is_no_validation_loss(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "valid.jsonl").unlink()
    fitted = backend.fit(
        TINY.model_copy(update={"iters": 2, "patience": 1}), tiny_llama, dataset, tmp_path / "w"
    )
    assert math.isnan(fitted["valid_loss"])
    assert fitted["steps"] == 2


def test_fewer_examples_than_a_batch_are_one_batch(
    tiny_llama: Base, dataset: Path, tmp_path: Path
) -> None:
    store.write_rows(dataset / "train.jsonl", [example(0), example(1)])
    fitted = backend.fit(
        TINY.model_copy(update={"iters": 2, "batch_size": 64}), tiny_llama, dataset, tmp_path / "w"
    )
    assert fitted["steps"] == 2


class TestTurns:
    @pytest.fixture
    def tokenizer(self, tiny_llama: Base) -> Any:
        return AutoTokenizer.from_pretrained(tiny_llama.folder)

    def test_gemma_ends_its_turn_too(self, tiny_gemma: Base) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_gemma.folder)
        tokens = tokenize(tokenizer, example(1), 500)
        assert tokenizer.decode(tokens.ids[-1]) == "<end_of_turn>"
        assert tokens.ids.count(tokenizer.bos_token_id) == 1

    def test_eos_ends_a_turn_beside_the_markers_a_vocabulary_has(self, tokenizer: Any) -> None:
        assert "<|im_end|>" in tokenizer.get_vocab()
        tokenizer.eos_token = "<|endoftext|>"
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}"
            "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
        )
        assert tokenizer.eos_token_id in turn_ends(tokenizer)
        tokens = tokenize(tokenizer, example(1), 500)
        assert tokens.ids[-1] == tokenizer.eos_token_id

    @pytest.mark.parametrize(
        ("template", "said"),
        [
            (
                "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
                "writes no end of turn after the answer",
            ),
            (
                "{% if add_generation_prompt %}ask: {% endif %}"
                "{% for m in messages %}{{ m['content'] + '<|im_end|>' }}{% endfor %}",
                "does not extend the prompt by the answer",
            ),
        ],
    )
    def test_a_template_that_cannot_teach_is_an_error(
        self, tokenizer: Any, template: str, said: str
    ) -> None:
        tokenizer.chat_template = template
        with pytest.raises(DataError) as caught:
            tokenize(tokenizer, example(7), 500)
        assert caught.value.message == f"example train-7: the chat template {said}"

    def test_an_example_that_just_fits_is_no_error(self, tokenizer: Any) -> None:
        size = len(tokenize(tokenizer, example(3, 9), 5000).ids)
        assert len(tokenize(tokenizer, example(3, 9), size).ids) == size
        with pytest.raises(DataError) as caught:
            tokenize(tokenizer, example(3, 9), size - 1)
        assert caught.value.message == (
            f"example train-3: {size} tokens, train.max_length is {size - 1}"
        )
        assert caught.value.hint == "raise train.max_length or lower prepare.entries"


class TestLoad:
    @pytest.mark.parametrize(
        "name",
        ["pytroch", "packing", "checkpoint", "", ".torch", "a..b", "nosuch.module", "to-rch"],
    )
    def test_what_is_no_trainer_is_a_config_error(self, name: str) -> None:
        with pytest.raises(ConfigError) as caught:
            trainers.load(name)
        assert caught.value.message == f"no trainer {name!r}; there are torch, mlx, unsloth"
        assert caught.value.hint == (
            "set train.backend, or give the dotted path of a module of your own"
        )

    def test_a_trainer_whose_package_is_missing_names_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "shelf"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "mine.py").write_text("import no_such_package_xyz\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(MissingExtra) as caught:
            trainers.load("shelf.mine")
        assert caught.value.message == "trainer 'shelf.mine' needs 'no_such_package_xyz'"
        assert caught.value.hint == "pip install no_such_package_xyz"

    def test_torch_keeps_the_contract(self) -> None:
        found = trainers.load("torch")
        assert found.fit is backend.fit
        assert found.merge is backend.merge


def test_attention_without_lines_takes_the_row_as_one_example() -> None:
    rng = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 9, 8, generator=rng).requires_grad_()
    key, value = (torch.randn(1, 2, 9, 8, generator=rng) for _ in range(2))
    ours, weights = packing.attention(torch.nn.Identity(), query, key, value, None)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True
    )
    assert weights is None
    assert torch.allclose(ours, theirs.transpose(1, 2), atol=1e-6)
