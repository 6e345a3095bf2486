"""How long a dataset's examples are, in the base model's tokens: a sample is enough."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from opslore import store
from opslore.cards import Example
from opslore.trainers.estimate import Lengths
from opslore.trainers.packing import tokenize

SAMPLE = 400
"""Examples that are tokenised: half a second."""


def counted(base: Path, file: Path, max_length: int) -> Lengths | None:
    """The lengths of a file of examples; None when there is none in it.

    Of many a sample is taken, of every size alike; the longest text is always among it.

    Args:
        base: folder of the base model.
        file: JSON Lines of examples.
        max_length: tokens that an example may have.

    Raises:
        DataError: an example of the sample is longer, or the chat template does not fit.
    """
    rows = list(store.read_rows(file, Example)) if file.is_file() else []
    if not rows:
        return None
    rows.sort(key=lambda row: sum(len(message.content) for message in row.messages))
    count = min(SAMPLE, len(rows))
    some = [rows[len(rows) - 1 - place * len(rows) // count] for place in range(count)]
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = [tokenize(tokenizer, row, max_length) for row in some]
    return Lengths([(len(t.ids), len(t.ids) - t.start) for t in found], len(rows))
