"""READ FIRST: the seven steps in order, and `run`, which takes them all.

Each step takes the agent file and the cards of the steps before it, and gives a card. A step that
was done before with the same inputs returns the same card and does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from opslore import contents, models, progress, store, trainers
from opslore.bundle import gguf, modelfile
from opslore.cards import Adapter, Bundle, Card, Corpus, Dataset, Deployment, Evaluation, Release
from opslore.config import Agent
from opslore.config_sources import RunbookSource
from opslore.errors import GateFailed, MissingInput
from opslore.store import Store
from opslore.trainers import relay

C = TypeVar("C", bound=Card)


def store_of(agent: Agent) -> Store:
    """The store an agent's steps fill: a folder, or a bucket with a folder as its cache."""
    return store.opened(agent.store, agent.name)


def collect(agent: Agent) -> Corpus:
    """Read the sources: alerts with their commands, threads, pages and corrections."""
    from opslore.sources import gather

    home = store_of(agent)
    return gather.keep(home, gather.gathered(home, agent.collect))


def prepare(agent: Agent, corpus: Corpus) -> Dataset:
    """Write the examples of every split, and the index their prompts are made from."""
    from opslore.dataset import answers, approved, asked, examples, paraphrase, practice
    from opslore.sources import runbook

    home = store_of(agent)
    section = {"prepare": agent.prepare.model_dump(), "system": agent.system_prompt}
    if agent.prepare.task == "answers":
        approvals = Path(agent.prepare.answers.approvals)

        def written(work: Path) -> dict[str, Any]:
            found = home.path(corpus)
            return answers.prepare(agent.prepare, agent.system_prompt, found, work, approvals)

        decided = approved.Approved.read(approvals).digest
        return home.made(Dataset, section, [corpus], written, facts=[decided])

    def make(work: Path) -> dict[str, Any]:
        reword = paraphrase.writer(agent.prepare, agent.system_prompt, work)
        others = []
        if agent.prepare.practice:
            source = RunbookSource(path=str(practice.FOLDER))
            others = runbook.collect(source, Path.cwd()).documents
        return examples.prepare(
            agent.prepare, agent.system_prompt, home.path(corpus), work, reword, others
        )

    facts = asked.facts(agent.prepare.questions)
    facts += practice.facts() if agent.prepare.practice else []
    return home.made(Dataset, section, [corpus], make, facts=facts)


def train(agent: Agent, dataset: Dataset) -> Adapter:
    """Fit a LoRA adapter to the train split."""
    home = store_of(agent)
    digest = models.digest(agent.base_model, agent.revision)

    def make(work: Path) -> dict[str, Any]:
        base = models.resolve(agent.base_model, agent.revision)
        trainer = trainers.load(agent.train.backend)
        begun = relay.Relay(home, work)
        begun.take()

        def step(done: int, total: int, loss: float) -> None:
            progress.report("train", done, total, f"loss {loss:.3f}")
            begun.give()

        fitted = trainer.fit(agent.train, base, home.path(dataset), work, step)
        return {"base_model": agent.base_model, "base_digest": digest, **fitted}

    made = home.made(Adapter, agent.train.model_dump(), [dataset], make, facts=[digest])
    if not store.is_finding():
        relay.clear(home)
    return made


def export(agent: Agent, adapter: Adapter) -> Bundle:
    """Write what is shipped: GGUF, Modelfile, command catalogue and index."""
    home = store_of(agent)
    dataset = parent(home, adapter, Dataset)
    section = {
        "export": agent.export.model_dump(),
        "task": agent.prepare.task,
        "name": agent.name,
        "system": agent.system_prompt,
        "num_predict": agent.evaluate.max_tokens,
    }

    def make(work: Path) -> dict[str, Any]:
        base = models.resolve(agent.base_model, agent.revision)
        merged = home.path(adapter) / "merged"
        template = (merged / "chat_template.jinja").read_text("utf-8")
        gguf.write(merged, work / "model.gguf", agent.export.quantization, base, template)
        known = contents.write(agent, home.path(dataset), work)
        text = modelfile.render(
            "model.gguf",
            template,
            agent.system_prompt,
            modelfile.stops(template),
            contents.parameters(agent),
        )
        store.write(work / "Modelfile", text)
        return {
            "base_model": agent.base_model,
            "quantization": agent.export.quantization,
            "gguf_sha256": store.sha256(work / "model.gguf"),
            "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
            "commands": known,
        }

    return home.made(Bundle, section, [adapter], make)


def evaluate(agent: Agent, dataset: Dataset, bundle: Bundle) -> Evaluation:
    """Ask the bundle, its base and the baselines the test prompts; score; judge.

    What persons let pass since (`overriding`) counts. Which release it is compared with does not
    name the evaluation: it is the one deployed when the evaluation is made.
    """
    return judged(agent, dataset, bundle, [])


def judged(agent: Agent, dataset: Dataset, bundle: Bundle, known: Sequence[Path]) -> Evaluation:
    """The evaluation, with the replies of these files not asked for again (see `sharding`)."""
    from opslore import champions, overriding
    from opslore.evaluation import replies

    home = store_of(agent)
    adapter = parent(home, bundle, Adapter)

    def make(work: Path) -> dict[str, Any]:
        folders = home.path(dataset), home.path(bundle), home.path(adapter), work
        replies.join(known, work)

        def report(column: str, done: int, total: int) -> None:
            progress.report("evaluate", done, total, column)

        if agent.prepare.task == "answers":
            from opslore.evaluation import prose

            return prose.evaluate(agent, *folders, report)
        from opslore.evaluation import run

        return run.evaluate(agent, *folders, report, champions.champion(home, bundle))

    made = home.made(Evaluation, agent.evaluate.model_dump(), [dataset, bundle], make)
    return overriding.newest(home, made)


def check(evaluation: Evaluation) -> None:
    """Refuse an evaluation with a failed gate that nobody let pass.

    Raises:
        GateFailed: one line per such gate.
    """
    from opslore.evaluation import gate

    if failed := gate.reasons(evaluation.gates, evaluation.overrides):
        raise GateFailed(
            failed,
            hint="`opslore report AGENT.yaml` shows every wrong answer, `opslore why AGENT.yaml`"
            " those behind each gate",
        )


def publish(agent: Agent, bundle: Bundle, evaluation: Evaluation) -> Release:
    """Archive and register a version that passed the gate.

    Raises:
        GateFailed: the evaluation did not pass.
    """
    from opslore.evaluation.numbers import summary
    from opslore.release import issue, record
    from opslore.release.version import version as named

    check(evaluation)
    home = store_of(agent)
    adapter = parent(home, bundle, Adapter)
    dataset = dataset_of(home, bundle)
    corpus = parent(home, dataset, Corpus)
    version = named(bundle.id, bundle.created)

    def make(work: Path) -> dict[str, Any]:
        cards = (corpus, dataset, adapter, bundle, evaluation)
        archives = issue.write(agent, home, cards, version)
        adapters, model = archives[issue.ADAPTERS], archives[issue.MODEL]
        uris = [home.uri(issue.key(home, version, n)) for n in (issue.ADAPTERS, issue.MODEL)]
        run_id = record.register(
            agent, cards, version, (adapters, model), summary(evaluation), (uris[0], uris[1])
        )
        return {
            "version": version,
            "agent": agent.name,
            "adapters_sha256": adapters,
            "model_sha256": model,
            "registry": agent.publish.registry,
            "run_id": run_id,
            "blessed": evaluation.passed,
        }

    return home.made(Release, agent.publish.model_dump(), [bundle, evaluation], make)


def deploy(agent: Agent, release: Release, again: bool = False) -> Deployment:
    """Put a release where the agent file says, then move every pointer to it, or none.

    Args:
        agent: the agent file.
        release: what to deploy.
        again: stage and verify everything anew, also a release that was rolled back.

    Raises:
        GateFailed: the release was rolled back.
        IntegrityError: the release is not what was signed, or older than what is deployed.
        ServerError: a target refused; every pointer names what it named before.
    """
    from opslore.release import rollout

    home = store_of(agent)
    if not store.is_finding():
        rollout.put(agent, home, release.version, again)
    section = [target.model_dump() for target in agent.deploy]

    def make(work: Path) -> dict[str, Any]:
        names = [target.name for target in rollout.targets(agent, home)]
        return {"version": release.version, "targets": names}

    return home.made(Deployment, section, [release], make)


def rollback(agent: Agent, version: str = "") -> list[str]:
    """Return every pointer to the release before, or to an older one; the names of what moved.

    Raises:
        MissingInput: there is no release to go back to.
        ServerError: a target refused; every pointer names what it named before.
    """
    from opslore.release import rollout

    return rollout.back(agent, store_of(agent), version)


def run(agent: Agent) -> Deployment:
    """All seven steps; what is already made is not made again.

    Raises:
        GateFailed: the evaluation refuses the release; everything made so far is kept.
    """
    corpus = collect(agent)
    dataset = prepare(agent, corpus)
    adapter = train(agent, dataset)
    bundle = export(agent, adapter)
    evaluation = evaluate(agent, dataset, bundle)
    release = publish(agent, bundle, evaluation)
    return deploy(agent, release)


def parent(home: Store, card: Card, kind: type[C]) -> C:
    """The card of a kind that another card was made from.

    Raises:
        MissingInput: its folder is gone.
    """
    if (found := home.parent(card, kind)) is not None:
        return found
    raise MissingInput(
        f"the {kind.kind} that {card.uri} was made from is gone",
        hint=f"run `opslore {store.STEP_OF[kind.kind]} AGENT.yaml` again",
    )


def dataset_of(home: Store, bundle: Bundle) -> Dataset:
    """The dataset whose index a bundle has: of a refreshed one its own, else the trained one.

    Raises:
        MissingInput: its folder is gone.
    """
    return home.parent(bundle, Dataset) or parent(home, parent(home, bundle, Adapter), Dataset)
