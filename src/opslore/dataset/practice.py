"""Practice: other runbooks, and what people asked of them, to learn reading a runbook from.

Templates reword what a runbook says, so a model that is trained on them alone trusts the search and
not its own reading. In `data/practice` lie four runbooks of other teams, written for this, with
questions in people's own words. They teach which of the shown entries is meant, what a
question's names are, and when nothing fits; none of their commands is in the agent's catalogue.
A fifth of their alerts and questions is kept from training: on these is learned how sure is sure
enough (docs/decisions/0024).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from opslore import embedding
from opslore.cards import ESCALATE, Document, Example, Span, Split
from opslore.dataset import asked, attacks, split
from opslore.dataset.asked import Asked
from opslore.index import Index

if TYPE_CHECKING:
    from opslore.dataset.writer import Writer

FOLDER = Path(str(files("opslore.dataset") / "data" / "practice"))
"""A Markdown file and its questions for each runbook."""

KEPT = 0.2
"""Share of the alerts, and of the questions without an answer, that training does not read."""

WATCHED = 120
"""Kept questions that are asked to learn how sure is sure enough: a third has no answer."""

UNKNOWN, MISSED = 0.22, 0.12
"""Shares of the practised questions that no entry answers: people asked them so, or the entry is
hidden, and its neighbours are what is shown."""

FAMILY = "practice"


def facts() -> list[str]:
    """What a dataset with practice depends on beside its settings: the digests of the files."""
    return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(FOLDER.glob("*.*"))]


Draft = Callable[[], Example]
"""An example that is not written yet: its prompt costs a search, and most are not chosen."""


class Room:
    """One runbook to practise on."""

    def __init__(
        self,
        name: str,
        documents: Sequence[Document],
        embed: embedding.Embedder | None,
        write: Callable[[Index], Writer],
    ) -> None:
        """Index the runbook and read its questions.

        Args:
            name: of the runbook: `data` for `data.md`.
            documents: its alerts.
            embed: as the agent's own index has it.
            write: makes the writer of an index's examples.
        """
        self.name = name
        self.index = Index.of([_ours(document, name) for document in documents], embed)
        self.writer = write(self.index)
        self.asked = asked.read(FOLDER / f"{name}.jsonl", self.index)

    def known(self, kept: bool) -> Iterator[Draft]:
        """Questions with the entry that answers them."""
        for one in self.asked:
            if one.entry is not None and self._kept(one) is kept:
                yield partial(self._example, one, one.row.line, kept)

    def missed(self, kept: bool) -> Iterator[Draft]:
        """The same questions asked of a runbook that lacks the entry."""
        for one in self.asked:
            if one.entry is not None and one.entry.answer != ESCALATE and self._kept(one) is kept:
                hidden = {i for e in (one.entry, *one.also) for i in self.writer.same(e)}
                yield partial(self._example, one, 1000 + one.row.line, kept, sorted(hidden))

    def unknown(self, kept: bool) -> Iterator[Draft]:
        """Questions that people asked and no entry answers."""
        for one in self.asked:
            if one.entry is None and self._kept(one) is kept:
                yield partial(self._example, one, one.row.line, kept)

    def _kept(self, one: Asked) -> bool:
        name = one.entry.title if one.entry is not None else f"{self.name}:{one.row.line}"
        return split.share(f"{FAMILY}/{name}", self.writer.prepare.seed) < KEPT

    def _example(self, one: Asked, number: int, kept: bool, hidden: Sequence[str] = ()) -> Example:
        entry = one.entry or attacks.nothing(f"{FAMILY}-{self.name}-{one.row.line}")
        question = one.row.asks_as(FAMILY)
        where: Split = "calibrate" if kept else "train"
        made = self.writer.example(entry, question, where, number, hidden)
        span = made.source if one.entry else _span(self.name, one.row.line)
        return made.model_copy(update={"runbook": self.name, "source": span})


def rooms(
    documents: Sequence[Document],
    embed: embedding.Embedder | None,
    write: Callable[[Index], Writer],
) -> list[Room]:
    """The runbooks to practise on, one for each file that the documents were read from."""
    by_file: dict[str, list[Document]] = {}
    for document in documents:
        by_file.setdefault(Path(document.span.file).stem, []).append(document)
    return [Room(name, found, embed, write) for name, found in sorted(by_file.items())]


def examples(among: Sequence[Room], count: int, seed: int) -> list[Example]:
    """The questions to train on, and those kept from training.

    Args:
        among: the runbooks.
        count: training questions wanted; there are about 900.
        seed: chooses which.
    """
    rng = random.Random(f"{seed}/{FAMILY}")
    out: list[Example] = []
    for kept, wanted in ((False, count), (True, min(count, WATCHED))):
        unknown, missed = round(UNKNOWN * wanted), round(MISSED * wanted)
        parts = (
            (Room.known, wanted - unknown - missed),
            (Room.unknown, unknown),
            (Room.missed, missed),
        )
        for part, many in parts:
            drafts = [draft for room in among for draft in part(room, kept)]
            out += [draft() for draft in rng.sample(drafts, min(many, len(drafts)))]
    return out


def write(among: Sequence[Room], work: Path) -> None:
    """Keep the indexes beside the dataset: evaluation asks the kept questions of them."""
    for room in among:
        folder = work / FAMILY / room.name
        folder.mkdir(parents=True, exist_ok=True)
        room.index.write(folder)


def indexes(dataset: Path) -> dict[str, Index]:
    """The indexes that `write` has left, by name; none in a dataset without practice."""
    folders = sorted(path for path in (dataset / FAMILY).glob("*") if path.is_dir())
    return {folder.name: Index.read(folder) for folder in folders}


def _ours(document: Document, name: str) -> Document:
    """An alert of practice: no id of the agent's own runbook is the same, no commit names it."""
    span = _span(name, document.span.first).model_copy(update={"last": document.span.last})
    return document.model_copy(update={"id": f"{FAMILY}-{document.id}", "span": span})


def _span(name: str, line: int) -> Span:
    return Span(file=f"opslore/{FAMILY}/{name}.md", first=line, last=line)
