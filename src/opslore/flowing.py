"""What both ways to Flyte share: what a step needs, which of them are cached, a step's page.

Nothing here imports Flyte. Where the cluster is, which image its pods run and what they may know is
the cluster's and not the agent's, so it stands in the environment of whoever deploys.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from opslore import config, report, steps, store
from opslore.cards import Adapter, Bundle, Card
from opslore.config import Agent
from opslore.errors import ConfigError, OpsloreError
from opslore.harvest import Harvest
from opslore.lineage import KINDS

IMAGE = os.environ.get("OPSLORE_FLYTE_IMAGE", "opslore:0.1.0")
"""The image of the pods; it has opslore with its `flyte` or `flyte1` extra."""

GPUS = int(os.environ.get("OPSLORE_FLYTE_GPUS", "1"))
"""Cards that `train` asks for; 0 trains on CPU cores."""

SHARD = int(os.environ.get("OPSLORE_FLYTE_SHARD", "300"))
"""Test prompts that one pod asks; a larger set is asked by several, side by side."""

KNOWN = (
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "MLFLOW_TRACKING_URI",
    "OPSLORE_STORE",
    "OPSLORE_FLYTE_GPUS",
    "OPSLORE_FLYTE_IMAGE",
    "OPSLORE_FLYTE_SECRETS",
    "OPSLORE_FLYTE_SHARD",
)
"""Variables that pods get with the value that they have where the flow is deployed; no secret.

Ours are among them: in Flyte 2 the pod of a task describes the pods of the tasks it calls.
"""

SECRETS = [
    name.rpartition("/")[::2]
    for name in os.environ.get("OPSLORE_FLYTE_SECRETS", "").split(",")
    if name
]
"""Group (in Kubernetes the Secret's name; may be empty) and key of every cluster secret that
pods get as a variable named as its key: `opslore-s3/AWS_SECRET_ACCESS_KEY,...`."""

CRON = os.environ.get("OPSLORE_FLYTE_CRON", "")
"""When agents run by themselves: `minute hour day month weekday`, in UTC. Empty is never."""

SCHEDULED = [name for name in os.environ.get("OPSLORE_FLYTE_AGENTS", "").split(",") if name]
"""Agent files that do, as they are where the flow is registered."""

RETRIES = 3
"""Tries after the first, of errors that waiting may mend."""

CACHED = ("train", "export")
"""Steps whose card Flyte may keep: they depend on nothing but their inputs. The others look at the
world (sources, approvals, what persons let pass, a registry), or change it."""

_ENDPOINT = hashlib.sha256(os.environ.get("AWS_ENDPOINT_URL", "").encode()).hexdigest()

CACHE_VERSION = f"{store.VERSION}-{Card.schema_version}-{_ENDPOINT[:8]}"
"""Part of Flyte's cache key: another opslore makes other cards, another S3 server has others."""


@dataclass(frozen=True)
class Needs:
    """What a step's pod asks for."""

    cpu: float
    """Cores."""
    memory: int
    """GiB."""
    gpus: int = 0

    @property
    def millicores(self) -> str:
        """The cores as Kubernetes writes them."""
        return f"{round(1000 * self.cpu)}m"


NEEDS = {
    "harvest": Needs(1, 2),
    "together": Needs(1, 4),
    "prepare": Needs(2, 4),
    "train": Needs(4, 16, GPUS),
    "export": Needs(2, 8),
    "ask": Needs(2, 4),
    "judge": Needs(4, 8),
    "publish": Needs(1, 4),
    "deploy": Needs(1, 4),
    "flow": Needs(0.25, 1),  # it waits for the pods that it calls
}
"""Enough for models up to about half a billion weights; docs/training.md says how memory grows."""


def is_shared(url: str = "") -> bool:
    """Whether every machine sees this store (OPSLORE_STORE without one).

    Flyte's cache of a laptop serves all folders, so a card in `./runs` may be another folder's.
    """
    return (url or os.environ.get("OPSLORE_STORE", "")).startswith("s3://")


def known() -> dict[str, str]:
    """The variables of `KNOWN` that are set here."""
    return {name: os.environ[name] for name in KNOWN if os.environ.get(name)}


def scheduled() -> list[Agent]:
    """The agents that are to run by themselves.

    Raises:
        ConfigError: a file cannot be used, or there is a time without a file.
    """
    if CRON and not SCHEDULED:
        raise ConfigError(
            "OPSLORE_FLYTE_CRON says when, and nothing says which agent",
            hint="export OPSLORE_FLYTE_AGENTS=agents/sre.yaml",
        )
    return [config.load(Path(name)) for name in SCHEDULED] if CRON else []


def told(error: OpsloreError) -> str:
    """An error as one text: what was found, then how to mend it."""
    return f"{error.message}\n{error.hint}" if error.hint else error.message


def page(agent: Agent, card: Card) -> str:
    """A step's report: everything that was measured up to it, as one HTML page.

    Models that this machine did not need are not fetched for it: the page of the step that did has
    their losses.

    Raises:
        IntegrityError: a file of one of the cards is torn or edited.
    """
    if isinstance(card, Harvest):
        return ""
    home = steps.store_of(agent)
    found: dict[type[Card], Card] = {type(card): card}
    left = [card]
    while left:
        one = left.pop()
        for kind in KINDS:
            if kind not in found and (before := home.parent(one, kind)) is not None:
                found[kind] = before
                left.append(before)
    cards = [found[kind] for kind in KINDS if kind in found]
    models = (Adapter, Bundle)
    near = [c for c in cards if not isinstance(c, models) or home.folder(type(c), c.id).is_dir()]
    return report.page(agent.name, cards, {one.kind: home.path(one) for one in near})
