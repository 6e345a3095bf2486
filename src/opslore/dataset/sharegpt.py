"""Examples in ShareGPT form, which Axolotl, LLaMA-Factory and Unsloth read, with their source."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from opslore.cards import Example, Record

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


class Said(Record):
    """One turn."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    who: str = Field(alias="from")
    value: str


class Row(Record):
    """One conversation."""

    id: str
    conversations: list[Said]
    source: str
    """The source that it came from: `issues linkerd/linkerd2`."""
    url: str


def row(example: Example) -> Row:
    """An example as a conversation that ends with the assistant."""
    said = [
        Said.model_validate({"from": _NAMES[turn.role], "value": turn.content})
        for turn in example.messages
    ]
    labels = example.labels
    return Row(id=example.id, conversations=said, source=labels["source"], url=labels["url"])
