"""Ask the bundle, its base and the baselines the same prompts; score; judge. READ FIRST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opslore import machine, models, store
from opslore.cards import TESTS, Calibration, Example, Result
from opslore.config import Agent
from opslore.dataset import clean
from opslore.dataset.practice import indexes
from opslore.errors import DataError, MissingInput
from opslore.evaluation import abstention, columns, gate, hygiene, retention, scorers, scores
from opslore.evaluation import champion as rival
from opslore.evaluation.champion import Champion
from opslore.evaluation.columns import Progress, Run
from opslore.evaluation.evidence import Evidence
from opslore.evaluation.replies import FILE, Log
from opslore.index import Index
from opslore.servers import Server, load

ENGINE = 512 << 20
"""Bytes of memory that an engine takes beside its weights: keys, values, buffers."""


def evaluate(
    agent: Agent,
    dataset: Path,
    bundle: Path,
    adapter: Path,
    work: Path,
    progress: Progress | None = None,
    champion: Champion | None = None,
) -> dict[str, Any]:
    """Evaluate a bundle; a run that was killed goes on where it stopped, to the same numbers.

    Leaves in `work` every reply with its scores and its reason: results.jsonl, calibrate.jsonl
    (validation questions) and general.jsonl (S5).

    Args:
        agent: the agent file.
        dataset: folder with s1.jsonl to s6.jsonl and index.jsonl.
        bundle: folder with model.gguf and catalogue.json.
        adapter: folder with merged/.
        work: folder of this run, named by its id.
        progress: called with (column, done, total).
        champion: what it is compared with (G5); None when there is no release yet.

    Returns:
        passed, headline, scores, gates, settings, champion and calibration of the Evaluation card.

    Raises:
        MissingInput: a model or the dataset is not there.
        DataError: the dataset has no test prompt.
        ServerError: a model gave up.
    """
    examples = read(dataset)
    check(bundle / "model.gguf", bundle / "catalogue.json", adapter / "merged" / "config.json")
    with Log(work / FILE) as log:
        run = Run(agent, examples, Index.read(dataset), log, progress or _quiet, indexes(dataset))
        asked = {**run.asked(), "champion": rival.asked(run, champion)}
        columns.baselines(run)
        validation = abstention.questions(dataset)
        rendered = _ask_bundle(run, asked, bundle, validation)
        sure = abstention.learn(run, validation, work)
        _ask_others(run, asked, champion)
        kept = _retention(run, bundle, adapter)
        columns.ask_trained(run, asked["trained"], adapter / "merged", rendered)
        results = _scored(run, asked, sure)
    store.write_rows(work / FILE, results.values())
    rows = hygiene.trained(dataset)
    evidence = Evidence(
        examples=examples,
        results=results,
        asked={column: [e.id for e in among] for column, among in asked.items()},
        thresholds=agent.evaluate.gate,
        resamples=agent.evaluate.resamples,
        templates=hygiene.templates(bundle, adapter),
        leaks=clean.leaks([*rows, *examples]) if rows else None,
        weights=hygiene.weights(bundle),
        secrets=hygiene.secrets(dataset, rows, examples, results.values()),
        champion=champion.version if champion else "",
        retention=kept,
    )
    return {**_card(evidence), "settings": _settings(agent), "calibration": sure}


def ask(
    agent: Agent,
    dataset: Path,
    bundle: Path,
    work: Path,
    part: tuple[int, int],
    progress: Progress,
) -> int:
    """Ask the bundle and its base one part of the prompts; returns how many replies there are.

    Args:
        agent: the agent file.
        dataset: folder with s1.jsonl to s6.jsonl and index.jsonl.
        bundle: folder with model.gguf and catalogue.json.
        work: folder of this part; `results.jsonl` in it has the replies.
        part: which (from 0), of how many.
        progress: called with (column, done, total).

    Raises:
        MissingInput: a model or the dataset is not there.
        DataError: the dataset has no test prompt.
        ServerError: a model gave up.
    """
    examples = read(dataset)
    check(bundle / "model.gguf", bundle / "catalogue.json")
    number, count = part
    with Log(work / FILE) as log:
        run = Run(agent, examples, Index.read(dataset), log, progress, indexes(dataset))
        mine = {column: among[number::count] for column, among in run.asked().items()}
        # Both weights of a parity check answer on one machine: that of the whole evaluation.
        validation = abstention.questions(dataset)[number::count]
        _ask_bundle(run, {**mine, "trained": []}, bundle, validation)
        ask_base(run, mine["base"])
        return len(log.found)


def _quiet(column: str, done: int, total: int) -> None:
    pass


def _card(evidence: Evidence) -> dict[str, Any]:
    """What the gates and the scores say of the evidence."""
    gates = gate.judge(evidence)
    found = scores.scores(evidence.results, evidence.examples, evidence.resamples)
    found += retention.scores(evidence.retention, evidence.resamples)
    return {
        "passed": all(g.passed for g in gates),
        "headline": scores.headline(found),
        "scores": found,
        "gates": gates,
        "champion": evidence.champion,
    }


def read(dataset: Path) -> list[Example]:
    """The test prompts of a dataset, S1 first.

    Raises:
        DataError: there is none, or an id stands there twice.
    """
    examples = []
    for split in TESTS:
        path = dataset / f"{split}.jsonl"
        examples += list(store.read_rows(path, Example)) if path.is_file() else []
    if not examples:
        raise DataError(
            f"{dataset}: no test prompt in s1.jsonl to s6.jsonl",
            hint="set prepare.s1 above 0 and run `opslore prepare AGENT.yaml`",
        )
    twice = len(examples) - len({e.id for e in examples})
    if twice:
        raise DataError(f"{dataset}: {twice} test prompts share an id with another one")
    return examples


def check(*paths: Path) -> None:
    """Name what is missing before minutes are spent asking.

    Raises:
        MissingInput: one of the files is not there.
    """
    for path in paths:
        if not path.is_file():
            step = "train" if path.parent.name == "merged" else "export"
            raise MissingInput(f"{path}: no such file", hint=f"run `opslore {step} AGENT.yaml`")


def _ask_bundle(
    run: Run, asked: dict[str, list[Example]], bundle: Path, validation: list[Example]
) -> dict[str, str]:
    """The columns of the shipped GGUF; returns its rendered prompts for the parity check."""
    with server(run.agent, bundle / "model.gguf") as loaded:
        abstention.ask(run, validation, loaded)
        columns.ask(run, "tuned", asked["tuned"], loaded, columns.open_book)
        columns.constrain(run, loaded, asked["constrained"])
        columns.ask(run, "closed", asked["closed"], loaded, columns.closed_book(run.agent))
        return {e.id: loaded.render(columns.open_book(e)) for e in asked["trained"]}


def server(agent: Agent, gguf: Path) -> Server:
    """A GGUF loaded to be evaluated."""
    return load(agent.evaluate.server).Server(
        gguf, context=agent.export.num_ctx, parallel=engines(gguf)
    )


def engines(gguf: Path) -> int:
    """How many prompts are answered at the same time: cores, as far as memory goes."""
    free = machine.free_memory()
    room = 1 if free is None else free // (2 * (ENGINE + gguf.stat().st_size))
    return max(1, min(machine.cores(), room))


def _ask_others(run: Run, asked: dict[str, list[Example]], champion: Champion | None) -> None:
    """The columns of the untrained base and of the champion."""
    ask_base(run, asked["base"])
    if champion is not None:
        rival.ask(run, champion, lambda gguf: server(run.agent, gguf))


def ask_base(run: Run, among: list[Example]) -> None:
    """The column of the untrained base model."""
    if not among:
        return
    agent = run.agent
    digest = models.digest(agent.base_model, agent.revision)
    columns.ask_base(
        run,
        among,
        models.cache() / "base-replies",
        lambda: server(agent, base_gguf(agent)),
        f"{digest} {agent.export.quantization} {agent.evaluate.server}",
    )


def _retention(run: Run, bundle: Path, adapter: Path) -> retention.Retention | None:
    """S5: the shipped GGUF and the merged weights beside the base model's."""
    agent = run.agent
    base = models.resolve(agent.base_model, agent.revision)
    made_from = f"{base.digest} {agent.export.quantization} {agent.evaluate.server}"
    return retention.measure(
        run.log,
        agent.evaluate.general,
        retention.Model(lambda: server(agent, bundle / "model.gguf"), lambda: adapter / "merged"),
        retention.Model(lambda: server(agent, base_gguf(agent)), lambda: base.folder),
        models.cache() / "base-replies" / f"s5-{retention.digest(made_from)}.jsonl",
        run.progress,
    )


def base_gguf(agent: Agent) -> Path:
    """The untrained base model as a GGUF of the bundle's quantisation; made once, then kept."""
    from opslore.bundle import gguf

    base = models.resolve(agent.base_model, agent.revision)
    target = models.cache() / "base-gguf" / f"{base.digest[:16]}-{agent.export.quantization}.gguf"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        template = hygiene.template(base.folder)
        gguf.write(base.folder, target, agent.export.quantization, base, template)
    return target


def _scored(
    run: Run, asked: dict[str, list[Example]], sure: Calibration | None
) -> dict[tuple[str, str], Result]:
    scorer = scorers.Scorer(run.index)
    results = {}
    for example, reply in columns.answered(run.log, asked):
        answers = reply.column == "constrained"
        told = abstention.applied(run, example, reply, sure) if answers else reply
        results[told.column, example.id] = scorer.score(example, told)
    for example in asked["trained"]:
        trained, tuned = results["trained", example.id], results["tuned", example.id]
        equal = float(scorers.same(trained.reply, tuned.reply))
        results["trained", example.id] = trained.model_copy(
            update={"scores": {**trained.scores, "same": equal}}
        )
    return results


def _settings(agent: Agent) -> dict[str, str]:
    """What has to be known to believe the numbers."""
    return {
        "decoding": "greedy, one prompt at a time in each engine, no prompt cache",
        "server": agent.evaluate.server,
        "quantization": agent.export.quantization,
        "max_tokens": str(agent.evaluate.max_tokens),
        "trained weights": "transformers, float32, greedy",
        "bootstrap": f"{agent.evaluate.resamples} resamples by alert, seed 0",
        "gated columns": "constrained with the vote (G1, G3), both (G2), tuned (G4, G5, G7)",
    }
