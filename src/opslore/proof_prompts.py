"""More questions about the alerts that changed, asked of the new release for its proof.

They are written as the test prompts are (the phrasings of the test side), none is a training
question or one that the evaluation asked, and the replies are decoded, judged and scored as there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from opslore import progress, steps, store
from opslore.cards import Bundle, Dataset, Evaluation, Example, Result, Split
from opslore.changes import Changes
from opslore.config import Agent
from opslore.dataset import phrasing
from opslore.dataset.clean import answer_in_question
from opslore.dataset.writer import Writer
from opslore.evaluation import abstention, columns, scorers
from opslore.evaluation.columns import Run
from opslore.evaluation.gate import ANSWERS
from opslore.evaluation.replies import Log
from opslore.evaluation.run import server
from opslore.index import Entry, Index
from opslore.store import Store

ENOUGH = 8
"""Questions about each changed alert, those of the evaluation included: one of every format twice.
With fewer one chance answer decides."""

MOST = 200
"""Questions that a proof asks at most; with many changes each alert gets fewer, at least two."""

ASKING: tuple[Split, ...] = ("s1", "s2", "s6")
"""Splits whose questions are about one alert of the runbook, which the index has."""

_OWN = "proof-"


def own(example: Example) -> bool:
    """Whether a prompt was asked for a proof alone."""
    return example.id.startswith(_OWN)


def about(example: Example, alert: str) -> bool:
    """Whether a test prompt asks about an alert, and the right answer is the alert's own."""
    return example.group == alert and example.split in ASKING and not example.hidden


def room(home: Store, bundle: Bundle) -> Path:
    """Where a proof in progress is kept; a killed one goes on from there."""
    return home.home / ".work" / f"proof-{bundle.id[:16]}"


def discard(folder: Path) -> None:
    """Forget a proof in progress."""
    shutil.rmtree(folder, ignore_errors=True)


def ask(
    agent: Agent,
    home: Store,
    changes: Changes,
    bundle: Bundle,
    evaluation: Evaluation,
    asked: Sequence[Example],
) -> list[tuple[Example, Result]]:
    """Ask a release about every alert that changed or came; prompts with their scored replies.

    Args:
        agent: the agent file.
        home: its store.
        changes: what changed.
        bundle: the release's.
        evaluation: the release's; its calibration says how sure is sure enough.
        asked: the prompts that the evaluation asked.
    """
    dataset = home.path(steps.parent(home, evaluation, Dataset))
    index = Index.read(dataset)
    wanted = [
        index.by_id[change.id]
        for change in changes.alerts
        if change.what != "removed" and change.id in index.by_id
    ]
    examples = _examples(agent, index, dataset, wanted, asked)
    if not examples:
        return []

    def report(column: str, done: int, total: int) -> None:
        progress.report("prove", done, total, column)

    work = room(home, bundle)
    work.mkdir(parents=True, exist_ok=True)
    with Log(work / "results.jsonl") as log:
        run = Run(agent, examples, index, log, report)
        with server(agent, home.path(bundle) / "model.gguf") as loaded:
            columns.ask(run, "tuned", examples, loaded, columns.open_book)
            columns.constrain(run, loaded, examples)
        scorer = scorers.Scorer(index)
        sure = evaluation.calibration
        return [
            (one, scorer.score(one, abstention.applied(run, one, log.found[ANSWERS, one.id], sure)))
            for one in examples
        ]


def _examples(
    agent: Agent, index: Index, dataset: Path, wanted: Sequence[Entry], asked: Sequence[Example]
) -> list[Example]:
    """As many new questions about each alert as it takes to have enough."""
    writer = Writer(agent.prepare, agent.system_prompt, index)
    taken = {e.question for e in store.read_rows(dataset / "train.jsonl", Example)}
    taken |= {e.question for e in asked}
    each = max(2, min(ENOUGH, MOST // max(1, len(wanted))))
    found = []
    for entry in wanted:
        least = each - sum(about(e, entry.id) for e in asked)
        for example in _written(writer, entry, each):
            if least <= 0:
                break
            if example.question in taken or answer_in_question(example):
                continue
            taken.add(example.question)
            least -= 1
            found.append(example)
    return found


def _written(writer: Writer, entry: Entry, count: int) -> Iterator[Example]:
    """Questions about an alert in every format in turn; more than are wanted, for some are taken.

    They are S1 prompts, also about an alert that S2 holds out: a release has to answer it too.
    """
    kinds = phrasing.formats()
    for number in range(2 * count):
        rng = writer.rng(f"{_OWN}{entry.id}/{number}")
        question = writer.phrase(entry, kinds[number % len(kinds)], "test", rng)
        example = writer.example(entry, question, "s1", number)
        yield example.model_copy(update={"id": f"{_OWN}{entry.id}-{number}"})
