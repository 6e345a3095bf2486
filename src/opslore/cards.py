"""The records that flow between the steps, and the cards that name what a step made.

Records are JSON Lines inside a card's folder; the card is the folder's `card.json`. Nothing else
crosses a step border, and no field holds a path that means something on one machine only.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from opslore.cards_scores import Calibration, Finding, Gate, Override, Point, Result, Score
from opslore.record import Record
from opslore.source_table import SourceTable

__all__ = [
    "ESCALATE",
    "Adapter",
    "Bundle",
    "Calibration",
    "Card",
    "Command",
    "Corpus",
    "Dataset",
    "Deployment",
    "Document",
    "Dropped",
    "Evaluation",
    "Example",
    "Finding",
    "Gate",
    "Message",
    "Override",
    "Point",
    "Record",
    "Release",
    "Result",
    "Score",
    "Span",
    "Split",
    "Trust",
    "Turn",
]

ESCALATE = "escalate_to_human"
"""The one answer that is not a command: ask a person."""

Split = Literal["train", "valid", "calibrate", "s1", "s2", "s3", "s4", "s6", "test"]

TESTS: tuple[Split, ...] = ("s1", "s2", "s3", "s4", "s6")
"""The splits of test prompts whose answer is a command."""

COUNTED: tuple[Split, ...] = ("train", "valid", *TESTS)
"""The splits that tables of alerts count."""
"""Alerts are tested by s1 to s6 (EVALUATION.md; s6 are questions that people wrote), answers in
prose by test. S5 has no examples of this runbook. On calibrate evaluation learns how sure is sure
enough."""
Trust = Literal["T1", "T2", "T3"]
"""Who may teach: T1 a reviewed repository, T2 its maintainers, T3 everybody else."""


class Span(Record):
    """Where something stands: a file, its first and last line (from 1, inclusive), a commit."""

    file: str
    first: int
    last: int
    commit: str = ""


class Command(Record):
    """One command of an alert, exactly as the runbook has it."""

    text: str
    """The command; several lines when it is a heredoc, a loop or continued with a backslash."""
    role: Literal["investigation", "resolution"]
    first: int
    """First line of the command in its file, from 1."""
    last: int
    comment: str = ""
    """The comment lines or the sentence that stand directly above it."""


class Turn(Record):
    """One post of a thread: its first text, a comment, a review."""

    kind: Literal["body", "comment", "review", "review_comment"] = "comment"
    text: str
    author: str
    """Login; empty when the account is gone."""
    association: str = "NONE"
    """GitHub's author_association: OWNER, MEMBER, COLLABORATOR, CONTRIBUTOR, NONE, ..."""
    trust: Trust = "T3"
    bot: bool = False
    created: str
    """ISO 8601, UTC."""
    updated: str = ""
    url: str = ""
    reactions: dict[str, int] = Field(default_factory=dict)
    """Kind (`+1`, `heart`, `-1`, ...) -> how often."""
    marks: list[str] = Field(default_factory=list)
    """What is known of it: `accepted`, `closing` (posted when the thread was closed), `edited`."""


class Document(Record):
    """One thing that was read: an alert, an issue, a page."""

    id: str
    kind: Literal["alert", "issue", "pull", "page", "correction", "chat"] = "alert"
    title: str
    text: str
    url: str = ""
    updated: str = ""
    author: str = ""
    trust: Trust = "T1"
    labels: dict[str, str] = Field(default_factory=dict)
    span: Span
    section: str = ""
    severity: str = ""
    symptoms: str = ""
    """The symptoms as plain text, one per line."""
    investigation: list[str] = Field(default_factory=list)
    resolution: list[str] = Field(default_factory=list)
    commands: list[Command] = Field(default_factory=list)
    """Every command with its own lines, in document order."""
    origin: str = ""
    """The source that gave it: `issues linkerd/linkerd2`, `docs ./handbook`."""
    product: str = ""
    version: str = ""
    turns: list[Turn] = Field(default_factory=list)
    """A thread's posts in the order of time, the first one included."""
    tags: list[str] = Field(default_factory=list)
    """Labels of an issue."""
    state: str = ""
    """`open`, `closed`, `completed`, `not_planned`, `merged`."""
    links: list[str] = Field(default_factory=list)
    """Addresses of what fixed it."""


class Dropped(Record):
    """Something that was read and not kept, with the reason."""

    what: str
    reason: str
    span: Span | None = None
    origin: str = ""
    """The source that it came from."""


class Message(Record):
    """One turn of a conversation, in the shape every trainer reads."""

    role: Literal["system", "user", "assistant"]
    content: str


class Example(Record):
    """A prompt with its right answer; `messages` is what TRL, mlx-lm and Axolotl read."""

    id: str
    messages: list[Message]
    """System and user turn, and the assistant turn with the target last."""
    target: str
    """What the scorer compares with."""
    accepted: list[str] = Field(default_factory=list)
    """Other right answers."""
    source: Span
    group: str
    """The alert; a split never divides it."""
    split: Split
    labels: dict[str, str] = Field(default_factory=dict)
    """The alert labels that the question shows."""
    family: str
    """The phrasing family that wrote the question."""
    question: str
    """The user's words alone, without the runbook entries around them."""
    book: Literal["open", "closed"] = "open"
    shown: list[str] = Field(default_factory=list)
    """Document ids of the entries the index found, in the prompt's order; beside a strong fit the
    prompt leaves out the weak ones."""
    hidden: list[str] = Field(default_factory=list)
    """Document ids the index pretended not to have (an unknown alert)."""
    runbook: str = ""
    """The practice runbook that was asked (opslore/dataset/practice.py); empty is the agent's."""


class Card(Record):
    """What a step made: its id is the digest of everything it was made from."""

    schema_version: ClassVar[int] = 1
    kind: ClassVar[str] = "card"

    id: str
    uri: str
    parents: list[str] = Field(default_factory=list)
    created: str
    made_with: str


class Corpus(Card):
    """Every document the sources gave."""

    kind: ClassVar[str] = "corpus"
    documents: int
    dropped: int
    digest: str
    """SHA-256 of documents.jsonl."""
    commit: str = ""


class Dataset(Card):
    """Examples by split, and the index they were written from."""

    kind: ClassVar[str] = "dataset"
    splits: dict[str, int]
    dropped: int
    digest: str
    """SHA-256 over the example files."""
    sources: list[SourceTable] = Field(default_factory=list)
    """Of answers in prose: a table per source."""


class Adapter(Card):
    """A trained LoRA adapter and the base model merged with it."""

    kind: ClassVar[str] = "adapter"
    base_model: str
    base_digest: str
    steps: int
    loss: float
    valid_loss: float | None
    """Nats per completion token; None without validation examples (JSON has no NaN)."""
    seconds: float

    @field_validator("valid_loss", mode="before")
    @classmethod
    def _measured(cls, value: float | None) -> float | None:
        return None if value is not None and math.isnan(value) else value


class Bundle(Card):
    """What is shipped: GGUF, Modelfile, index, catalogue."""

    kind: ClassVar[str] = "bundle"
    base_model: str
    quantization: str
    gguf_sha256: str
    template_sha256: str
    commands: int


class Evaluation(Card):
    """Scores with error bars, and the gate's answer."""

    kind: ClassVar[str] = "evaluation"
    passed: bool
    headline: str
    scores: list[Score]
    gates: list[Gate]
    settings: dict[str, str] = Field(default_factory=dict)
    calibration: Calibration | None = None
    """How sure is sure enough, chosen on validation questions; None when there were too few."""
    overrides: list[Override] = Field(default_factory=list)
    """Failed gates that a person let pass, with who and why."""
    champion: str = ""
    """Version of the release that G5 compared with; empty when there is none yet."""


class Release(Card):
    """A version somebody can name."""

    kind: ClassVar[str] = "release"
    version: str
    agent: str
    adapters_sha256: str
    model_sha256: str
    registry: str
    run_id: str
    blessed: bool


class Deployment(Card):
    """Where a release went."""

    kind: ClassVar[str] = "deployment"
    version: str
    targets: list[str] = Field(default_factory=list)
