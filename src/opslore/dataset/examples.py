"""Documents to examples: the splits, and the questions of each, by `opslore.dataset.writer`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from opslore import embedding, store
from opslore.cards import ESCALATE, Document, Dropped, Example
from opslore.config import Prepare
from opslore.dataset import (
    asked,
    calibrating,
    canaries,
    clean,
    corrected,
    practice,
    split,
)
from opslore.dataset.writer import Writer
from opslore.errors import DataError
from opslore.index import Entry, Index

FEWEST = 3
"""Alerts with a command that must be left for training, else nothing can be learned."""


def write(
    prepare: Prepare,
    system: str,
    documents: Sequence[Document],
    rooms: Sequence[practice.Room] = (),
) -> tuple[Index, list[Example], list[Dropped]]:
    """Turn a corpus into the index, the examples of every split, and what was dropped.

    `rooms` are the runbooks to practise on.

    Raises:
        DataError: too few alerts with a command to train and test on.
        MissingExtra: the embedder's package is not installed.
    """
    index = Index.of(documents, _embedder(prepare))
    place = split.places(index.entries, prepare.test, prepare.valid, prepare.seed)
    groups: dict[str, list[Entry]] = {}
    for entry in index.entries:
        groups.setdefault(place[entry.id], []).append(entry)
    train = groups.get("train", [])
    known = [e for e in train if e.answer != ESCALATE]
    if len(known) < FEWEST:
        raise DataError(
            f"{len(index.entries)} alerts, {len(known)} of them with a command left for training; "
            f"at least {FEWEST} are needed",
            hint="add alerts with a command under Resolution, or lower prepare.test",
        )
    writer = Writer(prepare, system, index)
    examples = [x for e in train for x in writer.trained(e, "train")]
    examples += [x for e in groups.get("valid", []) for x in writer.trained(e, "valid")]
    trained = len(examples)
    share = prepare.unknown / (1 - prepare.unknown) if prepare.unknown < 1 else 1.0
    examples += writer.escalations(train, round(share * trained))
    examples += writer.trapped(train, round(prepare.traps * trained))
    examples += calibrating.write(writer, train, groups.get("valid", []), prepare.calibrate)
    examples += practice.examples(rooms, round(prepare.practice * trained), prepare.seed)
    examples += _tests(writer, known, groups)
    if prepare.questions:
        examples += writer.people(asked.read(Path(prepare.questions), index))
    kept, dropped = clean.without_leaks(examples)
    return index, kept, dropped


def _embedder(prepare: Prepare) -> embedding.Embedder | None:
    return embedding.shared() if prepare.embedder == "minilm" else None


def _tests(writer: Writer, known: list[Entry], groups: dict[str, list[Entry]]) -> list[Example]:
    prepare = writer.prepare
    out = list(writer.tested(_shuffled(known, writer), "s1", prepare.s1))
    out += writer.tested(_shuffled(groups.get("s2", []), writer), "s2", prepare.s2)
    far = groups.get("s3-far", []) + groups.get("s3-none", [])
    mine = list(writer.tested(_shuffled(far, writer), "s3", min(prepare.s3 // 2, 4 * len(far))))
    out += [*mine, *writer.far(prepare.s3 - len(mine))]
    return out + list(writer.attacked(prepare.s4))


def _shuffled(entries: list[Entry], writer: Writer) -> list[Entry]:
    return sorted(entries, key=lambda e: split.share(e.title, writer.prepare.seed + 1))


def prepare(
    settings: Prepare,
    system: str,
    corpus: Path,
    work: Path,
    reword: Callable[[Index, list[Example]], tuple[list[Example], list[Dropped]]] | None = None,
    others: Sequence[Document] = (),
) -> dict[str, Any]:
    """Write the dataset folder: a JSONL per split, index.jsonl, documents.jsonl, dropped.jsonl.

    Args:
        settings: the `prepare` section.
        system: the agent's system prompt.
        corpus: folder of the Corpus card.
        work: folder to fill.
        reword: adds paraphrased training examples (the optional endpoint).
        others: alerts of runbooks to practise on.

    Raises:
        DataError: too little data, or a leak that cleaning did not remove.
    """
    # Threads and pages are `task: answers`.
    read = store.read_rows(corpus / "documents.jsonl", Document)
    documents, refused = corrected.applied([d for d in read if d.kind in ("alert", "correction")])
    elsewhere = settings.model_copy(update={"closed_book": 0.0})
    rooms = practice.rooms(others, _embedder(settings), partial(Writer, elsewhere, system))
    index, examples, dropped = write(settings, system, documents, rooms)
    dropped += refused
    if reword is not None:
        more, lost = reword(index, [e for e in examples if e.split == "train"])
        examples, again = clean.without_leaks([*examples, *more])
        dropped += [*lost, *again]
    if found := clean.leaks(examples):
        raise DataError(
            "the splits leak:\n" + "\n".join(found[:20]),
            hint="give the alerts distinct names and symptoms",
        )
    splits: dict[str, int] = {}
    for name in clean.ORDER:
        rows = [e for e in examples if e.split == name]
        store.write_rows(work / f"{name}.jsonl", rows)
        splits[name] = len(rows)
    index.write(work)
    practice.write(rooms, work)
    store.write_rows(work / "documents.jsonl", documents)
    store.write_rows(work / "dropped.jsonl", dropped)
    canaries.write(work, documents)
    whole = "".join(store.sha256(work / f"{name}.jsonl") for name in splits)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return {"splits": splits, "dropped": len(dropped), "digest": digest}
