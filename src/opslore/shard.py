"""The card of a part of an evaluation's replies, so that several machines may ask."""

from __future__ import annotations

from typing import ClassVar

from opslore.cards import Card


class Shard(Card):
    """What the bundle and its base replied to one part of the prompts."""

    kind: ClassVar[str] = "shard"
    number: int
    """Which part, from 0."""
    count: int
    """Of how many."""
    replies: int
    digest: str
    """SHA-256 of results.jsonl."""
