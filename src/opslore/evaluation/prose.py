"""Evaluate a bundle that answers in prose: loss, replies beside the base model's, the gate.

Read in this order: `evaluate` (what happens), prose_loss.py, prose_scores.py with prose_terms.py
(what a reply names), prose_parity.py, prose_gate.py. docs/decisions/0016 says why it is so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opslore import models, prompt, store
from opslore.cards import Document, Example, Message, Result, Span
from opslore.config import Agent
from opslore.errors import DataError, MissingInput
from opslore.evaluation import columns, hygiene, prose_gate, prose_judge, prose_loss, prose_parity
from opslore.evaluation import prose_scores as scoring
from opslore.evaluation import run as common
from opslore.evaluation.columns import Progress, Run, spread
from opslore.evaluation.evidence import Evidence
from opslore.evaluation.prose_terms import Known
from opslore.evaluation.replies import FILE, Log
from opslore.index import Index

KNOWN = "known.jsonl"
"""The fixed questions of an evaluation, in its folder."""


def evaluate(
    agent: Agent,
    dataset: Path,
    bundle: Path,
    adapter: Path,
    work: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a bundle; a run that was killed goes on where it stopped, to the same numbers.

    Leaves `results.jsonl` (losses, replies, scores) and `known.jsonl` in `work`.

    Args:
        agent: the agent file.
        dataset: folder with train.jsonl, test.jsonl and documents.jsonl.
        bundle: folder with model.gguf.
        adapter: folder with merged/.
        work: folder of this run, named by its id.
        progress: called with (column, done, total).

    Returns:
        passed, headline, scores, gates and settings of the Evaluation card.

    Raises:
        MissingInput: a model or the dataset is not there.
        DataError: the dataset has no test example.
        ServerError: a model gave up.
    """
    examples = read(dataset)
    common.check(bundle / "model.gguf", adapter / "merged" / "config.json")
    questions = known_questions(agent)
    report = progress or (lambda column, done, total: None)
    asked = _asked(agent, examples, questions)
    store.write_rows(work / KNOWN, questions)
    with Log(work / FILE) as log:
        run = Run(agent, examples, Index([]), log, report)
        rendered = _ask_bundle(run, asked, bundle)
        common.ask_base(run, asked["base"])
        _weigh(run, asked, adapter / "merged", rendered)
        _judge(run, asked["replies"])
        results = _scored(log, asked, dataset)
    store.write_rows(work / FILE, results.values())
    rows = hygiene.trained(dataset)
    evidence = Evidence(
        examples=[*examples, *questions],
        results=results,
        asked={column: [e.id for e in among] for column, among in asked.items()},
        thresholds=agent.evaluate.gate,
        resamples=agent.evaluate.resamples,
        templates=hygiene.templates(bundle, adapter),
        leaks=leaks(rows, examples) if rows else None,
        weights=hygiene.weights(bundle),
        secrets=hygiene.secrets(dataset, rows, examples, results.values()),
    )
    return {**_card(evidence, examples), "settings": _settings(agent)}


def ask(
    agent: Agent,
    dataset: Path,
    bundle: Path,
    adapter: Path,
    work: Path,
    part: tuple[int, int],
    progress: Progress,
) -> int:
    """Ask and weigh one part of the test examples; returns how many results there are.

    Args:
        agent: the agent file.
        dataset: folder with test.jsonl.
        bundle: folder with model.gguf.
        adapter: folder with merged/.
        work: folder of this part; `results.jsonl` in it has the replies and losses.
        part: which (from 0), of how many.
        progress: called with (column, done, total).

    Raises:
        MissingInput: a model or the dataset is not there.
        DataError: the dataset has no test example.
        ServerError: a model gave up.
    """
    examples = read(dataset)
    common.check(bundle / "model.gguf", adapter / "merged" / "config.json")
    number, count = part
    asked = _asked(agent, examples, known_questions(agent))
    mine = {column: among[number::count] for column, among in asked.items()} | {"trained": []}
    with Log(work / FILE) as log:
        run = Run(agent, examples, Index([]), log, progress)
        _ask_bundle(run, mine, bundle)
        common.ask_base(run, mine["base"])
        _weigh(run, mine, adapter / "merged", {})
        return len(log.found)


def _card(evidence: Evidence, examples: list[Example]) -> dict[str, Any]:
    """What the gates say of the evidence, and the scores of the test examples."""
    gates = prose_gate.judge(evidence)
    found = scoring.scores(evidence.results, examples, evidence.resamples)
    return {
        "passed": all(g.passed for g in gates),
        "headline": scoring.headline(found),
        "scores": found,
        "gates": gates,
    }


def read(dataset: Path) -> list[Example]:
    """The test examples of a dataset.

    Raises:
        DataError: there is none, or an id stands there twice.
    """
    path = dataset / "test.jsonl"
    found = list(store.read_rows(path, Example)) if path.is_file() else []
    if not found:
        raise DataError(
            f"{path}: no test example",
            hint="add sources or raise prepare.test, then run `opslore prepare AGENT.yaml`",
        )
    if twice := len(found) - len({e.id for e in found}):
        raise DataError(f"{path}: {twice} test examples share an id with another one")
    return found


def known_questions(agent: Agent) -> list[Example]:
    """The fixed questions of the agent file as prompts without a reference."""
    out = []
    for number, question in enumerate(agent.evaluate.known, 1):
        turns = prompt.messages(agent.system_prompt, question)
        out.append(
            Example(
                id=f"known-{number:02}",
                messages=[*turns, Message(role="assistant", content="")],
                target="",
                source=Span(file="evaluate.known", first=number, last=number),
                group=f"known-{number:02}",
                split="test",
                family="known",
                question=question,
                book="closed",
            )
        )
    return out


def _asked(
    agent: Agent, examples: Sequence[Example], questions: Sequence[Example]
) -> dict[str, list[Example]]:
    """The examples of every column; `replies` are the prompts with a reference."""
    settings = agent.evaluate
    replies = spread(examples, settings.prose)
    weighed = spread(examples, settings.loss)
    return {
        "replies": replies,
        "tuned": [*replies, *questions],
        "base": [*replies, *questions],
        "trained": spread(replies, settings.parity),
        "loss-tuned": weighed,
        "loss-base": weighed,
    }


def _ask_bundle(run: Run, asked: dict[str, list[Example]], bundle: Path) -> dict[str, str]:
    """The shipped GGUF's replies, and its rendered prompts for the parity check."""
    with common.server(run.agent, bundle / "model.gguf") as server:
        columns.ask(run, "tuned", asked["tuned"], server, columns.open_book)
        return {e.id: server.render(columns.open_book(e)) for e in asked["trained"]}


def _weigh(
    run: Run, asked: dict[str, list[Example]], merged: Path, rendered: dict[str, str]
) -> None:
    """Losses of both weights, and the trained weights' view of the GGUF's replies."""
    agent, log, weighed = run.agent, run.log, asked["loss-tuned"]
    prose_loss.measure(
        log, "loss-tuned", weighed, merged, lambda n: run.progress("loss", n, len(weighed))
    )
    digest = models.digest(agent.base_model, agent.revision)
    prose_loss.measure_base(
        log,
        "loss-base",
        weighed,
        lambda: models.resolve(agent.base_model, agent.revision).folder,
        models.cache() / "base-replies" / f"loss-{digest[:16]}.jsonl",
        lambda n: run.progress("loss of the base", n, len(weighed)),
    )
    read_ = asked["trained"]
    if any(log.get("trained", e.id) is None for e in read_):
        with prose_loss.Weights(merged) as weights:
            prose_parity.compare(
                log, read_, weights, rendered, lambda n: run.progress("trained", n, len(read_))
            )


def _judge(run: Run, among: list[Example]) -> None:
    settings = run.agent.evaluate.judge
    if settings is not None:
        prose_judge.judge(
            run.log, settings, among, lambda done: run.progress("judge", done, len(among))
        )


def _scored(
    log: Log, asked: dict[str, list[Example]], dataset: Path
) -> dict[tuple[str, str], Result]:
    path = dataset / "documents.jsonl"
    if not path.is_file():
        raise MissingInput(f"{path}: no such file", hint="run `opslore prepare AGENT.yaml`")
    scorer = scoring.Scorer(Known.of(store.read_rows(path, Document)))
    out: dict[tuple[str, str], Result] = {}
    columns_ = {**asked, "judge": asked["replies"]}
    for column in ("tuned", "base", "trained", "loss-tuned", "loss-base", "judge"):
        for example in sorted(columns_[column], key=lambda e: e.id):
            if (found := log.get(column, example.id)) is None:
                continue
            replied = column in ("tuned", "base")
            out[column, example.id] = scorer.score(example, found) if replied else found
    return out


def leaks(trained: Sequence[Example], tests: Sequence[Example]) -> list[str]:
    """One line for every test example whose thread, question or answer was trained."""
    groups = {e.group: e.id for e in trained}
    questions = {_plain(e.question): e.id for e in trained}
    answers = {_plain(e.target): e.id for e in trained}
    out = []
    for e in tests:
        for what, seen in (
            ("one thread or page", groups.get(e.group)),
            ("one question", questions.get(_plain(e.question))),
            ("one answer", answers.get(_plain(e.target))),
        ):
            if seen is not None:
                out.append(f"{e.id} and {seen}: {what} on both sides")
    return out


def _plain(text: str) -> str:
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()


def _settings(agent: Agent) -> dict[str, str]:
    """What has to be known to believe the numbers."""
    settings = agent.evaluate
    told = {
        "task": "answers",
        "decoding": "greedy, one prompt at a time in each engine, no prompt cache",
        "server": settings.server,
        "quantization": agent.export.quantization,
        "max_tokens": str(settings.max_tokens),
        "loss": "nats per token of the reference and its end of turn; transformers, float32 on CPU",
        "bootstrap": f"{settings.resamples} resamples by thread or page, seed 0",
        "gated column": "tuned: the shipped GGUF without help, free decoding",
    }
    if settings.judge is not None:
        told["judge"] = f"{settings.judge.model}, both orders, a verdict counts when they agree"
    return told
