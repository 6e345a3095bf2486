"""What G8 reads: leaks, secrets, canaries, the chat template and the weights that were asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from opslore import ggufheader, store
from opslore.cards import Bundle, Example, Result
from opslore.dataset import canaries, tokens
from opslore.dataset.secrets import Scanner
from opslore.errors import IntegrityError, OpsloreError

SHIPPED = ("tuned", "constrained", "closed")
"""Columns of the model that would be released: what it says may hold no secret."""


def templates(bundle: Path, adapter: Path) -> tuple[str, str] | None:
    """SHA-256 of the template shipped and of the one trained with; None when one is unknown."""
    try:
        trained = template(adapter / "merged")
        shipped = ggufheader.template(bundle / "model.gguf")
    except (OpsloreError, OSError, ValueError):
        return None  # the gate says that it is unknown, and fails
    if not trained or not shipped:
        return None
    return _sha256(shipped), _sha256(trained)


def template(folder: Path) -> str:
    """The chat template of a Hugging Face folder; "" when it has none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return ""
    return str(json.loads(path.read_text(encoding="utf-8")).get("chat_template") or "")


def weights(bundle: Path) -> tuple[str, str] | None:
    """SHA-256 of the bundle's GGUF and the one in its card; None when one is missing."""
    try:
        card = Bundle.model_validate_json((bundle / "card.json").read_bytes())
        return store.sha256(bundle / "model.gguf"), card.gguf_sha256
    except (OSError, ValidationError):
        return None


def trained(dataset: Path) -> list[Example] | None:
    """What was trained and watched; None when a file is missing, torn or empty."""
    try:
        rows = list(store.read_rows(dataset / "train.jsonl", Example))
        valid = dataset / "valid.jsonl"
        rows += list(store.read_rows(valid, Example)) if valid.is_file() else []
    except IntegrityError:
        return None
    return rows or None


def secrets(
    dataset: Path,
    rows: Sequence[Example] | None,
    examples: Iterable[Example],
    results: Iterable[Result],
) -> list[str] | None:
    """Secrets in training rows, secrets and canaries in the shipped model's replies, a line each.

    A reply that repeats a secret of its own question tells nobody anything new. None when the
    training rows are unknown.

    Raises:
        DataError: a detector failed.
    """
    if rows is None:
        return None
    scanner = Scanner(tokens.detectors())
    asked = {e.id: e.question for e in examples}
    out = [
        f"{row.id}: {what} in a training row"
        for row in rows
        for what in sorted({kind for kind, _ in _found(scanner, f"{row.question}\n{row.target}")})
    ]
    planted = canaries.read(dataset)
    for reply in results:
        if reply.column not in SHIPPED:
            continue
        question = asked.get(reply.example, "")
        told = {kind for kind, text in _found(scanner, reply.reply) if text not in question}
        told |= {"a canary" for canary in planted if canary in reply.reply}
        out += [f"{reply.example}: {what} in the reply ({reply.column})" for what in sorted(told)]
    return out


def _found(scanner: Scanner, text: str) -> Iterator[tuple[str, str]]:
    for start, end, kind in scanner.spans(text):
        yield kind, text[start:end]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
