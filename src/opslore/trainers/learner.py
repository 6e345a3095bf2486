"""The model that learns: base weights, LoRA matrices, and the gradients of a packed row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from opslore.trainers import adapter, fourbit, tricks
from opslore.trainers.adapter import flat
from opslore.trainers.packing import ATTENTION, COMPILED, PLAIN, Row, Tokens, pack
from opslore.trainers.parallel import Job


class Learner:
    """A base model with an adapter, in the type the device multiplies.

    Attributes:
        device: where they are.
        blocks: how many blocks the model has.
        names: the adapter's matrices, in the order of `used`.
        used: their values as the model multiplies with them.
    """

    def __init__(self, job: Job) -> None:
        """Load the base model and give it fresh adapter matrices.

        Args:
            job: what is trained, and where it is computed.
        """
        self.device = torch.device(job.device)
        self.model = self._adapted(job)
        self.blocks = self.model.config.get_text_config().num_hidden_layers
        self.filler = job.filler
        plain = self.device.type == "cpu" and dtype(self.device) == torch.float32
        self.grain = PLAIN if plain and tricks.used("rounding") else COMPILED
        self._read: torch.Tensor | None = None
        if tricks.used("last"):
            self._narrow()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.used = [weight for _, weight in named]

    def take(self, weights: Sequence[torch.Tensor]) -> None:
        """Use these values of the adapter's matrices."""
        with torch.no_grad():
            for used, weight in zip(self.used, weights, strict=True):
                used.copy_(weight)

    def loss(self, examples: Sequence[Tokens]) -> float:
        """Sum of the cross-entropy over the completions' tokens, in nats; nothing is learned."""
        self.model.eval()
        with torch.inference_mode():
            row = pack(examples, self.filler, self.grain)
            return float(self._learned(row, self._hidden(row)))

    def gradients(self, examples: Sequence[Tokens], tokens: int) -> tuple[float, torch.Tensor]:
        """The same sum, and the gradient of it and of what was forgotten, divided by `tokens`.

        Returns:
            The sum in nats, and one flat fp32 row on the CPU, in the order of `used`.
        """
        self.model.train()
        row = pack(examples, self.filler, self.grain)
        hidden = self._hidden(row)
        loss = self._learned(row, hidden)
        ((loss + self._forgotten(examples, row, hidden)) / tokens).backward()  # type: ignore[no-untyped-call]
        found = [torch.zeros_like(w) if w.grad is None else w.grad for w in self.used]
        for weight in self.used:
            weight.grad = None
        return float(loss.detach()), flat(found)

    def _adapted(self, job: Job) -> Any:
        """The base model with fresh LoRA matrices on its last `lora_layers` blocks."""
        kind = dtype(self.device)
        how = fourbit.settings(self.device, kind) if job.train.load_in_4bit else {}
        model = AutoModelForCausalLM.from_pretrained(
            job.weights or job.base.folder,
            dtype=kind,
            attn_implementation=ATTENTION,
            local_files_only=True,
            **how,
        )
        config = adapter.settings(job.train, model.config.get_text_config().num_hidden_layers)
        placed = model if how else model.to(self.device)
        return get_peft_model(placed, config, autocast_adapter_dtype=False)

    def _narrow(self) -> None:
        """Let the last block end with the tokens that are read: behind attention each is alone."""
        last = self.model.get_base_model().model.layers[-1]
        for module in (getattr(last.self_attn, "o_proj", None), getattr(last, "mlp", None)):
            if module is not None:
                module.forward = partial(self._narrowed, module.forward)

    def _narrowed(self, forward: Callable[[torch.Tensor], torch.Tensor], x: Any) -> torch.Tensor:
        """[1, T, in] to [1, T, out], zeros at tokens that nobody reads."""
        if self._read is None:
            return forward(x)
        said = forward(x[:, self._read])
        out = said.new_zeros((1, x.shape[1], said.shape[-1]))
        return out.index_copy(1, self._read, said)

    def _hidden(self, row: Row) -> torch.Tensor:
        """What the last block says of each token that is read: [T, width]."""
        self._read = row.read.to(self.device)
        said = self.model.get_base_model().model(
            input_ids=row.ids.to(self.device),
            position_ids=row.positions.to(self.device),
            use_cache=False,
            lines=row.lines,
            sharing=row.sharing,
        )
        self._read = None
        return cast(torch.Tensor, said.last_hidden_state[0])

    def _logits(self, hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """[len(places), words]; the head costs vocabulary x tokens, so others are left out."""
        head, places = self.model.get_base_model().lm_head, places.to(self.device)
        if not tricks.used("head"):
            return cast(torch.Tensor, head(hidden).float()[places])
        return cast(torch.Tensor, head(hidden[places]).float())

    def _learned(self, row: Row, hidden: torch.Tensor) -> torch.Tensor:
        logits, labels = self._logits(hidden, row.learn), row.labels.to(self.device)
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    def _forgotten(
        self, examples: Sequence[Tokens], row: Row, hidden: torch.Tensor
    ) -> torch.Tensor:
        """How far the base model's probabilities of the kept tokens were left, in nats.

        The sum of KL(base || adapted), as in Li and Hoiem 2016 ("Learning without forgetting").
        """
        if not len(row.keep):
            return hidden.new_zeros(())
        alone = pack([tokens for tokens in examples if tokens.kept], self.filler, self.grain)
        with torch.no_grad(), self.model.disable_adapter():
            before = self._logits(self._hidden(alone), alone.keep).log_softmax(-1)
        now = self._logits(hidden, row.keep).log_softmax(-1)
        return torch.nn.functional.kl_div(now, before, reduction="sum", log_target=True)


def device() -> torch.device:
    """The fastest place of this machine to compute."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def dtype(device: torch.device) -> torch.dtype:
    """bf16 where the hardware multiplies it (the adapter itself stays fp32), else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    halves = torch.cpu._is_avx512_bf16_supported() and tricks.used("bf16")
    if device.type == "cpu" and halves:
        return torch.bfloat16
    return torch.float32
