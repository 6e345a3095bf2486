"""The seven steps as Flyte 2 tasks, and `run`, which takes them all.

Each task calls the step of the same name: what it makes, how it is named and when it is made again
is the step's. Cards cross the borders; the files stay in the store, which pods share (`s3://`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import flyte
import flyte.errors
import flyte.report

from opslore import flowing, harvesting, sharding, steps
from opslore.cards import Adapter, Bundle, Card, Corpus, Dataset, Deployment, Evaluation, Release
from opslore.config import Agent
from opslore.errors import OpsloreError
from opslore.harvest import Harvest
from opslore.shard import Shard

C = TypeVar("C", bound=Card)

RETRIES = flyte.RetryStrategy(
    count=flowing.RETRIES,
    backoff=flyte.Backoff(base=timedelta(seconds=10), factor=4, cap=timedelta(minutes=10)),
)
CACHE = flyte.Cache(behavior="override", version_override=flowing.CACHE_VERSION)


def _room(step: str, name: str, *after: flyte.TaskEnvironment) -> flyte.TaskEnvironment:
    needs = flowing.NEEDS[step]
    return flyte.TaskEnvironment(
        name=name,
        image=flowing.IMAGE,
        resources=flyte.Resources(
            cpu=needs.millicores, memory=f"{needs.memory}Gi", gpu=needs.gpus or None
        ),
        env_vars=flowing.known(),
        secrets=[
            flyte.Secret(key, group or None, as_env_var=key) for group, key in flowing.SECRETS
        ],
        depends_on=list(after),
    )


TRIGGERS = tuple(
    flyte.Trigger(
        name=f"opslore-{agent.name}",
        automation=flyte.Cron(flowing.CRON),
        description=f"All seven steps of {agent.name}; what is already made is not made again.",
        inputs={"agent": agent},
    )
    for agent in flowing.scheduled()
)

rooms = {step: _room(step, f"opslore-{step}") for step in flowing.NEEDS if step != "flow"}
env = _room("flow", "opslore", *rooms.values())


@contextmanager
def _once() -> Iterator[None]:
    """Flyte tries every error again but one: only what waiting may mend is to be tried again."""
    try:
        yield
    except OpsloreError as error:
        code, text = type(error).__name__, flowing.told(error)  # a note would be lost on the way
        if error.retryable:
            raise flyte.errors.RuntimeUserError(code, text) from error
        raise flyte.errors.NonRecoverableError(text, code) from error
    except Exception as error:
        raise flyte.errors.NonRecoverableError(str(error), type(error).__name__) from error


def _shown(agent: Agent, card: C) -> C:
    if page := flowing.page(agent, card):
        flyte.report.replace(page, do_flush=True)
    return card


@rooms["harvest"].task(retries=RETRIES)
def harvest(agent: Agent, number: int) -> Harvest:
    """Read one source, the entry `number` of `collect` (from 0)."""
    with _once():
        return harvesting.harvest(agent, number)


@rooms["together"].task(retries=RETRIES, report=True)
def together(agent: Agent, harvests: list[Harvest]) -> Corpus:
    """Put the sources together to one corpus."""
    with _once():
        return _shown(agent, harvesting.together(agent, harvests))


@env.task
def collect(agent: Agent) -> Corpus:
    """Read the sources side by side: alerts, threads, pages and corrections."""
    numbers = range(len(agent.collect))
    found = flyte.map(harvest, [agent] * len(numbers), numbers, return_exceptions=False)
    return together(agent, list(cast(Iterator[Harvest], found)))


@rooms["prepare"].task(retries=RETRIES, report=True)
def prepare(agent: Agent, corpus: Corpus) -> Dataset:
    """Write the examples of every split, and the index their prompts are made from."""
    with _once():
        return _shown(agent, steps.prepare(agent, corpus))


@rooms["train"].task(retries=RETRIES, report=True)
def train(agent: Agent, dataset: Dataset) -> Adapter:
    """Fit a LoRA adapter to the train split."""
    with _once():
        return _shown(agent, steps.train(agent, dataset))


@rooms["export"].task(retries=RETRIES, report=True)
def export(agent: Agent, adapter: Adapter) -> Bundle:
    """Write what is shipped: GGUF, Modelfile, command catalogue and index."""
    with _once():
        return _shown(agent, steps.export(agent, adapter))


@rooms["ask"].task(retries=RETRIES)
def ask(agent: Agent, dataset: Dataset, bundle: Bundle, number: int, of: int) -> Shard:
    """Ask one part of the test prompts, of `of` parts."""
    with _once():
        return sharding.ask(agent, dataset, bundle, number, of)


@rooms["judge"].task(retries=RETRIES, report=True)
def judge(agent: Agent, dataset: Dataset, bundle: Bundle, shards: list[Shard]) -> Evaluation:
    """Ask what no shard has; score; judge."""
    with _once():
        return _shown(agent, sharding.judge(agent, dataset, bundle, shards))


@env.task(retries=RETRIES)
def evaluate(agent: Agent, dataset: Dataset, bundle: Bundle) -> Evaluation:
    """Ask the bundle, its base and the baselines the test prompts; score; judge."""
    with _once():
        count = sharding.count(agent, dataset, bundle, flowing.SHARD)
    same = [[one] * count for one in (agent, dataset, bundle)]
    told = flyte.map(ask, *same, range(count), [count] * count, return_exceptions=False)
    return judge(agent, dataset, bundle, list(cast(Iterator[Shard], told)))


@rooms["publish"].task(retries=RETRIES, report=True)
def publish(agent: Agent, bundle: Bundle, evaluation: Evaluation) -> Release:
    """Archive and register a version that passed the gate."""
    with _once():
        return _shown(agent, steps.publish(agent, bundle, evaluation))


@rooms["deploy"].task(retries=RETRIES, report=True)
def deploy(agent: Agent, release: Release, again: bool = False) -> Deployment:
    """Put a release where the agent file says, then move every pointer to it, or none."""
    with _once():
        return _shown(agent, steps.deploy(agent, release, again))


@env.task(triggers=TRIGGERS)
def run(agent: Agent) -> Deployment:
    """All seven steps; what is already made is not made again."""
    corpus = collect(agent)
    dataset = prepare(agent, corpus)
    kept: flyte.CacheRequest = CACHE if flowing.is_shared(agent.store) else "disable"
    adapter = train.override(cache=kept)(agent, dataset)
    bundle = export.override(cache=kept)(agent, adapter)
    evaluation = evaluate(agent, dataset, bundle)
    release = publish(agent, bundle, evaluation)
    return deploy(agent, release)
