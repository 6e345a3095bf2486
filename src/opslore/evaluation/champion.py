"""The champion: what answers today, asked the same S1 and S2 prompts as the new model (G5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opslore import store
from opslore.cards import Example, Result
from opslore.errors import IntegrityError
from opslore.evaluation import columns
from opslore.evaluation.columns import Run
from opslore.evaluation.gate_champion import COMPARED
from opslore.servers import Server


@dataclass(frozen=True)
class Champion:
    """A release to compare with, or the last evaluation that passed."""

    version: str
    bundle: Path
    dataset: Path | None = None
    evaluation: Path | None = None
    """Folders of the dataset and the results of its own evaluation; None is not there."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of that evaluation."""


def asked(run: Run, champion: Champion | None) -> list[Example]:
    """The prompts that it answers."""
    return run.of(*COMPARED) if champion is not None else []


def ask(run: Run, champion: Champion, load: Callable[[Path], Server]) -> None:
    """Its replies: those of its own evaluation where the prompt is the same, else asked for anew.

    Without its GGUF no reply is there, and G5 fails.
    """
    among = asked(run, champion)
    kept = _kept(run, champion)
    for example in among:
        if run.log.get("champion", example.id) is None and (found := kept.get(_prompt(example))):
            run.log.add(found.model_copy(update={"example": example.id, "column": "champion"}))
    gguf = champion.bundle / "model.gguf"
    if all(run.log.get("champion", e.id) for e in among) or not gguf.is_file():
        run.progress("champion", len(among), len(among))
        return
    with load(gguf) as server:
        columns.ask(run, "champion", among, server, columns.open_book)


def _kept(run: Run, champion: Champion) -> dict[str, Result]:
    """The replies of its own evaluation by prompt; none when it was asked in another way."""
    ours = {"max_tokens": str(run.agent.evaluate.max_tokens), "server": run.agent.evaluate.server}
    if champion.dataset is None or champion.evaluation is None:
        return {}
    if any(champion.settings.get(key) != value for key, value in ours.items()):
        return {}
    try:
        rows = store.read_rows(champion.evaluation / "results.jsonl", Result)
        replies = {row.example: row for row in rows if row.column == "tuned"}
        asked_of = [
            e
            for split in COMPARED
            for e in store.read_rows(champion.dataset / f"{split}.jsonl", Example)
        ]
    except IntegrityError:
        return {}
    return {_prompt(e): replies[e.id] for e in asked_of if e.id in replies}


def _prompt(example: Example) -> str:
    return json.dumps([m.model_dump() for m in columns.open_book(example)])
