"""LoRA fine-tuning with PyTorch and PEFT: CPU, CUDA and MPS by the same loop.

Read in this order: `fit` (what happens), `_step` (one update), then packing.py (how a batch is laid
out) and checkpoint.py (what survives a kill).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore import modelfolder, store
from opslore.cards import Example
from opslore.config import Train
from opslore.errors import DataError
from opslore.models import Base
from opslore.trainers import checkpoint
from opslore.trainers.packing import ATTENTION, Tokens, pack, stratified, tokenize

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""The matrices of a block that get an adapter (all of them: Dettmers et al. 2023, section 4)."""

VALIDATIONS = 10
"""How many times the validation loss is taken during a run."""


class Run:
    """A training in progress: the model, its optimiser, and how far it got."""

    def __init__(self, train: Train, base: Base, dataset: Path, work: Path) -> None:
        torch.manual_seed(train.seed)
        self.train = train
        self.work = work
        self.tokenizer = AutoTokenizer.from_pretrained(base.folder)
        self.examples = self._read(dataset / "train.jsonl")
        self.valid = self._read(dataset / "valid.jsonl")
        if not self.examples:
            raise DataError(
                f"{dataset / 'train.jsonl'}: no training example",
                hint="run `opslore prepare AGENT.yaml` and read its coverage table",
            )
        mean = sum(len(tokens.ids) for tokens in self.examples) / len(self.examples)
        self.least = round(mean * min(train.batch_size, len(self.examples)))
        self.device = _device()
        self.model = _adapted(train, base, self.device)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.used = [weight for _, weight in named]
        # The model multiplies with a copy in its own type; the sums are kept in fp32, where small
        # updates are not lost (mixed precision: Micikevicius et al. 2018, section 3.1).
        self.master = [w.detach().float().clone().requires_grad_() for w in self.used]
        self.optimiser = torch.optim.AdamW(self.master, lr=train.learning_rate, weight_decay=0.0)
        self.step = 0
        self.seconds = 0.0
        self.best = math.inf
        self.worse = 0
        self.valid_loss = math.nan
        self.log: list[dict[str, Any]] = []

    def _read(self, path: Path) -> list[Tokens]:
        rows = store.read_rows(path, Example) if path.is_file() else iter(())
        return [tokenize(self.tokenizer, row, self.train.max_length) for row in rows]

    def batches(self) -> Iterator[list[Tokens]]:
        """The batches from the current step on: shuffled per epoch, the same after a resume."""
        size = min(self.train.batch_size, len(self.examples))
        per_epoch = len(self.examples) // size
        done = -1
        for step in range(self.step, self.train.iters):
            epoch, place = divmod(step, per_epoch)
            if epoch != done:
                rng = random.Random(f"{self.train.seed}/{epoch}")
                order = stratified(self.examples, size, rng)
                rng.shuffle(order)
                done = epoch
            yield order[place]


def fit(
    train: Train,
    base: Base,
    dataset: Path,
    work: Path,
    progress: Any = None,
) -> dict[str, Any]:
    """Fit a LoRA adapter to `dataset/train.jsonl`; a killed run goes on from its checkpoint.

    Leaves `adapter/` (PEFT folder, safetensors), `loss.jsonl` and `merged/` in `work`.

    Args:
        train: hyper-parameters.
        base: the model to adapt.
        dataset: folder with train.jsonl and valid.jsonl.
        work: folder of this run, named by its id.
        progress: called with (step, steps, loss) after each step.

    Returns:
        steps, loss (mean of the last 20), valid_loss (nan without validation examples), seconds.

    Raises:
        DataError: no examples, an example too long, or a loss that is not a number.
    """
    run = Run(train, base, dataset, work)
    if checkpoint.load(run):
        _refresh(run)
    every = max(1, train.iters // VALIDATIONS)
    for batch in run.batches():
        if _stopped(run):
            break
        began = time.monotonic()
        loss = _step(run, batch)
        run.step += 1
        measure = run.valid and (run.step % every == 0 or run.step == train.iters)
        if measure:
            run.valid_loss = _validate(run)
        run.seconds += time.monotonic() - began
        run.log.append(
            {
                "step": run.step,
                "loss": loss,
                "valid_loss": run.valid_loss if measure else None,
                "lr": _rate(train, run.step - 1),
                "seconds": round(run.seconds, 3),
            }
        )
        if progress is not None:
            progress(run.step, train.iters, loss)
        if run.step % train.save_every == 0 or run.step == train.iters or _stopped(run):
            checkpoint.save(run)
    return _finish(run, base)


def _step(run: Run, batch: list[Tokens]) -> float:
    """One optimiser update; returns the loss in nats per completion token."""
    for group in run.optimiser.param_groups:
        group["lr"] = _rate(run.train, run.step)
    run.model.train()
    loss = _loss(run, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DataError(
            f"step {run.step + 1}: the loss is {value}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    loss.backward()  # type: ignore[no-untyped-call]
    for master, used in zip(run.master, run.used, strict=True):
        master.grad, used.grad = (None if used.grad is None else used.grad.float()), None
    norm = float(torch.nn.utils.clip_grad_norm_(run.master, 1.0))
    if not math.isfinite(norm):
        raise DataError(
            f"step {run.step + 1}: the gradient is {norm}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    run.optimiser.step()
    _refresh(run)
    return value


def _refresh(run: Run) -> None:
    """Give the model the new weights in the type it computes with."""
    with torch.no_grad():
        for master, used in zip(run.master, run.used, strict=True):
            used.copy_(master)


def _loss(run: Run, batch: list[Tokens]) -> torch.Tensor:
    """Mean cross-entropy over the completions' tokens only."""
    row = pack(batch, run.tokenizer.eos_token_id or 0, run.least)
    model = run.model.get_base_model()
    hidden = model.model(
        input_ids=row.ids.to(run.device),
        position_ids=row.positions.to(run.device),
        use_cache=False,
        lines=row.lines,
    ).last_hidden_state[0]
    # The head costs vocabulary x tokens: only tokens that are learned go through it.
    logits = model.lm_head(hidden[row.learn.to(run.device)]).float()
    return torch.nn.functional.cross_entropy(logits, row.labels.to(run.device))


def _validate(run: Run) -> float:
    """Loss over the validation examples, nats per completion token."""
    run.model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for i in range(0, len(run.valid), run.train.batch_size):
            batch = run.valid[i : i + run.train.batch_size]
            tokens = sum(len(t.ids) - t.start for t in batch)
            total += float(_loss(run, batch)) * tokens
            count += tokens
    found = total / count
    if not math.isfinite(found):
        raise DataError(
            f"step {run.step}: the validation loss is {found}",
            hint="lower train.learning_rate; the last good checkpoint is kept",
        )
    run.best, run.worse = (found, 0) if found < run.best else (run.best, run.worse + 1)
    return found


def _rate(train: Train, step: int) -> float:
    """Linear warm-up, then a cosine from the peak to a tenth of it."""
    warmup = max(1, round(train.warmup * train.iters))
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, train.iters - warmup)
    return train.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


def _stopped(run: Run) -> bool:
    """Whether the validation loss has not improved for `patience` validations."""
    return 0 < run.train.patience <= run.worse


def _adapted(train: Train, base: Base, device: torch.device) -> Any:
    """The base model with fresh LoRA matrices on its last `lora_layers` blocks."""
    model = AutoModelForCausalLM.from_pretrained(
        base.folder, dtype=_dtype(device), attn_implementation=ATTENTION, local_files_only=True
    )
    layers = model.config.get_text_config().num_hidden_layers
    config = LoraConfig(
        r=train.lora_rank,
        lora_alpha=float(train.lora_alpha),  # 16 and 16.0 are other bytes in the adapter's file
        target_modules=PROJECTIONS,
        layers_to_transform=list(range(max(0, layers - train.lora_layers), layers)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model.to(device), config, autocast_adapter_dtype=False)


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it (the adapter itself stays fp32), else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def _finish(run: Run, base: Base) -> dict[str, Any]:
    """Write the adapter, the losses and the merged model."""
    if not all(bool(torch.isfinite(weight).all()) for weight in run.master):
        raise DataError("the adapter holds NaN or infinity", hint="lower train.learning_rate")
    for master, used in zip(run.master, run.used, strict=True):
        used.data = master.detach()
    config = run.model.peft_config["default"]
    # PEFT would write a set in any order, this machine's path, and a model card about both.
    config.target_modules, config.base_model_name_or_path = sorted(PROJECTIONS), base.name
    # Whether the embeddings changed would be asked of the hub; they never do.
    run.model.save_pretrained(run.work / "adapter", save_embedding_layers=False)
    (run.work / "adapter" / "README.md").unlink(missing_ok=True)
    store.write(run.work / "loss.jsonl", "".join(json.dumps(row) + "\n" for row in run.log))
    merge(base, run.work / "adapter", run.work / "merged")
    last = [row["loss"] for row in run.log[-20:]]
    return {
        "steps": run.step,
        "loss": sum(last) / len(last),
        "valid_loss": run.valid_loss,
        "seconds": round(run.seconds, 1),
    }


def merge(base: Base, adapter: Path, out: Path) -> None:
    """Add the adapter to the base weights in fp32 and save them as fp16 safetensors.

    Args:
        base: the model the adapter was trained on.
        adapter: PEFT folder.
        out: Hugging Face folder to write (config, tokenizer, model.safetensors).
    """
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    # 11 bits of mantissa against bf16's 8: the merged weights are no longer bf16 numbers.
    merged.to(torch.float16).save_pretrained(out, safe_serialization=True)
    AutoTokenizer.from_pretrained(base.folder).save_pretrained(out)
    modelfolder.keep_tokenizer(base.folder, out)
