"""A changed runbook for a model that is trained already: a new release around the same GGUF.

The model reads its answers from the entries that the index puts into the prompt, so a new entry
needs a new index and a new catalogue, and no training. The release is evaluated as any other, on
the questions of the runbook as it is now; alerts keep their splits, so no trained alert is tested
as a new one. When the prompt itself has changed, the model has to be trained again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from opslore import asking, contents, steps, store
from opslore.cards import Adapter, Bundle, Dataset
from opslore.config import Agent
from opslore.errors import ConfigError

KEPT = ("model.gguf", "Modelfile")
"""What a refreshed bundle takes over as it is."""


def refresh(agent: Agent) -> tuple[Dataset, Bundle]:
    """Read the runbook again and write a bundle with the newest model and the new entries.

    The bundle is the newest one afterwards: `evaluate`, `publish` and `deploy` take it from there.
    An unchanged runbook gives the bundle that there is.

    Raises:
        MissingInput: nothing was exported yet.
        ConfigError: the agent answers in prose, or its prompts are no longer those of the training.
    """
    home = steps.store_of(agent)
    old = home.latest(Bundle)
    adapter = steps.parent(home, old, Adapter)
    _same_prompts(agent, home.path(old))
    dataset = steps.prepare(agent, steps.collect(agent))
    if dataset.id == steps.dataset_of(home, old).id:
        return dataset, old

    def make(work: Path) -> dict[str, Any]:
        source = home.path(old)
        for name in KEPT:
            shutil.copyfile(source / name, work / name)
        return {
            "base_model": old.base_model,
            "quantization": old.quantization,
            "gguf_sha256": store.sha256(work / "model.gguf"),
            "template_sha256": old.template_sha256,
            "commands": contents.write(agent, home.path(dataset), work),
        }

    section = {"refresh": agent.prepare.entries, "system": agent.system_prompt}
    return dataset, home.made(
        Bundle, section, [adapter, dataset], make, facts=[old.gguf_sha256, old.template_sha256]
    )


def _same_prompts(agent: Agent, folder: Path) -> None:
    """A model answers the prompts that it was trained on; others are another model's."""
    if agent.prepare.task == "answers":
        raise ConfigError(
            "refresh: an agent that answers in prose has no entries to renew",
            hint="run `opslore run AGENT.yaml`",
        )
    told = asking.settings(folder)
    now = {"system_prompt": agent.system_prompt, "prepare.entries": agent.prepare.entries}
    then = {"system_prompt": told.system, "prepare.entries": told.entries}
    changed = [name for name, value in now.items() if then[name] != value]
    if changed:
        raise ConfigError(
            f"{', '.join(changed)} changed since the training: the model knows other prompts "
            f"({json.dumps(then[changed[0]])[:80]})",
            hint="put it back, or train anew: opslore run AGENT.yaml",
        )
