"""What `opslore ask` makes of the bundle's replies: the answer, or that a person is asked.

First the validation questions are asked as `ask` would ask them, and say how sure is sure enough;
then every constrained reply is judged by that threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from opslore import prompt, store
from opslore.cards import Calibration, Example, Result
from opslore.dataset.calibrating import FILE
from opslore.evaluation import calibration, columns
from opslore.evaluation.columns import Run
from opslore.evaluation.scorers import Scorer
from opslore.judging import candidate, judged, signals
from opslore.servers import Reply, Server


def questions(dataset: Path) -> list[Example]:
    """The validation questions of a dataset; none in one that an older version wrote."""
    path = dataset / FILE
    return list(store.read_rows(path, Example)) if path.is_file() else []


def ask(run: Run, among: Sequence[Example], server: Server) -> None:
    """Ask the bundle the validation questions, limited to what each prompt shows."""
    columns.ask(run, "tuned", among, server, columns.open_book)
    columns.constrain(run, server, among)


def learn(run: Run, among: Sequence[Example], work: Path) -> Calibration | None:
    """How sure is sure enough, from the replies to the validation questions.

    Leaves `calibrate.jsonl` in `work`: each reply with its signals, and whether it was right.
    """
    scorer = Scorer(run.index)
    asked, rows = [], []
    for example in among:
        result = run.log.found["constrained", example.id]
        hits, reply = columns.found(run, example), _reply(result)
        found = signals(reply, hits, example.question)
        # Whether there is an answer must not depend on how sure it is: that is what is learned.
        stated = prompt.stated(example.question, hits)
        shown = prompt.shown(example.question, hits)
        command, entry, _ = candidate(reply.text, shown, example.question, stated)
        answers = entry is not None and reply.stopped
        scored = scorer.score(example, result.model_copy(update={"reply": command}))
        right = scored.scores["equivalent"] == 1.0
        asked.append(calibration.Asked(example.group, answers, right, found))
        scores = {**scored.scores, **_finite(found), "answers": float(answers)}
        rows.append(scored.model_copy(update={"scores": scores}))
    store.write_rows(work / FILE, rows)
    return calibration.calibrate(asked, run.agent.evaluate.risk) if asked else None


def applied(run: Run, example: Example, result: Result, sure: Calibration | None) -> Result:
    """A constrained reply as `ask` answers it; the signals stand among its scores."""
    hits, reply = columns.found(run, example), _reply(result)
    told = judged(reply, hits, example.question, {}, sure)
    found = _finite(signals(reply, hits, example.question))
    if told.probability is not None:
        found["probability"] = told.probability
    return result.model_copy(update={"reply": told.command, "scores": {**result.scores, **found}})


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """What is known: JSON has no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _reply(result: Result) -> Reply:
    scores = result.scores
    return Reply(
        text=result.reply,
        stopped=scores.get("stopped") == 1.0,
        tokens=int(scores.get("tokens", 0)),
        seconds=result.seconds,
        confidence=scores.get("confidence", math.nan),
        margin=scores.get("margin", math.nan),
    )
