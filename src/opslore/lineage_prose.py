"""The way back from an answer in prose: which training examples are about a question.

Nobody can say which of its examples made a model say something; what can be said is what it was
taught that is nearest to the question, and where that stands.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from opslore import answer, lineage, steps, store
from opslore.cards import Adapter, Corpus, Dataset, Example, Record, Release
from opslore.config import Agent
from opslore.errors import DataError
from opslore.stems import words

NEAREST = 3
"""Examples that are shown for a question."""


class Learned(Record):
    """A training example, and where it comes from."""

    id: str
    question: str
    family: str
    tier: str
    place: str
    """Address, or `file:line@commit`."""


class Origin(Record):
    """What an answer to a question can rest on."""

    question: str
    learned: list[Learned]
    """The nearest first."""
    corpus: str
    dataset: str
    adapter: str
    training: str
    bundle: str
    gguf_sha256: str
    """Computed again from the file, and equal to the card's."""
    evaluation: str = ""
    release: str = ""


def trace(agent: Agent, what: str) -> Origin:
    """Follow a question, or the id, thread or page of an example, to what was trained.

    Raises:
        DataError: nothing was asked.
        MissingInput: nothing was exported yet, or a card on the way is gone.
        IntegrityError: the GGUF on disk is not the one of the card.
    """
    if not what.strip():
        raise DataError("nothing to trace", hint="give a question, or an id that `show` prints")
    home = steps.store_of(agent)
    found = answer.shipped(home)
    adapter = steps.parent(home, found.bundle, Adapter)
    dataset = steps.parent(home, adapter, Dataset)
    digest = lineage.checked_gguf(found)
    rows = list(store.read_rows(home.path(dataset) / "train.jsonl", Example))
    after = {card.kind: card for card in lineage.after(home, found.bundle)}
    release = after.get("release")
    return Origin(
        question=what.strip(),
        learned=[_learned(row) for row in nearest(rows, what)],
        corpus=steps.parent(home, dataset, Corpus).id,
        dataset=dataset.id,
        adapter=adapter.id,
        training=lineage.training(adapter),
        bundle=found.bundle.id,
        gguf_sha256=digest,
        evaluation=after["evaluation"].id if "evaluation" in after else "",
        release=release.version if isinstance(release, Release) else "",
    )


def nearest(rows: Sequence[Example], what: str) -> list[Example]:
    """The examples with this id or of this thread or page; else those whose words are nearest."""
    named = [row for row in rows if what.strip() in (row.id, row.group, row.labels.get("url"))]
    if named:
        return named[:NEAREST]
    seen = [set(words(f"{row.question} {row.target}")) for row in rows]
    common = Counter(word for one in seen for word in one)
    asked = set(words(what))
    weight = {word: math.log(len(rows) / common[word]) for word in asked if common[word]}
    scored = [
        (sum(weight.get(word, 0.0) for word in one & asked), at) for at, one in enumerate(seen)
    ]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]))
    return [rows[at] for _, at in best[:NEAREST]]


def _learned(row: Example) -> Learned:
    span = row.source
    commit = f"@{span.commit[:12]}" if span.commit else ""
    return Learned(
        id=row.id,
        question=row.question,
        family=row.family,
        tier=row.labels.get("tier", ""),
        place=row.labels.get("url") or f"{span.file}:{span.first}{commit}",
    )
