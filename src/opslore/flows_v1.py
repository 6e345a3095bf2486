"""The same steps as Flyte 1 tasks, and the workflow `agent_training_pipeline`.

For clusters that still run Flyte 1. The workflow's body only says what follows what: it runs once,
when the workflow is registered, so whatever it computed would be frozen there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from flytekit import Cache, Deck, Resources, Secret, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException

from opslore import flowing, originals, steps
from opslore.cards import Adapter, Bundle, Card, Corpus, Dataset, Deployment, Evaluation, Release
from opslore.config import Agent, Train
from opslore.errors import OpsloreError

C = TypeVar("C", bound=Card)
F = TypeVar("F", bound=Callable[..., Any])

TRAIN = Train()
"""Where the workflow's own defaults come from."""


class Keys(NamedTuple):
    """What `agent_training_pipeline` returns; `originals.Facts` says what each one is."""

    model_version: str
    mlflow_uri: str
    minio_path: str
    adapter_path: str
    accuracy: float
    ollama_model_name: str
    ollama_output_path: str
    ollama_modelfile_path: str
    ollama_minio_path: str
    ollama_import_job: str


def _step(name: str) -> Callable[[F], F]:
    """Declare a task: what its pod needs, and what of it Flyte may keep."""
    needs = flowing.NEEDS[name]
    asked = Resources(needs.millicores, f"{needs.memory}Gi", str(needs.gpus) or None)
    kept = name in flowing.CACHED and flowing.is_shared()
    declared: Callable[[F], F] = task(
        requests=asked,
        limits=asked,
        retries=flowing.RETRIES,
        container_image=flowing.IMAGE,
        environment=flowing.known(),
        secret_requests=[
            Secret(group or None, key, mount_requirement=Secret.MountType.ENV_VAR, env_var=key)
            for group, key in flowing.SECRETS
        ],
        enable_deck=True,
        deck_fields=(),  # its own tabs list every package, which takes pip seconds for each task
        cache=Cache(version=flowing.CACHE_VERSION) if kept else False,
    )
    return declared


_flow: Callable[[F], F] = workflow


@contextmanager
def _once() -> Iterator[None]:
    """Flyte 1 tries no error of a task again but one: what waiting may mend becomes that one."""
    try:
        yield
    except OpsloreError as error:
        if error.retryable:
            raise FlyteRecoverableException(flowing.told(error)) from error
        raise


def _shown(agent: Agent, card: C) -> C:
    Deck("opslore", flowing.page(agent, card))
    return card


@_step("flow")
def configure(
    agent_name: str,
    model_name: str,
    runbook_path: str,
    learning_rate: float,
    batch_size: int,
    iters: int,
    lora_layers: int,
    lora_rank: int,
    lora_alpha: float,
) -> Agent:
    """The agent that the parameters describe, see `originals.agent`."""
    train = TRAIN.model_copy(
        update={
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "iters": iters,
            "lora_layers": lora_layers,
            "lora_rank": lora_rank,
            "lora_alpha": lora_alpha,
        }
    )
    with _once():
        return originals.agent(agent_name, model_name, runbook_path, train)


@_step("together")
def collect(agent: Agent) -> Corpus:
    """Read the sources: alerts with their commands, threads, pages and corrections."""
    with _once():
        return _shown(agent, steps.collect(agent))


@_step("prepare")
def prepare(agent: Agent, corpus: Corpus) -> Dataset:
    """Write the examples of every split, and the index their prompts are made from."""
    with _once():
        return _shown(agent, steps.prepare(agent, corpus))


@_step("train")
def train(agent: Agent, dataset: Dataset) -> Adapter:
    """Fit a LoRA adapter to the train split."""
    with _once():
        return _shown(agent, steps.train(agent, dataset))


@_step("export")
def export(agent: Agent, adapter: Adapter) -> Bundle:
    """Write what is shipped: GGUF, Modelfile, command catalogue and index."""
    with _once():
        return _shown(agent, steps.export(agent, adapter))


@_step("judge")
def evaluate(agent: Agent, dataset: Dataset, bundle: Bundle) -> Evaluation:
    """Ask the bundle, its base and the baselines the test prompts; score; judge."""
    with _once():
        return _shown(agent, steps.evaluate(agent, dataset, bundle))


@_step("publish")
def publish(agent: Agent, bundle: Bundle, evaluation: Evaluation) -> Release:
    """Archive and register a version that passed the gate."""
    with _once():
        return _shown(agent, steps.publish(agent, bundle, evaluation))


@_step("deploy")
def deploy(agent: Agent, release: Release, again: bool = False) -> Deployment:
    """Put a release where the agent file says, then move every pointer to it, or none."""
    with _once():
        return _shown(agent, steps.deploy(agent, release, again))


@_step("deploy")
def tell(
    agent: Agent,
    adapter: Adapter,
    bundle: Bundle,
    evaluation: Evaluation,
    release: Release,
    deployment: Deployment,
) -> Keys:
    """The ten keys, once everything is deployed."""
    with _once():
        facts = originals.facts(agent, adapter, bundle, evaluation, release)
        return Keys(**facts.model_dump())


@_flow
def agent_training_pipeline(
    agent_name: str,
    model_name: str,
    runbook_path: str,
    learning_rate: float = TRAIN.learning_rate,
    batch_size: int = TRAIN.batch_size,
    iters: int = TRAIN.iters,
    lora_layers: int = TRAIN.lora_layers,
    lora_rank: int = TRAIN.lora_rank,
    lora_alpha: float = TRAIN.lora_alpha,
) -> Keys:
    """Runbook to deployed model."""
    agent = configure(
        agent_name=agent_name,
        model_name=model_name,
        runbook_path=runbook_path,
        learning_rate=learning_rate,
        batch_size=batch_size,
        iters=iters,
        lora_layers=lora_layers,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
    )
    corpus = collect(agent=agent)
    dataset = prepare(agent=agent, corpus=corpus)
    adapter = train(agent=agent, dataset=dataset)
    bundle = export(agent=agent, adapter=adapter)
    evaluation = evaluate(agent=agent, dataset=dataset, bundle=bundle)
    release = publish(agent=agent, bundle=bundle, evaluation=evaluation)
    deployment = deploy(agent=agent, release=release, again=False)
    return tell(
        agent=agent,
        adapter=adapter,
        bundle=bundle,
        evaluation=evaluation,
        release=release,
        deployment=deployment,
    )
