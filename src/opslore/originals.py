"""The parameters and the ten results of the pipeline that opslore replaces.

Who called `agent_training_pipeline` before calls it with the same words. What the words do not say
(store, gate, where the release goes) stands in the agent file that OPSLORE_AGENT names, if any.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from opslore import agentfile, config, steps
from opslore.cards import Adapter, Bundle, Evaluation, Record, Release
from opslore.config import Agent, Train
from opslore.config_deploy import Ollama
from opslore.errors import ConfigError


class Facts(Record):
    """What came out, each where somebody else finds it."""

    model_version: str
    """The release's version, `v{YYYYMMDD}-{8 hex}`."""
    mlflow_uri: str
    """`runs:/ID`: the run that registered the release."""
    minio_path: str
    """The archive of the adapter, in the store."""
    adapter_path: str
    """The folder of the adapter, in the store."""
    accuracy: float
    """Share of the S1 prompts that the shipped model answered with an equivalent command (0..1);
    NaN when none was asked."""
    ollama_model_name: str
    """`NAME:VERSION` as Ollama knows it, or would."""
    ollama_output_path: str
    """The folder of the bundle, in the store."""
    ollama_modelfile_path: str
    ollama_minio_path: str
    """The archive of the bundle, in the store."""
    ollama_import_job: str
    """The Job that installed it; empty where no Job does."""


def agent(name: str, base_model: str, runbook: str, train: Train) -> Agent:
    """The agent file at OPSLORE_AGENT with these words in the place of its own.

    Args:
        name: the agent's name.
        base_model: bundled name, hub id, folder or GGUF file.
        runbook: path or URL; it takes the place of the file's runbooks, other sources stay.
        train: its rates, sizes and steps count; what the original had no word for is the file's.

    Raises:
        ConfigError: the file or a word cannot be used.
    """
    file = os.environ.get("OPSLORE_AGENT", "")
    given = config.load(Path(file)).model_dump() if file else {"collect": []}
    others = [one for one in given["collect"] if one["kind"] != "runbook"]
    words = {"learning_rate", "batch_size", "iters", "lora_layers", "lora_rank", "lora_alpha"}
    given |= {
        "name": name,
        "base_model": base_model,
        "collect": [{"kind": "runbook", "path": runbook}, *others],
        "train": {**given.get("train", {}), **train.model_dump(include=words)},
    }
    if store := os.environ.get("OPSLORE_STORE"):
        given["store"] = store
    try:
        return Agent.model_validate(given)
    except ValidationError as error:
        lines = [agentfile.explain(item, Agent) for item in error.errors()]
        raise ConfigError("\n".join(lines), hint="mend the workflow's parameters") from None


def facts(
    agent: Agent, adapter: Adapter, bundle: Bundle, evaluation: Evaluation, release: Release
) -> Facts:
    """What came out of a run, after its release was deployed."""
    from opslore.evaluation.numbers import summary
    from opslore.release import issue, rollout

    home = steps.store_of(agent)
    archives = [
        home.uri(issue.key(home, release.version, one)) for one in (issue.ADAPTERS, issue.MODEL)
    ]
    return Facts(
        model_version=release.version,
        mlflow_uri=f"runs:/{release.run_id}",
        minio_path=archives[0],
        adapter_path=home.uri(f"{adapter.uri}/adapter"),
        accuracy=summary(evaluation).get("S1", float("nan")),
        ollama_model_name=f"{rollout.model_name(agent)}:{release.version}",
        ollama_output_path=home.uri(bundle.uri),
        ollama_modelfile_path=home.uri(f"{bundle.uri}/Modelfile"),
        ollama_minio_path=archives[1],
        ollama_import_job=_job(agent, release),
    )


def _job(agent: Agent, release: Release) -> str:
    """The name of the Job that the first target with one runs for this release."""
    from opslore.release import rollout
    from opslore.release.importing import OllamaJob

    home = steps.store_of(agent)
    for section in agent.deploy:
        if isinstance(section, Ollama) and section.via == "job":
            with rollout.staged(agent, home, release.version) as there:
                rendered = OllamaJob(section, agent.name).rendered(there)
            return str(rendered["metadata"]["name"])
    return ""
