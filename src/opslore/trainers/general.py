"""What the base model says to everyday questions, kept beside the runbook's commands.

A model that learns commands alone forgets how to answer anything else (McCloskey and Cohen 1989);
its own earlier replies keep it as it was (Robins 1995, "pseudorehearsal"): not their words are
learned, their probabilities are held (`learner.py`). They depend on the base model alone, so they
are made once and kept; the bundled model's lie beside this module.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from opslore import models, store
from opslore.cards import Example, Message, Span
from opslore.trainers.packing import turn_ends

BATCH = 8
"""Questions that are answered together."""

TOKENS = 48
"""Longest reply in tokens; it is cut where a sentence ends."""

BUNDLED = {
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": "general-smollm2.jsonl"
}
"""Replies that are shipped, by the digest of the base model (Apache-2.0) that wrote them: to ask
for them takes three minutes of two cores."""

PARAGRAPH = 240
"""Fewest characters of a paragraph."""

_PROSE = re.compile(r"[A-Z][^*|>=_{}\[\]]*\.", re.DOTALL)
_SENTENCE = re.compile(r".*[.!?](?=\s|$)", re.DOTALL)

Tick = Callable[[int, int], None]
"""Hears (replies there, replies wanted)."""


def prompts() -> list[str]:
    """The everyday questions, in a fixed mixed order; none of them is asked in evaluation."""
    text = files("opslore.trainers").joinpath("data/general.json").read_text(encoding="utf-8")
    told = json.loads(text)
    shapes = told["shapes"]
    about = [shapes[i % len(shapes)].format(topic=t) for i, t in enumerate(told["topics"])]
    about += [shapes[(i + 2) % len(shapes)].format(topic=t) for i, t in enumerate(told["topics"])]
    every = [*about, *told["questions"]]
    return sorted(every, key=lambda text: hashlib.sha256(text.encode()).hexdigest())


def plain(count: int) -> list[str]:
    """At most `count` paragraphs that people wrote: Python's own documentation, on every machine.

    Greedy replies alone make a model surer than its base of every next word (docs/decisions/0020).
    """
    from pydoc_data.topics import topics

    parts = {part for text in topics.values() for part in text.split("\n\n")}
    prose = [p for p in parts if len(p) > PARAGRAPH and _PROSE.fullmatch(p)]
    prose.sort(key=lambda part: hashlib.sha256(part.encode()).hexdigest())
    return [" ".join(part.split()) for part in prose[:count]]


def examples(base: models.Base, count: int, tick: Tick | None = None) -> list[Example]:
    """At most `count` questions with the base model's own replies, without a system prompt.

    Replies that never end a sentence are left out.

    Args:
        base: the model that is adapted.
        count: questions wanted.
        tick: hears how many replies are there.

    Raises:
        IntegrityError: a kept file of replies is damaged.
    """
    asked = prompts()[:count]
    kept = models.cache() / "base-general" / f"{base.digest[:16]}-{TOKENS}.jsonl"
    known = _bundled(base)
    if kept.is_file():
        known |= {e.question: e for e in store.read_rows(kept, Example)}
    missing = [question for question in asked if question not in known]
    if missing:
        found = _replies(base.folder, missing, tick or (lambda done, total: None))
        known |= {e.question: e for e in found}
        kept.parent.mkdir(parents=True, exist_ok=True)
        store.write_rows(kept, known.values())
    return [known[question] for question in asked if known[question].target]


def _bundled(base: models.Base) -> dict[str, Example]:
    name = BUNDLED.get(base.digest)
    if name is None:
        return {}
    text = files("opslore.trainers").joinpath(f"data/{name}").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["question"]: _example(row["question"], row["reply"]) for row in rows}


def _replies(folder: Path, questions: Sequence[str], tick: Tick) -> list[Example]:
    """Greedy replies of the model in a folder, `BATCH` at a time; empty where none ends."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.padding_side = "left"
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    ).eval()
    ends = turn_ends(tokenizer)
    tokenizer.pad_token_id = ends[-1]
    out: list[Example] = []
    for start in range(0, len(questions), BATCH):
        asked = questions[start : start + BATCH]
        turns = [[{"role": "user", "content": question}] for question in asked]
        row = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        with torch.inference_mode():
            made = model.generate(
                **row, max_new_tokens=TOKENS, do_sample=False, eos_token_id=ends,
                pad_token_id=ends[-1], temperature=None, top_p=None, top_k=None,
            )  # fmt: skip
        said = made[:, row["input_ids"].shape[1] :].tolist()
        out += [_example(q, _text(tokenizer, s, ends)) for q, s in zip(asked, said, strict=True)]
        tick(len(out), len(questions))
    return out


def _text(tokenizer: Any, said: Sequence[int], ends: Sequence[int]) -> str:
    """A reply, cut behind its last whole sentence unless the model ended it."""
    stop = next((place for place, token in enumerate(said) if token in ends), None)
    text = str(tokenizer.decode(said[:stop], skip_special_tokens=True)).strip()
    whole = _SENTENCE.match(text)
    return text if stop is not None else whole.group() if whole else ""


def _example(question: str, text: str) -> Example:
    name = f"general-{hashlib.sha256(question.encode()).hexdigest()[:12]}"
    return Example(
        id=name,
        messages=[Message(role="user", content=question), Message(role="assistant", content=text)],
        target=text,
        source=Span(file="(the base model)", first=0, last=0),
        group=name,
        split="train",
        family="general",
        question=question,
        book="closed",
    )
