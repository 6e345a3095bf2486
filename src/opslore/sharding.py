"""`evaluate` in pieces: parts of the prompts asked on any machine, then judged as one.

The evaluation has the id that `steps.evaluate` gives. What needs two models at once (parity with
the trained weights), everyday questions and the champion are asked where it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opslore import files, progress, steps, store
from opslore.cards import TESTS, Adapter, Bundle, Dataset, Evaluation
from opslore.config import Agent
from opslore.evaluation.replies import FILE
from opslore.shard import Shard


def count(agent: Agent, dataset: Dataset, bundle: Bundle, size: int) -> int:
    """Parts of at most `size` prompts; 0 when one machine is enough, or it was evaluated already.

    Raises:
        ServerError: the bucket does not answer.
    """
    with store.finding():
        try:
            steps.evaluate(agent, dataset, bundle)
        except store.NotMade:
            pass
        else:
            return 0
    settings = agent.evaluate
    prompts = sum(dataset.splits.get(split, 0) for split in TESTS)
    if agent.prepare.task == "answers":
        wanted = max(settings.prose, settings.loss)
        prompts = min(dataset.splits.get("test", 0), wanted)
    return math.ceil(prompts / size) if prompts > size else 0


def ask(agent: Agent, dataset: Dataset, bundle: Bundle, number: int, of: int) -> Shard:
    """Ask one part of the prompts, and keep what was replied.

    Args:
        agent: the agent file.
        dataset: where the prompts are.
        bundle: who is asked.
        number: which part, from 0.
        of: how many parts there are.

    Raises:
        MissingInput: a model or the dataset is not there.
        DataError: the dataset has no test prompt.
        ServerError: a model gave up.
    """
    home = steps.store_of(agent)

    def report(column: str, done: int, total: int) -> None:
        progress.report("evaluate", done, total, f"{column}, part {number + 1} of {of}")

    def make(work: Path) -> dict[str, Any]:
        folders = home.path(dataset), home.path(bundle)
        if agent.prepare.task == "answers":
            from opslore.evaluation import prose

            adapter = home.path(steps.parent(home, bundle, Adapter))
            replies = prose.ask(agent, *folders, adapter, work, (number, of), report)
        else:
            from opslore.evaluation import run

            replies = run.ask(agent, *folders, work, (number, of), report)
        digest = files.sha256(work / FILE)
        return {"number": number, "count": of, "replies": replies, "digest": digest}

    section, facts = agent.evaluate.model_dump(), [f"{number} of {of}"]
    return home.made(Shard, section, [dataset, bundle], make, facts=facts)


def judge(agent: Agent, dataset: Dataset, bundle: Bundle, shards: Sequence[Shard]) -> Evaluation:
    """The evaluation, from these replies and from what nobody asked yet.

    Raises:
        IntegrityError: a shard's replies are not what its card says.
    """
    home = steps.store_of(agent)
    known = [home.path(shard) / FILE for shard in shards]
    for shard, path in zip(shards, known, strict=True):
        files.check(path, shard.digest)
    return steps.judged(agent, dataset, bundle, known)
