"""What a bundle holds beside its model: the index, the known commands and the settings, by task.

The index brings its embedding model and the vectors along, so that nobody who asks needs the
package that the embedder came from.

For `commands` the catalogue limits every reply. Answers in prose have no limit: there it lists the
commands that the sources have, so that whoever reads an answer can be told which it made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opslore import store
from opslore.bundle import catalogue
from opslore.cards import ESCALATE, Document, Example
from opslore.config import Agent
from opslore.index import Index


def write(agent: Agent, dataset: Path, work: Path) -> int:
    """Write index.jsonl, catalogue.json and settings.json; returns the known commands.

    Args:
        agent: the agent file.
        dataset: the dataset that was trained on.
        work: the bundle's folder.

    Raises:
        IntegrityError: a file of the dataset is missing or torn.
    """
    settings: dict[str, Any] = {
        "system_prompt": agent.system_prompt,
        "entries": agent.prepare.entries,
    }
    if agent.prepare.task == "answers":
        from opslore.evaluation.prose_terms import Known

        Index([]).write(work)
        sources = Known.of(store.read_rows(dataset / "documents.jsonl", Document))
        known = catalogue.build(sources.listed())
        settings |= {"task": "answers", "entries": 0, "probe": _probe(dataset)}
    else:
        index = Index.read(dataset)
        index.write(work, ship=True)
        known = catalogue.build(e.answer for e in index.entries if e.answer != ESCALATE)
    store.write(work / "catalogue.json", known.model_dump_json(indent=1) + "\n")
    store.write(work / "settings.json", json.dumps(settings, indent=1) + "\n")
    return len(known.templates)


def parameters(agent: Agent) -> dict[str, Any]:
    """What the Modelfile sets, so that Ollama answers as it was evaluated."""
    return {
        "num_ctx": agent.export.num_ctx,
        "temperature": agent.export.temperature,
        "num_predict": agent.evaluate.max_tokens,
        "repeat_penalty": 1,  # Ollama's own default would change what was evaluated
        **agent.export.parameters,
    }


def _probe(dataset: Path) -> str:
    """The trained question with the shortest answer, which a deployment asks to see it end."""
    rows = store.read_rows(dataset / "train.jsonl", Example)
    shortest = min(rows, key=lambda e: (len(e.target), e.id), default=None)
    return shortest.question if shortest is not None else ""
