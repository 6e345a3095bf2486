"""Who is asked what: every column's prompts, and how its replies are made and kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from opslore import prompt
from opslore.bundle import choices
from opslore.bundle.catalogue import accepts, grammar
from opslore.cards import Example, Message, Result, Split
from opslore.config import Agent
from opslore.evaluation.baseline import Names, bm25, first
from opslore.evaluation.replies import Log
from opslore.index import Hit, Index
from opslore.servers import Reply, Server

Progress = Callable[[str, int, int], None]
"""Called with (column, replies that are there, replies wanted)."""


@dataclass(frozen=True)
class Run:
    """One evaluation in progress."""

    agent: Agent
    examples: list[Example]
    index: Index
    log: Log
    progress: Progress
    practice: Mapping[str, Index] = field(default_factory=dict)
    """The runbooks that validation questions were asked of, by name, beside the agent's own."""

    def asked(self) -> dict[str, list[Example]]:
        """The prompts of every column; the same for the same dataset and settings."""
        settings = self.agent.evaluate
        s1 = self.of("s1")
        plain = self.of("s1", "s2", "s3", "s6")
        few = [spread(self.of(split), settings.base // 2) for split in ("s2", "s3", "s4", "s6")]
        return {
            "tuned": self.examples,
            "constrained": self.examples,
            "closed": spread(s1, settings.closed),
            "base": [*spread(s1, settings.base), *(e for among in few for e in among)],
            "first": self.examples,
            "bm25": self.examples,
            "lookup": plain,
            "trained": spread(plain, settings.parity),
        }

    def of(self, *splits: Split) -> list[Example]:
        """The prompts of some splits."""
        return [e for e in self.examples if e.split in splits]


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples, evenly over alerts and splits: one of each alert, then a second of each."""
    seen: dict[tuple[str, str], int] = {}
    rounds = []
    for example in examples:
        key = (example.split, example.group)
        rounds.append(seen.setdefault(key, 0))
        seen[key] += 1
    # Within a round the order is a hash, so that the first hundred are not the first alerts.
    order = sorted(range(len(examples)), key=lambda i: (rounds[i], _hash(examples[i].id), i))
    chosen = set(order[:count])
    return [example for i, example in enumerate(examples) if i in chosen]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_book(example: Example) -> list[Message]:
    """The prompt as the dataset wrote it, without its answer."""
    return example.messages[:-1]


def ask(
    run: Run,
    column: str,
    among: Sequence[Example],
    server: Server,
    turns: Callable[[Example], list[Message]],
    limits: Mapping[str, choices.Choices] | None = None,
) -> None:
    """Ask a server what is not answered yet, keeping each reply as it comes."""
    missing = [e for e in among if run.log.get(column, e.id) is None]
    done = len(among) - len(missing)
    run.progress(column, done, len(among))
    grammars = None if limits is None else [grammar(limits[e.id].short) for e in missing]
    replies = server.chat_many(
        [turns(e) for e in missing], grammar=grammars, max_tokens=run.agent.evaluate.max_tokens
    )
    for example, reply in zip(missing, replies, strict=True):
        if limits is not None:
            text, confidence = limits[example.id].finish(reply.text, reply.confidence)
            reply = replace(reply, text=text, confidence=confidence)
        run.log.add(raw(column, example.id, reply))
        done += 1
        run.progress(column, done, len(among))


def constrain(run: Run, server: Server, among: Sequence[Example]) -> None:
    """The constrained column: only what a prompt's choices refuse is asked again.

    Greedy decoding under a grammar masks the tokens that the grammar forbids and takes the best of
    the others. If the free greedy reply is a sentence of the grammar, none of its tokens was ever
    masked, so the constrained reply is the same reply, end of turn included.
    """
    again: dict[str, choices.Choices] = {}
    for example in among:
        if run.log.get("constrained", example.id) is not None:
            continue
        allowed = choices.of(example.question, found(run, example))
        free = run.log.found["tuned", example.id]
        if free.scores["stopped"] == 1.0 and accepts(allowed.whole, free.reply):
            run.log.add(free.model_copy(update={"column": "constrained"}))
        else:
            again[example.id] = allowed
    run.progress("constrained", len(among) - len(again), len(among))
    if again:
        ask(run, "constrained", among, server, open_book, again)


def found(run: Run, example: Example) -> list[Hit]:
    """What the prompt showed: found again, since an example keeps the entries' names alone."""
    index = run.practice[example.runbook] if example.runbook else run.index
    return index.search(example.question, run.agent.prepare.entries, example.hidden)


def baselines(run: Run) -> None:
    """The columns that need no model."""
    names = Names(run.index)
    ways: dict[str, Callable[[Example], str]] = {
        "first": lambda example: first(example, run.index),
        "bm25": lambda example: bm25(example, run.index),
        "lookup": names.lookup,
    }
    for column, answer in ways.items():
        among = run.asked()[column]
        for example in among:
            if run.log.get(column, example.id) is None:
                run.log.add(Result(example=example.id, column=column, reply=answer(example)))
        run.progress(column, len(among), len(among))


def ask_base(
    run: Run, among: Sequence[Example], folder: Path, load: Callable[[], Server], made_from: str
) -> None:
    """The base model's replies; they depend on nothing that is trained and are kept across runs.

    Args:
        run: the evaluation.
        among: the prompts.
        folder: where replies are kept, whatever agent asked.
        load: opens the base model's GGUF; not called when every reply is there.
        made_from: what identifies that GGUF (base digest, quantisation).
    """
    tokens = run.agent.evaluate.max_tokens
    folder.mkdir(parents=True, exist_ok=True)
    with Log(folder / f"{_hash(f'{made_from} {tokens}')[:16]}.jsonl") as kept:
        for example in among:
            found = kept.get("base", _key(example))
            if found is not None and run.log.get("base", example.id) is None:
                run.log.add(found.model_copy(update={"example": example.id}))
        if all(run.log.get("base", e.id) for e in among):
            run.progress("base", len(among), len(among))
            return
        with load() as server:
            ask(run, "base", among, server, open_book)
        for example in among:
            if kept.get("base", _key(example)) is None:
                found = run.log.found["base", example.id]
                kept.add(found.model_copy(update={"example": _key(example)}))


def _key(example: Example) -> str:
    return _hash(json.dumps([m.model_dump() for m in open_book(example)]))


def ask_trained(run: Run, among: Sequence[Example], merged: Path, rendered: dict[str, str]) -> None:
    """The trained weights' replies, and whether both sides render the same prompt."""
    run.progress(
        "trained", sum(run.log.get("trained", e.id) is not None for e in among), len(among)
    )
    if all(run.log.get("trained", e.id) for e in among):
        return
    from opslore.servers import trained

    # Whole batches, also after a resume: the other rows of a batch may move the last digit.
    ordered = sorted(among, key=lambda e: (len(rendered[e.id]), e.id))
    batches = [ordered[i : i + trained.BATCH] for i in range(0, len(ordered), trained.BATCH)]
    open_ = [b for b in batches if any(run.log.get("trained", e.id) is None for e in b)]
    done = len(among) - sum(len(batch) for batch in open_)
    with trained.Server(merged) as server:
        for batch in open_:
            replies = server.chat_many(
                [open_book(e) for e in batch], max_tokens=run.agent.evaluate.max_tokens
            )
            for example, reply in zip(batch, replies, strict=True):
                equal = server.render(open_book(example)) == rendered[example.id]
                run.log.add(raw("trained", example.id, reply, rendered=float(equal)))
            done += len(batch)
            run.progress("trained", done, len(among))


def closed_book(agent: Agent) -> Callable[[Example], list[Message]]:
    """The prompt without runbook entries: what a bare `ollama run` sees."""
    return lambda example: prompt.messages(agent.system_prompt, example.question)


def raw(column: str, example: str, reply: Reply, **more: float) -> Result:
    """A reply before it is scored; how it came about stands among its scores."""
    scores = {"stopped": float(reply.stopped), "tokens": float(reply.tokens), **more}
    # JSON has no NaN: what nobody knows is left out.
    if math.isfinite(reply.confidence):
        scores["confidence"] = reply.confidence
    if math.isfinite(reply.margin):
        scores["margin"] = reply.margin
    return Result(
        example=example, column=column, reply=reply.text, scores=scores, seconds=reply.seconds
    )


def answered(log: Log, asked: dict[str, list[Example]]) -> Iterable[tuple[Example, Result]]:
    """Every example with each reply to it, by column, then by example id."""
    for column, among in asked.items():
        for example in sorted(among, key=lambda e: e.id):
            if (result := log.get(column, example.id)) is not None:
                yield example, result
