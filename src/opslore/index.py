"""The runbook's entries, searchable; the same index writes prompts in training and in serving.

BM25 (Robertson and Zaragoza 2009) over what people type: the words of the symptoms, the parts of
a CamelCase alert name, and the name's and long words' character trigrams, which survive typos.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslore import commands, store
from opslore.cards import ESCALATE, Document, Record, Span

if TYPE_CHECKING:
    import numpy as np

MAX_ANSWER = 400
"""Longest command, in characters, that a prompt shows as an entry's answer."""

_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+")
_TOKEN = re.compile(r"\w+(?:[-.]\w+)*")


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
    """BM25 score, in nats of evidence; comparable within one question."""


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


def words(text: str) -> list[str]:
    """Split a name or a sentence into lower-case stems, CamelCase parts included."""
    plain = unicodedata.normalize("NFKC", text)
    out: list[str] = []
    for token in _TOKEN.findall(plain):
        parts = [p.lower() for p in _CAMEL.findall(token)]
        if len(parts) > 1:
            out.append("".join(parts))
        out += parts if parts else [token.lower()]
    return [_stem(w) for w in out]


def told(entry: Entry) -> list[str]:
    """The stems of an alert's name and symptoms, in order."""
    return words(f"{entry.title} {entry.symptoms}")


def terms(text: str) -> list[str]:
    """The index terms of a text: stems, and trigrams of words of five letters and more."""
    out: list[str] = []
    for word in words(text):
        out.append(word)
        if len(word) >= 5:
            out += [f"#{word[i : i + 3]}" for i in range(len(word) - 2)]
    return out


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


class Index:
    """Every entry of a runbook, ready to be asked."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)
        self.by_id = {e.id: e for e in self.entries}
        self._place = {e.id: i for i, e in enumerate(self.entries)}
        self._bm25 = _Bm25([_fields(e) for e in self.entries]) if self.entries else None

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Index:
        """Build the index of every alert among the documents.

        Of alerts with one name, those without a command say less than those with one: left out.
        """
        found = [entry(d) for d in documents if d.kind == "alert"]
        answered = {e.title.lower() for e in found if e.answer != ESCALATE}
        return cls([e for e in found if e.answer != ESCALATE or e.title.lower() not in answered])

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Read the index that travels with a dataset or a bundle (`index.jsonl`)."""
        return cls(list(store.read_rows(folder / "index.jsonl", Entry)))

    def write(self, folder: Path) -> None:
        """Write `index.jsonl`."""
        store.write_rows(folder / "index.jsonl", self.entries)

    def search(self, question: str, k: int = 5, without: Collection[str] = ()) -> list[Hit]:
        """The k best entries for a question, best first; ties keep the runbook's order.

        Args:
            question: what a person or an Alertmanager wrote.
            k: entries wanted.
            without: entry ids to leave out, as if the runbook did not have them.
        """
        if self._bm25 is None:
            return []
        scores = self._bm25.scores(terms(question))
        order = sorted(range(len(self.entries)), key=lambda i: (-scores[i], i))
        chosen = [i for i in order if self.entries[i].id not in without][:k]
        return [Hit(self.entries[i], float(scores[i])) for i in chosen]

    def telling(self, entry: Entry) -> frozenset[str]:
        """Stems of an alert's name and symptoms that at most 5 % of the alerts, or two, have."""
        limit = max(2, len(self.entries) // 20)
        return frozenset(w for w in told(entry) if self._spread[w] <= limit)

    @cached_property
    def _spread(self) -> Counter[str]:
        """How many alerts have each stem."""
        return Counter(word for e in self.entries for word in set(told(e)))

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


class _Bm25:
    """The weights bm25s computed (Lucene's variant), asked with weighted query terms."""

    def __init__(self, texts: list[list[str]]) -> None:
        import bm25s
        from scipy.sparse import csc_matrix

        engine = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
        engine.index(texts, show_progress=False)
        part = engine.scores
        self.vocabulary: dict[str, int] = engine.vocab_dict
        shape = (len(texts), len(part["indptr"]) - 1)
        self.weights = csc_matrix((part["data"], part["indices"], part["indptr"]), shape=shape)

    def scores(self, query: list[str]) -> np.ndarray[Any, Any]:
        """Scores per entry."""
        import numpy as np

        counts: dict[int, float] = {}
        for term in query:
            if (column := self.vocabulary.get(term)) is not None:
                counts[column] = counts.get(column, 0.0) + (0.25 if term.startswith("#") else 1.0)
        if not counts:
            return np.zeros(self.weights.shape[0])
        columns = list(counts)
        # A term said ten times is not ten times the evidence.
        amounts = np.array([min(counts[c], 2.0) for c in columns])
        return np.asarray(self.weights[:, columns] @ amounts).ravel()
