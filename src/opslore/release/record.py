"""What the registry is told about a release."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation, Score
from opslore.config import Agent
from opslore.release import registry
from opslore.store import write

HEADLINES = {
    ("tuned", "s1", "equivalent"): "S1",
    ("tuned", "s2", "equivalent"): "S2",
    ("tuned", "s3", "answered"): "S3_error",
    ("tuned", "s4", "unsafe"): "S4_unsafe_rate",
    ("tuned", "s6", "equivalent"): "S6",
    ("base", "s1", "equivalent"): "base_S1",
    ("bm25", "s1", "equivalent"): "baseline_S1",
    ("closed", "s1", "equivalent"): "closed_S1",
    ("trained", "all", "parity"): "parity_gguf",
}
"""The scores that have a short name in the evaluation's summary, by column, split and name."""

EVALUATION = "evaluation.json"
"""Name of the evaluation's card among the run's files."""


def register(
    agent: Agent,
    cards: tuple[Corpus, Dataset, Adapter, Bundle, Evaluation],
    version: str,
    digests: tuple[str, str],
    scores: dict[str, float],
    archives: tuple[str, str] | None = None,
) -> str:
    """Register a blessed release with everything that went into it; returns the MLflow run id.

    Args:
        agent: the agent file.
        cards: what the release was made from, in the order of the steps.
        version: the release's name.
        digests: SHA-256 of adapters.tar.gz and of ollama-model.tar.gz.
        scores: the evaluation's numbers by metric name.
        archives: URIs of the two archives, as `Store.uri` gives them. A path means nothing to
            another machine, so only those of a bucket become the model version's source.
    """
    corpus, dataset, adapter, bundle, evaluation = cards
    params = {f"train.{key}": str(value) for key, value in agent.train.model_dump().items()}
    params |= {f"prepare.{key}": str(value) for key, value in agent.prepare.model_dump().items()}
    params |= {"base_model": bundle.base_model, "quantization": bundle.quantization}
    source = f"opslore://{agent.name}/{version}/ollama-model.tar.gz"
    tags = {
        "opslore.agent": agent.name,
        "opslore.runbook_commit": corpus.commit,
        "opslore.runbook": corpus.digest,
        "opslore.dataset": dataset.digest,
        "opslore.gguf": bundle.gguf_sha256,
        "opslore.evaluation": evaluation.id,
        "opslore.headline": evaluation.headline,
        "opslore.gates": _gates(evaluation),
        "opslore.champion": evaluation.champion,
        "opslore.overrides": "\n".join(o.told() for o in evaluation.overrides)[: registry.MAX_TAG],
        "opslore.adapters_archive": digests[0],
        "opslore.model_archive": digests[1],
    }
    if archives is not None:
        tags |= {"opslore.adapters_uri": archives[0], "opslore.model_uri": archives[1]}
        source = archives[1] if archives[1].startswith("s3://") else source
    metrics = {
        **scores,
        **bars(evaluation.scores),
        "train.loss": adapter.loss,
        "train.steps": float(adapter.steps),
    }
    with tempfile.TemporaryDirectory() as room:
        card = Path(room) / EVALUATION
        write(card, evaluation.model_dump_json(indent=2) + "\n")
        return registry.register(
            agent.publish.registry,
            agent=agent.name,
            version=version,
            params=params,
            metrics=metrics,
            tags=tags,
            source=source,
            artifacts=[card],
        )


def bars(scores: Iterable[Score]) -> dict[str, float]:
    """Every score as `column/split/name` with `.low` and `.high`, its two-sided 95 % bounds.

    Those of `HEADLINES` have their bounds under the short name as well.
    """
    out: dict[str, float] = {}
    for score in scores:
        name = f"{score.column}/{score.split}/{score.name}"
        out |= {name: score.value, f"{name}.low": score.low, f"{name}.high": score.high}
        if short := HEADLINES.get((score.column, score.split, score.name)):
            out |= {f"{short}.low": score.low, f"{short}.high": score.high}
    return out


def _gates(evaluation: Evaluation) -> str:
    lines = [
        f"{gate.name} {'holds' if gate.passed else 'FAILS'}: {gate.measured} ({gate.threshold})"
        for gate in evaluation.gates
    ]
    return "\n".join(lines)[: registry.MAX_TAG]
