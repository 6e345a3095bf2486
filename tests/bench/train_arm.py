"""One training in a process of its own: opslore's trainer, or TRL's SFTTrainer with PEFT.

Both get the same tokens in the same order, the same adapter and the same optimiser steps, and leave
a PEFT adapter. The last line is JSON: seconds of each step, peak memory of all its processes.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore import machine, models
from opslore.config import Train

OPSLORE, TRL, TRL_FP32 = "opslore", "trl", "trl-fp32"
SAMPLE = 0.2
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Job:
    """What is trained.

    Attributes:
        base: name of the base model.
        dataset: folder with train.jsonl and valid.jsonl.
        tokens: what opslore makes of it: (ids, start of the completion), in the order of training.
        work: folder for the adapter.
        train: hyper-parameters.
    """

    base: str
    dataset: Path
    tokens: Path
    work: Path
    train: Train


class Peak(threading.Thread):
    """Watches the memory of this process and its children, in MiB.

    Proportional set size: what processes share, as the pages of a library, counts once
    (`man 5 proc_pid_smaps`).
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        """Look until `stop`."""
        me = Path("/proc/self").resolve().name
        while not self._end.wait(SAMPLE):
            children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
            total = 0
            for pid in [me, *children]:
                try:
                    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                except OSError:  # it has ended
                    continue
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            self.most = max(self.most, total / 1024)

    def stop(self) -> float:
        """The most that was seen."""
        self._end.set()
        self.join()
        return self.most


def opslore(job: Job) -> list[float]:
    """Seconds of every step."""
    from opslore.trainers import loop
    from opslore.trainers import torch as trainer

    # Once, in the last step, whose time is left out.
    loop.VALIDATIONS = 1
    job.work.mkdir(parents=True)
    trainer.fit(job.train, models.resolve(job.base), job.dataset, job.work)
    rows = [json.loads(line) for line in (job.work / "loss.jsonl").read_text().splitlines()]
    ends = [0.0, *(row["seconds"] for row in rows[:-1])]
    return [b - a for a, b in itertools.pairwise(ends)]


def trl(job: Job, **settings: Any) -> list[float]:
    """Seconds of every step of SFTTrainer; what is not named here is its default."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from opslore.trainers import adapter, loop

    base, train = models.resolve(job.base), job.train
    rows = [
        {"input_ids": ids, "completion_mask": [0] * start + [1] * (len(ids) - start)}
        for ids, start in json.loads(job.tokens.read_text())
    ]
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype="float32")
    trainer = SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(base.folder),
        train_dataset=Dataset.from_list(rows),
        peft_config=adapter.settings(train, model.config.get_text_config().num_hidden_layers),
        args=SFTConfig(
            output_dir=str(job.work),
            per_device_train_batch_size=train.batch_size,
            max_steps=train.iters,
            learning_rate=train.learning_rate,
            # Tokens without their texts are learned as a whole unless it is told otherwise.
            completion_only_loss=True,
            train_sampling_strategy="sequential",
            max_length=train.max_length,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        ),
        callbacks=[Clock()],
    )
    # Transformers' own warm-up begins at zero, so that the first step would learn nothing.
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
        trainer.create_optimizer(), lambda step: loop.rate(train, step) / train.learning_rate
    )
    trainer.train()
    trainer.save_model(str(job.work / "adapter"))
    return seconds


def main() -> None:
    """Train as the arguments say: ARM BASE DATASET TOKENS WORK TRAIN (JSON)."""
    arm, base, dataset, tokens, work, train = sys.argv[1:]
    machine.quiet()
    job = Job(base, Path(dataset), Path(tokens), Path(work), Train.model_validate_json(train))
    peak = Peak()
    peak.start()
    if arm == OPSLORE:
        machine.tune()  # as `opslore train` does
        seconds = opslore(job)
    else:
        seconds = trl(job, **({"bf16": False} if arm == TRL_FP32 else {}))
    print(json.dumps({"seconds": seconds, "peak_mb": peak.stop()}))


if __name__ == "__main__":
    main()
