"""Threads, pages and corrections to examples: one question, one answer, from somebody who may say.

Documents are read one by one and pairs wait in a file; in memory are signatures and counts only.
What comes out depends on the corpus, the settings and the approvals alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from opslore import files, progress, store
from opslore.cards import (
    Document,
    Dropped,
    Example,
    Message,
    Split,
)
from opslore.config import Prepare
from opslore.dataset import admit, candidates, sharegpt
from opslore.dataset.answered import Corrections
from opslore.dataset.approved import Approved, Waiting
from opslore.dataset.chosen import Choice
from opslore.dataset.pairs import Pair
from opslore.dataset.split import share
from opslore.errors import DataError
from opslore.index import Index
from opslore.source_table import SourceTable

SPLITS: tuple[Split, ...] = ("train", "valid", "test")

CORRECTED = "a correction answers this question"


@dataclass
class _Counts:
    """The table of one source while it fills."""

    documents: int = 0
    candidates: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)

    def table(self, source: str) -> SourceTable:
        """The finished table, reasons by name."""
        counters = {
            name: dict(sorted(getattr(self, name).items()))
            for name in ("dropped", "posts", "masked")
        }
        return SourceTable(
            source=source,
            documents=self.documents,
            candidates=self.candidates,
            kept=self.kept,
            **counters,
        )


class _Desk:
    """Reads a corpus, lays every admitted pair on a pile of its own, and counts."""

    def __init__(self, settings: Prepare, corpus: Path, scratch: Path, approvals: Path) -> None:
        self.settings = settings
        self.documents = corpus / "documents.jsonl"
        self.scratch = scratch
        self.counts: dict[str, _Counts] = {}
        self.choice = Choice(settings.seed)
        self.door = admit.Door(Approved.read(approvals))
        self.total = 0
        self.merged: dict[str, str] = {}
        self.kept: set[str] = set()
        self.corrections = self._look()

    def _look(self) -> Corrections:
        """The first reading: what corrections answer, and what merged pull requests are called."""
        asked: list[str] = []
        for document in store.read_rows(self.documents, Document):
            self.total += 1
            if document.kind == "correction":
                asked.append(document.title)
            elif document.kind == "pull" and document.state == "merged":
                self.merged[document.id] = document.title[:200]
        return Corrections(asked)

    def pile(self) -> None:
        """The second reading: pairs to `pairs.jsonl`, the others to `dropped.jsonl`."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with (
            (self.scratch / "pairs.jsonl").open("wb") as kept,
            (self.scratch / "dropped.jsonl").open("wb") as left,
            (self.scratch / "waiting.jsonl").open("wb") as waits,
        ):
            for number, document in enumerate(store.read_rows(self.documents, Document), 1):
                self._read(document, kept, left, waits)
                if number % 500 == 0 or number == self.total:
                    progress.report("prepare", number, self.total, "documents")

    def _read(self, document: Document, kept: BinaryIO, left: BinaryIO, waits: BinaryIO) -> None:
        counts = self.counts.setdefault(document.origin, _Counts())
        counts.documents += 1
        for found in candidates.of(document, self.settings, self.merged, counts.posts):
            counts.candidates += 1
            row = found if isinstance(found, Dropped) else self._admitted(found, counts, waits)
            if isinstance(row, Dropped):
                counts.dropped[row.reason] += 1
                files.put(left, row)
            else:
                self.choice.add(row)
                files.put(kept, row)

    def _admitted(self, pair: Pair, counts: _Counts, waits: BinaryIO) -> Pair | Dropped:
        if pair.family != "correction" and self.corrections.answer(pair.question):
            return _dropped(pair, CORRECTED)
        found = self.door.admit(pair, counts.masked)
        if isinstance(found, Pair):
            return found
        reason, row = found
        if row is not None:
            files.put(waits, row)
        return _dropped(pair, reason)

    def sorted_out(self, gone: dict[int, str]) -> Iterator[Dropped]:
        """Everything that was dropped, the near-duplicates and those over a cap last."""
        yield from store.read_rows(self.scratch / "dropped.jsonl", Dropped)
        for place, pair in enumerate(self.pairs()):
            counts = self.counts[pair.origin]
            if place in gone:
                counts.dropped[gone[place]] += 1
                yield _dropped(pair, gone[place])
            else:
                counts.kept += 1
                self.kept.add(pair.group)

    def sources(self) -> Iterator[Document]:
        """The documents that pairs were kept of, masked: others may see the dataset's folder."""
        for document in store.read_rows(self.documents, Document):
            if document.id in self.kept:
                yield self.door.scanner.document(document)

    def pairs(self) -> Iterator[Pair]:
        """The admitted pairs, in the order of the corpus."""
        return store.read_rows(self.scratch / "pairs.jsonl", Pair)


def _dropped(pair: Pair, reason: str) -> Dropped:
    return Dropped(what=pair.id, reason=reason, span=pair.span, origin=pair.origin)


def side(pair: Pair, settings: Prepare) -> Split:
    """The split of a pair: the hash of its thread or page decides, so growth moves nothing.

    Corrections are always trained: a person wrote them so that the model learns them.
    """
    if pair.family == "correction":
        return "train"
    u = share(pair.group, settings.seed)
    if u < settings.test:
        return "test"
    return "valid" if u < settings.test + settings.valid else "train"


def example(pair: Pair, system: str, where: Split) -> Example:
    """A pair as the trainers and the evaluation read it."""
    asked = [*pair.before, Message(role="user", content=pair.question)]
    return Example(
        id=pair.id,
        messages=[
            Message(role="system", content=system),
            *asked,
            Message(role="assistant", content=pair.answer),
        ],
        target=pair.answer,
        source=pair.span,
        group=pair.group,
        split=where,
        labels={"source": pair.origin, "tier": pair.tier, "url": pair.url},
        family=pair.family,
        question=pair.question,
        book="closed",
    )


def prepare(
    settings: Prepare, system: str, corpus: Path, work: Path, approvals: Path
) -> dict[str, Any]:
    """Write the dataset folder of `task: answers`; the fields of its card.

    Files: train, valid and test.jsonl, sharegpt.jsonl (the train split), dropped.jsonl,
    waiting.jsonl, documents.jsonl (those with pairs, masked), sources.json, an empty index.

    Args:
        settings: the `prepare` section.
        system: the agent's system prompt.
        corpus: folder of the Corpus card.
        work: folder to fill.
        approvals: what persons decided (`opslore review`); need not be there.

    Raises:
        DataError: no pair is left to train on, or a secret scanner failed.
        IntegrityError: the corpus or the approvals file is damaged.
    """
    scratch = work / "scratch"
    desk = _Desk(settings, corpus, scratch, approvals)
    desk.pile()
    gone = desk.choice.gone()
    store.write_rows(work / "dropped.jsonl", desk.sorted_out(gone))
    store.write_rows(work / "waiting.jsonl", _once(scratch / "waiting.jsonl"))
    splits: dict[str, int] = dict.fromkeys(SPLITS, 0)

    def rows(where: Split) -> Iterator[Example]:
        for place, pair in enumerate(desk.pairs()):
            if place not in gone and side(pair, settings) == where:
                splits[where] += 1
                yield example(pair, system, where)

    for where in SPLITS:
        store.write_rows(work / f"{where}.jsonl", rows(where))
    tables = [desk.counts[name].table(name) for name in desk.counts]
    if not splits["train"]:
        raise DataError(_nothing(tables), hint=_hint(tables))
    trained = store.read_rows(work / "train.jsonl", Example)
    store.write_rows(work / "sharegpt.jsonl", map(sharegpt.row, trained))
    listing = ",\n".join(table.model_dump_json(indent=1) for table in tables)
    store.write(work / "sources.json", f"[\n{listing}\n]\n")
    store.write_rows(work / "documents.jsonl", desk.sources())
    Index([]).write(work)
    shutil.rmtree(scratch)
    whole = "".join(store.sha256(work / f"{where}.jsonl") for where in SPLITS)
    return {
        "splits": splits,
        "dropped": sum(sum(table.dropped.values()) for table in tables),
        "digest": hashlib.sha256(whole.encode()).hexdigest(),
        "sources": tables,
    }


def _once(path: Path) -> Iterator[Waiting]:
    """The rows that wait, each once: the phrasings of a section ask for one decision."""
    seen: set[str] = set()
    for row in store.read_rows(path, Waiting):
        if row.key not in seen:
            seen.add(row.key)
            yield row


def _nothing(tables: list[SourceTable]) -> str:
    reasons = sum((Counter(table.dropped) for table in tables), Counter())
    read = sum(table.documents for table in tables)
    told = "".join(f"\n  {count} {reason}" for reason, count in reasons.most_common(8))
    return f"{read} documents gave no question and answer to train on{told}"


def _hint(tables: list[SourceTable]) -> str:
    if any(admit.WAITS in table.dropped for table in tables):
        return "approve commands with: opslore review AGENT.yaml"
    return "add sources with maintainers' answers, or set the `trust` of the sources you trust"
