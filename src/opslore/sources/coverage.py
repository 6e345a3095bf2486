"""What a runbook covers, told before anything is trained: gaps, doubles, conflicts, dangers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from pydantic import Field

from opslore.cards import Document, Dropped, Record
from opslore.commands import canonical, risk
from opslore.sources import Collected


class FileCount(Record):
    """What one file gave."""

    file: str
    alerts: int
    commands: int


class Group(Record):
    """Alerts that have something in common."""

    what: str
    """The title, the symptoms or the commands that they share."""
    alerts: list[str]
    """`title (file:line)` of each."""


class Danger(Record):
    """A command that destroys something, with the place it stands at."""

    command: str
    alert: str
    place: str
    role: str
    level: str
    why: list[str]


class SourceCount(Record):
    """What one source gave."""

    source: str
    kinds: dict[str, int] = Field(default_factory=dict)
    """Documents that were kept, by kind."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Reason -> how often."""

    @property
    def kept(self) -> int:
        """Documents of every kind."""
        return sum(self.kinds.values())


class Coverage(Record):
    """The report that stands beside the corpus as `coverage.json`."""

    files: int
    """Files that were read as text."""
    alerts: int
    with_resolution: int
    """Alerts with at least one resolution command."""
    only_investigation: int
    """Alerts with commands to look, and none to mend."""
    without_commands: int
    """Alerts that teach to escalate."""
    commands: int
    per_file: list[FileCount]
    skipped: dict[str, int]
    """Reason -> how often, the most frequent first."""
    skipped_rows: list[Dropped]
    duplicates: list[Group]
    """Alerts of the same title."""
    same_commands: list[Group]
    """Alerts of different titles with the same resolution commands."""
    conflicting: list[Group]
    """Alerts of the same title or the same symptoms, with different resolutions."""
    destructive: list[Danger]
    sources: list[SourceCount] = Field(default_factory=list)


def coverage(collected: Collected, sources: Sequence[SourceCount] = ()) -> Coverage:
    """Count what was read; plain data, in the order of the runbook."""
    documents = [document for document in collected.documents if document.kind == "alert"]
    per_file: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        per_file[document.span.file].append(document)
    titles = _shared((document.title, document) for document in documents)
    symptoms = _shared((" ".join(document.symptoms.split()), document) for document in documents)
    answers = _shared(("\n".join(document.resolution), document) for document in documents)
    return Coverage(
        files=collected.files,
        alerts=len(documents),
        with_resolution=sum(bool(document.resolution) for document in documents),
        only_investigation=sum(
            bool(document.investigation and not document.resolution) for document in documents
        ),
        without_commands=sum(not document.commands for document in documents),
        commands=sum(len(document.commands) for document in documents),
        per_file=[
            FileCount(file=file, alerts=len(group), commands=sum(len(d.commands) for d in group))
            for file, group in per_file.items()
        ],
        skipped=dict(Counter(row.reason for row in collected.dropped).most_common()),
        skipped_rows=collected.dropped,
        duplicates=_groups(titles),
        same_commands=_groups(
            {what: group for what, group in answers.items() if len({d.title for d in group}) > 1}
        ),
        conflicting=_conflicts(titles, symptoms),
        destructive=[danger for document in documents for danger in _dangers(document)],
        sources=list(sources),
    )


def _shared(pairs: Iterable[tuple[str, Document]]) -> dict[str, list[Document]]:
    """The documents of each key that has more than one."""
    found: dict[str, list[Document]] = defaultdict(list)
    for key, document in pairs:
        if key:
            found[key].append(document)
    return {key: group for key, group in found.items() if len(group) > 1}


def _groups(shared: dict[str, list[Document]]) -> list[Group]:
    return [
        Group(what=what, alerts=[f"{document.title} ({_place(document)})" for document in group])
        for what, group in shared.items()
    ]


def _conflicts(
    titles: dict[str, list[Document]], symptoms: dict[str, list[Document]]
) -> list[Group]:
    found: dict[str, list[Document]] = {}
    told: set[frozenset[str]] = set()
    for what, group in [*titles.items(), *symptoms.items()]:
        members = frozenset(document.id for document in group)
        answers = {tuple(canonical(text) for text in document.resolution) for document in group}
        if len(answers) > 1 and members not in told:
            told.add(members)
            found[what] = group
    return _groups(found)


def _dangers(document: Document) -> Iterable[Danger]:
    for command in document.commands:
        judged = risk(command.text)
        if judged.level in ("destructive", "denied"):
            yield Danger(
                command=command.text,
                alert=document.title,
                place=f"{document.span.file}:{command.first}",
                role=command.role,
                level=judged.level,
                why=[finding.why for finding in judged.findings],
            )


def _place(document: Document) -> str:
    return f"{document.span.file}:{document.span.first}"
