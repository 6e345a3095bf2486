"""The runbook's entries, searchable; the same index writes prompts in training and in serving.

BM25 (Robertson and Zaragoza 2009) over what people type: the words of the symptoms, the parts of
a CamelCase alert name, and the name's and long words' character trigrams, which survive typos. To
it the best entries add what BM25 does not see: words quoted in a row, and their very name. What a
question says in other words or in another language is searched for too (`opslore.jargon`). With an
embedding model each entry adds how near its nearest sentence is in meaning (docs/decisions/0021).
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from opslore import commands, embedding, jargon, store
from opslore.bm25 import Bm25
from opslore.cards import ESCALATE, Document, Record, Span
from opslore.stems import CAMEL, TOKEN, quoted, terms, words

MAX_ANSWER = 400
"""Longest command, in characters, that a prompt shows as an entry's answer."""

POOL = 20
"""How many of the best entries by BM25 are compared word for word with the question."""

IN_A_ROW = 1.5
"""What each stem of the longest quoted run adds to a score, in BM25's nats. Measured on training
questions (docs/LOG.md): flat from 1 to 3."""

NEARNESS = 25.0
"""What a cosine of 1 adds to a score, in BM25's nats. Measured on questions that people wrote for
another runbook (docs/LOG.md): flat from 20 to 30."""

MEANT = 0.5
"""What a word that a question only means counts beside one that it says. Measured on questions
that people wrote for another runbook (docs/LOG.md): flat from 0.3 to 0.5."""

REMEMBERED = 4096
"""Questions whose entries are remembered."""

TELLS = 3
"""The best value of `Index.tells`."""


class Entry(Record):
    """One alert of the runbook as the index and the prompts see it."""

    id: str
    title: str
    section: str
    severity: str
    symptoms: str
    answer: str
    """The first command that answers the alert on one line, or `escalate_to_human`."""
    commands: list[str]
    span: Span
    line: int
    """Line of the answer in the runbook (the alert's own line when there is no command)."""


@dataclass(frozen=True)
class Hit:
    """An entry found for a question."""

    entry: Entry
    score: float
    """BM25 score and its supplements, in nats of evidence; comparable within one question."""
    cosine: float = math.nan
    """How near the entry's nearest sentence is in meaning, -1 to 1; nan without an embedder."""


def one_line(command: str) -> str:
    """Join backslash continuations; a heredoc or a loop keeps its lines."""
    joined = re.sub(r"[ \t]*\\\n[ \t]*", " ", command.strip())
    return joined if "\n" not in joined else command.strip()


def entry(document: Document) -> Entry:
    """The index entry of an alert: its answer is the first resolution command that does something.

    Setup lines (assignments, `export`, `cd`) are no answer by themselves; without a usable
    resolution command the first investigation command is the answer, without any it is to escalate.
    """
    ordered = [
        c for role in ("resolution", "investigation") for c in document.commands if c.role == role
    ]
    chosen = next((c for c in ordered if _answers(c.text)), None)
    return Entry(
        id=document.id,
        title=document.title,
        section=document.section,
        severity=document.severity,
        symptoms=document.symptoms,
        answer=one_line(chosen.text) if chosen else ESCALATE,
        commands=[one_line(c.text) for c in ordered],
        span=document.span,
        line=chosen.first if chosen else document.span.first,
    )


def _answers(command: str) -> bool:
    text = one_line(command)
    if len(text) > MAX_ANSWER or commands.is_setup(text):
        return False
    return commands.parse(text).ok


def told(entry: Entry) -> list[str]:
    """The stems of an alert's name and symptoms, in order."""
    return words(f"{entry.title} {entry.symptoms}")


class Index:
    """Every entry of a runbook, ready to be asked."""

    def __init__(
        self,
        entries: Sequence[Entry],
        embed: embedding.Embedder | None = None,
        known: dict[str, embedding.Vectors] | None = None,
    ) -> None:
        """Make the index.

        Args:
            entries: in the runbook's order.
            embed: the embedding model; without one BM25 searches alone.
            known: vectors of passages that need not be embedded again, by digest.
        """
        self.entries = list(entries)
        self.by_id = {e.id: e for e in self.entries}
        self._place = {e.id: i for i, e in enumerate(self.entries)}
        self._bm25 = Bm25([_fields(e) for e in self.entries]) if self.entries else None
        # Evaluation asks for the same question many times: for each column, and for its judge.
        self._ranked = lru_cache(REMEMBERED)(self._rank)
        self._near: embedding.Passages | None = None
        if embed is not None and self.entries:
            told = [embedding.passages(e.title, e.section, e.symptoms) for e in self.entries]
            self._near = embedding.Passages(told, embed, known or {})

    @classmethod
    def of(cls, documents: Sequence[Document], embed: embedding.Embedder | None = None) -> Index:
        """Build the index of every alert among the documents.

        Of alerts with one name, those without a command say less than those with one: left out.
        """
        found = [entry(d) for d in documents if d.kind == "alert"]
        answered = {e.title.lower() for e in found if e.answer != ESCALATE}
        kept = [e for e in found if e.answer != ESCALATE or e.title.lower() not in answered]
        return cls(kept, embed)

    @classmethod
    def read(cls, folder: Path, meaning: bool = True) -> Index:
        """Read the index that travels with a dataset or a bundle.

        `index.jsonl`, and where it searches by meaning too, `vectors.safetensors` and the model; an
        entry that was added to the first is embedded now.

        Args:
            folder: where it lies.
            meaning: False searches with BM25 alone, which needs no model and no llama.cpp.
        """
        entries = list(store.read_rows(folder / "index.jsonl", Entry))
        vectors, model = folder / embedding.VECTORS, folder / embedding.MODEL
        if not meaning or not (vectors.is_file() or model.is_file()):
            return cls(entries)
        known = embedding.read(vectors)
        return cls(entries, embedding.shared(model if model.is_file() else None), known)

    def write(self, folder: Path, ship: bool = False) -> None:
        """Write `index.jsonl`, with an embedder the vectors too.

        Args:
            folder: where to.
            ship: write the embedding model too, so that the folder needs nothing else.
        """
        store.write_rows(folder / "index.jsonl", self.entries)
        if self._near is not None:
            self._near.write(folder / embedding.VECTORS)
            if ship:
                shutil.copyfile(self._near.embed.gguf, folder / embedding.MODEL)

    def search(self, question: str, k: int = 5, without: Collection[str] = ()) -> list[Hit]:
        """The k best entries for a question, best first; ties keep the runbook's order.

        Args:
            question: what a person or an Alertmanager wrote.
            k: entries wanted.
            without: entry ids to leave out, as if the runbook did not have them.
        """
        ranked = self._ranked(question, frozenset(without), max(k, POOL))
        return list(ranked[:k])

    def _rank(self, question: str, without: frozenset[str], pool: int) -> list[Hit]:
        """The `pool` best entries, compared word for word with the question."""
        if self._bm25 is None:
            return []
        near = [math.nan] * len(self.entries)
        phrases, english = jargon.meaning(question)
        meant = self._bm25.scores(terms(phrases)) + self._bm25.scores(terms(english))
        scores = (self._bm25.scores(terms(question)) + MEANT * meant).tolist()
        named = self._named(question)
        top = max(scores)
        for i in named:
            scores[i] += top
        if self._near is not None:
            near = self._near.cosines(question).tolist()
            if english:  # the embedding model reads no other language
                near = [
                    max(n, e)
                    for n, e in zip(near, self._near.cosines(english).tolist(), strict=True)
                ]
            scores = [score + NEARNESS * near[i] for i, score in enumerate(scores)]
        found = [i for i, e in enumerate(self.entries) if e.id not in without]
        found.sort(key=lambda i: -scores[i])
        asked = words(question)
        for i in found[:pool]:
            scores[i] += IN_A_ROW * quoted(asked, self._told[i])
        found.sort(key=lambda i: (-scores[i], i))
        return [Hit(self.entries[i], scores[i], near[i]) for i in found[:pool]]

    def _named(self, question: str) -> set[int]:
        """Alerts whose very name stands in a question; a one-word name in its own spelling."""
        found: set[int] = set()
        for token in set(TOKEN.findall(question)):
            for i in self._by_name.get(token.lower(), ()):
                title = self.entries[i].title
                if token == title or len(CAMEL.findall(title)) > 1:
                    found.add(i)
        return found

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for i, e in enumerate(self.entries):
            out.setdefault(e.title.lower(), []).append(i)
        return out

    def tells(self, entry: Entry) -> Callable[[str], int]:
        """A measure of how well a text tells this alert from the others, 0 to `TELLS`.

        One for each of two stems that at most 5 % of the alerts, or two, have; one more if no
        alert with another answer has every stem of the text.
        """
        limit = max(2, len(self.entries) // 20)
        rare = frozenset(w for w in told(entry) if len(self._having[w]) <= limit)

        def measure(text: str) -> int:
            stems = frozenset(words(text))
            return min(TELLS - 1, len(rare & stems)) + (not self._others(entry, stems))

        return measure

    def _others(self, entry: Entry, stems: Collection[str]) -> bool:
        """Whether an alert with another answer has all of some stems."""
        first, *rest = sorted((self._having.get(w, set()) for w in stems), key=len) or [set()]
        both = {i for i in first if self.entries[i].answer != entry.answer}
        for having in rest:
            both &= having
        return bool(both)

    @cached_property
    def _told(self) -> list[list[str]]:
        return [told(e) for e in self.entries]

    @cached_property
    def _having(self) -> dict[str, set[int]]:
        """The places of the alerts that have each stem."""
        out: dict[str, set[int]] = {}
        for i, stems in enumerate(self._told):
            for word in stems:
                out.setdefault(word, set()).add(i)
        return out

    def sections(self) -> dict[str, list[str]]:
        """Entry ids by section."""
        out: dict[str, list[str]] = {}
        for e in self.entries:
            out.setdefault(e.section, []).append(e.id)
        return out


def _fields(e: Entry) -> list[str]:
    # The name counts three times: it is the one thing a pager line always carries.
    said = (
        terms(e.title) * 3 + terms(e.section) + terms(e.symptoms) + terms(" ".join(e.commands[:3]))
    )
    # BM25 divides by the mean length: an alert whose name is only signs still needs one term.
    return said or [e.id]
