"""S5: does the tuned model still answer everyday questions, and read English, as its base does?

The questions and the text were written for this project. They are asked without our system prompt,
by each model's own template, and a reply is right when it has one of the answers as whole words.
Perplexity is taken on the merged weights: a GGUF's quantisation is the same on both sides.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from opslore import store
from opslore.cards import Message, Result, Score
from opslore.errors import DataError
from opslore.evaluation import statistics
from opslore.evaluation.replies import Log
from opslore.evaluation.scores import score
from opslore.servers import Server

TOKENS = 32
"""Longest reply: the answer stands at its beginning, or does not come."""

WINDOW = 512
"""Tokens of text that are read at once."""

TEXT = "text"
"""Name of the perplexity among the results, beside the questions' ids."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Question:
    """An everyday question."""

    id: str
    text: str
    answers: Sequence[str]
    """Any of these as whole words is right."""
    wrong: Sequence[str] = ()
    """None of these may be said."""


@dataclass(frozen=True)
class Retention:
    """What S5 measured; the lists have one number per question."""

    tuned_right: list[float]
    base_right: list[float]
    groups: list[str]
    """The questions' ids; each stands for itself."""
    tuned_perplexity: float
    base_perplexity: float


@dataclass(frozen=True)
class Model:
    """A model under test, opened only when something is still to be asked."""

    server: Callable[[], Server]
    folder: Callable[[], Path]
    """Gives its Hugging Face folder."""


def questions(count: int) -> list[Question]:
    """At most `count` questions, of every kind."""
    rows = [json.loads(line) for line in _data("general.jsonl").splitlines()]
    rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())
    return [
        Question(f"s5-{row['id']}", row["question"], row["answers"], row.get("not", ()))
        for row in rows[:count]
    ]


def right(question: Question, reply: str) -> bool:
    """Whether a reply has the answer, as whole words whatever their case."""

    def says(words: str) -> bool:
        pattern = rf"(?<!\w){re.escape(words.lower())}(?!\w)"
        return re.search(pattern, reply.lower()) is not None

    return any(map(says, question.answers)) and not any(map(says, question.wrong))


def measure(
    log: Log, count: int, tuned: Model, base: Model, kept: Path, progress: Progress
) -> Retention | None:
    """Ask both models; None when no question was wanted.

    Args:
        log: the evaluation's replies; what stands there is not asked again.
        count: questions wanted.
        tuned: the shipped model.
        base: the untrained one; what it says is kept across runs.
        kept: file that keeps it.
        progress: hears (column, done, total).

    Raises:
        DataError: a perplexity is not a number.
        ServerError: a model gave up.
    """
    among = questions(count)
    if not among:
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    _ask(log, "s5", among, tuned, progress)
    with Log(kept) as known:
        _ask(known, "s5-base", among, base, progress)
        base_right = _right(known, "s5-base", among)
        _keep(log.path.parent / "general.jsonl", among, [(log, "s5"), (known, "s5-base")])
        base_text = known.found["s5-base", TEXT].scores["perplexity"]
    return Retention(
        tuned_right=_right(log, "s5", among),
        base_right=base_right,
        groups=[question.id for question in among],
        tuned_perplexity=log.found["s5", TEXT].scores["perplexity"],
        base_perplexity=base_text,
    )


def scores(found: Retention | None, resamples: int) -> list[Score]:
    """S5 of both columns."""
    if found is None:
        return []
    rates = {
        column: statistics.rate(right, found.groups, resamples)
        for column, right in (("tuned", found.tuned_right), ("base", found.base_right))
    }
    return [score("equivalent", name, "s5", rate, rate.right) for name, rate in rates.items()]


def digest(made_from: str) -> str:
    """What the base model's kept replies depend on, beside their questions."""
    told = f"{made_from} {TOKENS} {WINDOW} {_data('general.txt')}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def perplexity(folder: Path) -> float:
    """Exponential of the mean cross-entropy of the text's tokens, windows of `WINDOW`.

    Raises:
        DataError: it is not a number.
    """
    from opslore.evaluation.prose_loss import Weights

    nats, count = 0.0, 0
    with Weights(folder) as weights:
        ids = weights.tokenizer.encode(_data("general.txt"), add_special_tokens=False)
        for start in range(0, len(ids), WINDOW):
            part = ids[start : start + WINDOW]
            if len(part) < 2:
                break
            logs: Any = weights.logs(part[:-1], 0)
            nats -= float(sum(float(row[i]) for row, i in zip(logs, part[1:], strict=True)))
            count += len(part) - 1
    if not math.isfinite(nats):
        raise DataError(
            f"{folder}: the loss of general text is {nats}",
            hint="train again with a lower train.learning_rate",
        )
    return math.exp(min(nats / count, 700.0))


def _ask(
    log: Log, column: str, among: Sequence[Question], model: Model, progress: Progress
) -> None:
    missing = [question for question in among if log.get(column, question.id) is None]
    total = len(among) + 1
    done = len(among) - len(missing)
    with ExitStack() as stack:
        turns = [[Message(role="user", content=question.text)] for question in missing]
        if missing:
            server = stack.enter_context(model.server())
            replies = server.chat_many(turns, max_tokens=TOKENS)
            for question, reply in zip(missing, replies, strict=True):
                log.add(Result(example=question.id, column=column, reply=reply.text))
                progress(column, done := done + 1, total)
    if log.get(column, TEXT) is None:
        found = {"perplexity": perplexity(model.folder())}
        log.add(Result(example=TEXT, column=column, reply="", scores=found))
    progress(column, total, total)


def _keep(path: Path, among: Sequence[Question], logs: Sequence[tuple[Log, str]]) -> None:
    """Leave both models' replies beside the results, with what was asked."""
    rows = []
    for question in among:
        for log, column in logs:
            found = log.found[column, question.id]
            scores = {"equivalent": float(right(question, found.reply))}
            rows.append(found.model_copy(update={"scores": scores, "reason": question.text}))
    store.write_rows(path, rows)


def _right(log: Log, column: str, among: Sequence[Question]) -> list[float]:
    return [float(right(q, log.found[column, q.id].reply)) for q in among]


def _data(name: str) -> str:
    return files("opslore.evaluation").joinpath(f"data/{name}").read_text(encoding="utf-8")
