"""The archive that i-d-template's archiver writes: issues and pull requests of one repository.

It has GitHub's GraphQL names (`authorAssociation`, `createdAt`, OPEN, CLOSED, MERGED). Who may
teach follows from the association, as for issues that are read from GitHub itself, and from who
merged: a token that does not see the organisation is told CONTRIBUTOR for its members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from opslore.cards import Document, Dropped, Span, Trust, Turn
from opslore.sources.chats import clean

MAINTAINERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
CLOSING = 60.0
"""Seconds between a comment and the closing of its thread that make it the closing one."""

_FIXES = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d+)\b", re.I)
_BOT = re.compile(
    r"\[bot\]$|^(?:dependabot|codecov|renovate|github-actions|stale|mergify)\b|-bot$", re.I
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")

    author: str = ""
    association: str = Field("NONE", alias="authorAssociation")
    body: str = ""
    created: str = Field("", alias="createdAt")
    updated: str = Field("", alias="updatedAt")

    @field_validator("author", "body", "created", "updated", "association", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if isinstance(value, dict):  # {"login": "x"}
            value = value.get("login", value)
        return "" if value is None else clean(value) if isinstance(value, str) else value

    @property
    def bot(self) -> bool:
        return bool(_BOT.search(self.author))

    def trust(self, mergers: frozenset[str]) -> Trust:
        """T2 for who may write to the repository: by association, or because they merged."""
        writes = self.association in MAINTAINERS or self.author in mergers
        return "T2" if writes and not self.bot else "T3"


class _Note(_Part):
    """A comment on a line, in a review; it has its review's author."""


class _Review(_Part):
    state: str = ""
    comments: list[_Note] = Field(default_factory=list)


class _Thread(_Part):
    number: int
    title: str
    url: str = ""
    state: str = ""
    closed: str | None = Field(None, alias="closedAt")
    labels: list[Any] = Field(default_factory=list)
    comments: list[_Part] = Field(default_factory=list)
    reviews: list[_Review] = Field(default_factory=list)
    merge_commit: Any = Field(None, alias="mergeCommit")
    merged_by: str = Field("", alias="mergedBy")

    @field_validator("merged_by", mode="before")
    @classmethod
    def _login(cls, value: Any) -> Any:
        found = value.get("login", "") if isinstance(value, dict) else value
        return found if isinstance(found, str) else ""


def is_archive(value: dict[str, Any]) -> bool:
    """Whether a JSON object is such an archive."""
    return "repo" in value and ("issues" in value or "pulls" in value)


def documents(archive: dict[str, Any], span: Span) -> Iterator[Document | Dropped]:
    """Every issue, then every pull request; one that cannot be read has its reason."""
    repository = str(archive["repo"])
    pulls = list(_threads(archive, "pulls", span))
    known = [pull for pull in pulls if isinstance(pull, _Thread)]
    mergers = frozenset(pull.merged_by for pull in known if pull.merged_by)
    fixed: dict[int, list[str]] = {}
    for fix in (pull for pull in known if pull.state == "MERGED"):
        for number in _FIXES.findall(f"{fix.title}\n{fix.body}"):
            fixed.setdefault(int(number), []).append(_url(fix, repository, "pull"))
    for issue in _threads(archive, "issues", span):
        if isinstance(issue, _Thread):
            yield _document(issue, "issue", repository, fixed.get(issue.number, []), mergers)
        else:
            yield issue
    for pull in pulls:
        yield (
            _document(pull, "pull", repository, [], mergers) if isinstance(pull, _Thread) else pull
        )


def _threads(archive: dict[str, Any], key: str, span: Span) -> Iterator[_Thread | Dropped]:
    given = archive.get(key) or []
    if not isinstance(given, list):
        reason = f"{key} is a {type(given).__name__}, not a list"
        yield Dropped(what=f"{span.file} {key}", reason=reason, span=span)
        return
    for place, raw in enumerate(given):
        try:
            yield _Thread.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where or 'it'}: {first['msg']}"
            number = raw.get("number") if isinstance(raw, dict) else None
            what = f"{key} #{number}" if number else f"{key}[{place}]"
            yield Dropped(what=what, reason=reason, span=span)


def _document(
    thread: _Thread, kind: str, repository: str, links: list[str], mergers: frozenset[str]
) -> Document:
    url = _url(thread, repository, "issues" if kind == "issue" else "pull")
    commit = thread.merge_commit
    oid = commit.get("oid") if isinstance(commit, dict) else commit
    if thread.state == "MERGED" and isinstance(oid, str) and oid:
        links = [*links, f"{url.rpartition('/pull/')[0]}/commit/{oid}"]
    labels = [part.get("name") if isinstance(part, dict) else part for part in thread.labels]
    return Document(
        id=f"github:{repository}#{thread.number}",
        kind="issue" if kind == "issue" else "pull",
        title=clean(thread.title).strip(),
        text=thread.body,
        url=url,
        updated=thread.updated,
        author=thread.author,
        trust=thread.trust(mergers),
        span=Span(file=url, first=1, last=1),
        turns=list(_turns(thread, url, mergers)),
        tags=[str(label) for label in labels if label],
        state=thread.state.lower(),
        links=links,
    )


def _url(thread: _Thread, repository: str, part: str) -> str:
    return thread.url or f"https://github.com/{repository}/{part}/{thread.number}"


def _turns(thread: _Thread, url: str, mergers: frozenset[str]) -> Iterator[Turn]:
    """All posts in the order of time, the first one first."""

    def made(part: _Part, kind: str, marks: Sequence[str] = ()) -> Turn:
        turn = _turn(part, kind, url, thread.closed or "", marks)
        return turn.model_copy(update={"trust": part.trust(mergers)})

    yield made(thread, "body")
    posts = [made(comment, "comment") for comment in thread.comments]
    for review in thread.reviews:
        marks = [review.state.lower()] if review.state in ("APPROVED", "CHANGES_REQUESTED") else []
        if review.body.strip() or marks:
            posts.append(made(review, "review", marks))
        for note in review.comments:
            who = {"author": review.author, "association": review.association}
            posts.append(made(note.model_copy(update=who), "review_comment"))
    yield from sorted(posts, key=lambda turn: turn.created)


def _turn(part: _Part, kind: str, url: str, closed: str, marks: Sequence[str]) -> Turn:
    found = list(marks)
    if kind != "body" and _seconds(part.created, closed) <= CLOSING:
        found.append("closing")
    if part.updated and part.updated != part.created and kind != "body":
        found.append("edited")
    return Turn(
        kind=kind,
        text=part.body,
        author=part.author,
        association=part.association or "NONE",
        bot=part.bot,
        created=part.created,
        updated=part.updated,
        url=url,
        marks=found,
    )


def _seconds(one: str, other: str) -> float:
    """Time between two moments; infinite when one is unknown."""
    try:
        return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds())
    except (ValueError, TypeError):
        return float("inf")
