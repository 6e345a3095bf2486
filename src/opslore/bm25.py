"""BM25 over terms (bm25s computes the weights), asked with weighted query terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Bm25:
    """The weights bm25s computed (Lucene's variant), asked with weighted query terms."""

    def __init__(self, texts: list[list[str]]) -> None:
        import bm25s

        engine = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
        engine.index(texts, show_progress=False)
        part = engine.scores
        self.vocabulary: dict[str, int] = engine.vocab_dict
        self.length = len(texts)
        # Column by column: term t has weights[starts[t]:starts[t + 1]], for the entries in rows.
        self.weights, self.rows, self.starts = part["data"], part["indices"], part["indptr"]

    def scores(self, query: list[str]) -> np.ndarray[Any, Any]:
        """Scores per entry."""
        import numpy as np

        counts: dict[int, float] = {}
        for term in query:
            if (column := self.vocabulary.get(term)) is not None:
                counts[column] = counts.get(column, 0.0) + (0.25 if term.startswith("#") else 1.0)
        found = np.zeros(self.length)
        for column, count in counts.items():
            part = slice(self.starts[column], self.starts[column + 1])
            # A term said ten times is not ten times the evidence.
            found[self.rows[part]] += self.weights[part].astype(float) * min(count, 2.0)
        return found
