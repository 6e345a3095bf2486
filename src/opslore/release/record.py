"""What the registry is told about a release."""

from __future__ import annotations

from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation
from opslore.config import Agent
from opslore.release import registry


def register(
    agent: Agent,
    cards: tuple[Corpus, Dataset, Adapter, Bundle, Evaluation],
    version: str,
    digests: tuple[str, str],
    scores: dict[str, float],
) -> str:
    """Register a blessed release with everything that went into it; returns the MLflow run id.

    Args:
        agent: the agent file.
        cards: what the release was made from, in the order of the steps.
        version: the release's name.
        digests: SHA-256 of adapters.tar.gz and of ollama-model.tar.gz.
        scores: the evaluation's numbers by metric name.
    """
    corpus, dataset, adapter, bundle, evaluation = cards
    params = {f"train.{key}": str(value) for key, value in agent.train.model_dump().items()}
    params |= {f"prepare.{key}": str(value) for key, value in agent.prepare.model_dump().items()}
    params |= {"base_model": bundle.base_model, "quantization": bundle.quantization}
    tags = {
        "opslore.agent": agent.name,
        "opslore.runbook_commit": corpus.commit,
        "opslore.corpus": corpus.digest,
        "opslore.dataset": dataset.digest,
        "opslore.gguf": bundle.gguf_sha256,
        "opslore.evaluation": evaluation.id,
        "opslore.adapters_archive": digests[0],
        "opslore.model_archive": digests[1],
    }
    return registry.register(
        agent.publish.registry,
        agent=agent.name,
        version=version,
        params=params,
        metrics={**scores, "train.loss": adapter.loss, "train.steps": adapter.steps},
        tags=tags,
        source=f"opslore://{agent.name}/{version}/ollama-model.tar.gz",
        aliases=["candidate", "champion"],
    )
