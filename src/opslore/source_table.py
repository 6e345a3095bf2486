"""What became of one source of answers in prose: read, kept, dropped for which reason."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SourceTable(BaseModel):
    """What became of one source: `candidates` is `kept` and everything in `dropped`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    documents: int = 0
    """Threads, pages, conversations that were read."""
    candidates: int = 0
    """Threads, and questions to sections of pages."""
    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    """Candidates by the reason why they are not in the dataset."""
    posts: dict[str, int] = Field(default_factory=dict)
    """Posts of threads that were passed over as an answer, by reason."""
    masked: dict[str, int] = Field(default_factory=dict)
    """Secrets and personal data by kind."""
