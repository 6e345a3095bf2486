"""The checklist's line about the training: how long it takes, and whether its memory suffices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from opslore import models, prompt, store
from opslore.cards import Dataset, Document, Example
from opslore.check import Check, failed
from opslore.config import Agent
from opslore.errors import DataError, OpsloreError
from opslore.index import Entry, Index
from opslore.store import Store

if TYPE_CHECKING:
    from opslore.trainers.estimate import Lengths
    from opslore.trainers.forecast import Forecast, Source

NAME = "training"

LOOKED = 60
"""Entries of a runbook of which a prompt is written to see how long prompts are."""

ASKED = 120
"""Characters of a training question, about."""

UNTOLD = 64
"""Tokens of a command where no dataset tells; an answer in prose has its own longest."""

LENGTHS: dict[Source, str] = {
    "dataset": "lengths of the prepared dataset",
    "runbook": "lengths guessed from the runbook",
    "max_length": "as if every example had train.max_length tokens",
}


def check(agent: Agent, home: Store | None, alerts: Sequence[Document]) -> Check:
    """Time and memory of the training, and what to lower when memory is short.

    Args:
        agent: the agent file.
        home: its store; None when that cannot be opened.
        alerts: what its runbooks hold.
    """
    try:
        found = _forecast(agent, home, alerts)
    except DataError as error:
        return failed(NAME, error)
    except OpsloreError as error:  # the base model's own line says how to mend it
        return Check(name=NAME, state="warn", found=f"not known: {error.message}")
    if found is None:
        return Check(name=NAME, state="warn", found="not known before the base model is here")
    return _line(agent, found)


def _line(agent: Agent, found: Forecast) -> Check:
    from opslore.trainers.footprint import GIB

    state: Literal["ok", "warn", "fail"] = "ok" if found.fits else "warn"
    if found.free is not None and found.free < found.base_bytes:
        state = "fail"
    free = "unknown" if found.free is None else f"{found.free / GIB:.1f} GiB"
    other = "" if agent.train.backend == "torch" else " with the trainer torch"
    return Check(
        name=NAME,
        state=state,
        found=f"{found.told()}{other}, {free} free; {LENGTHS[found.lengths]}: "
        f"{found.tokens_mean:.0f} tokens, the longest {found.tokens_longest}",
        mend=found.mend(),
        numbers=found.model_dump(mode="json"),
    )


def _forecast(agent: Agent, home: Store | None, alerts: Sequence[Document]) -> Forecast | None:
    config = models.configuration(agent.base_model, agent.revision)
    if config is None:
        return None
    from opslore.trainers import forecast
    from opslore.trainers.estimate import Shape

    lengths, valid, told = _lengths(agent, home, alerts)
    mapped = models.is_gguf(agent.base_model)
    return forecast.forecast(agent.train, Shape.of(config), lengths, valid, told, mapped)


def _lengths(
    agent: Agent, home: Store | None, alerts: Sequence[Document]
) -> tuple[Lengths, Lengths | None, Source]:
    """The examples' lengths, those of validation, and where they come from."""
    folder = _dataset(home) if home else None
    if folder is not None:
        some, valid = (_counted(agent, folder / f"{name}.jsonl") for name in ("train", "valid"))
        if some is not None:
            return some, valid, "dataset"
    from opslore.trainers.estimate import CHARACTERS, Lengths

    entries = Index.of(alerts).entries if agent.prepare.task == "commands" else []
    if entries:
        return _guessed(agent, entries, alerts), None, "runbook"
    longest = agent.train.max_length
    prose = round(agent.prepare.answers.longest / CHARACTERS)
    said = min(longest // 2, prose if agent.prepare.task == "answers" else UNTOLD)
    return Lengths([(longest, said)], 1), None, "max_length"


def _dataset(home: Store) -> Path | None:
    """The newest dataset's folder, where it is on this disk."""
    try:
        card = home.latest(Dataset)
    except OpsloreError:
        return None  # not prepared yet; of a store that does not answer its own line says so
    folder = home.folder(Dataset, card.id)
    return folder if folder.is_dir() else None


def _counted(agent: Agent, file: Path) -> Lengths | None:
    """In the base model's tokens; by characters where the model is still to be converted."""
    folder = models.here(agent.base_model, agent.revision)
    if folder is not None:
        from opslore.trainers import lengths

        return lengths.counted(folder, file, agent.train.max_length)
    from opslore.trainers.estimate import Lengths

    rows = store.read_rows(file, Example) if file.is_file() else iter(())
    texts = [[len(message.content) for message in row.messages] for row in rows]
    pairs = [(sum(text[:-1]), text[-1]) for text in texts]
    return Lengths.guessed(pairs, len(pairs)) if pairs else None


def _guessed(agent: Agent, entries: Sequence[Entry], alerts: Sequence[Document]) -> Lengths:
    """From the prompts that some of the runbook's entries would get."""
    from opslore.trainers.estimate import Lengths

    index = Index.of(alerts)
    step = max(1, len(entries) // LOOKED)
    texts = []
    for entry in entries[::step]:
        question = f"{entry.title}: {entry.symptoms}"[:ASKED]
        hits = index.search(question, agent.prepare.entries)
        turns = prompt.messages(agent.system_prompt, question, hits)
        texts.append((sum(len(turn.content) for turn in turns), len(entry.answer)))
    return Lengths.guessed(texts, len(entries) * agent.prepare.phrasings)
