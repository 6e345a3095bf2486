"""All sources of an agent, read as one corpus, a document at a time.

Everything is read twice: once for the digest that names the corpus, and once more to write it when
there is none of that name. So a run that finds nothing new writes nothing, and needs no memory for
what it reads.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore import files, progress, store
from opslore.cards import Corpus, Document, Dropped
from opslore.config_sources import RunbookSource, Source
from opslore.sources import Collected, Ground, Stream
from opslore.sources.coverage import SourceCount, coverage
from opslore.store import Store


@dataclass(frozen=True)
class Gathered:
    """What the sources give, counted."""

    parts: list[tuple[str, Collected | Stream]]
    """Each source's name with what it gives."""
    content: str
    """Digest of what was read; a new commit around the same words changes nothing."""
    tables: list[SourceCount]

    @property
    def documents(self) -> int:
        """Documents of all sources."""
        return sum(table.kept for table in self.tables)

    def rows(self) -> Iterator[Document | Dropped]:
        """Every document and everything left out, with the name of its source."""
        for origin, part in self.parts:
            for row in part:
                yield row if row.origin else row.model_copy(update={"origin": origin})

    def write(self, work: Path) -> dict[str, Any]:
        """Fill a corpus folder: documents.jsonl, dropped.jsonl, coverage.json."""
        alerts: list[Document] = []
        with (
            files.whole(work / "documents.jsonl") as kept,
            files.whole(work / "dropped.jsonl") as left,
        ):
            for row in self.rows():
                files.put(kept if isinstance(row, Document) else left, row)
                if isinstance(row, Document) and row.kind == "alert":
                    alerts.append(row)
        commit = next((part.commit for _, part in self.parts if part.commit), "")
        # What a runbook leaves out is told line by line, what millions of posts do is counted.
        dropped = [
            row for _, part in self.parts if isinstance(part, Collected) for row in part.dropped
        ]
        count = sum(part.files for _, part in self.parts)
        report = coverage(Collected(alerts, dropped, commit, count), self.tables)
        store.write(work / "coverage.json", report.model_dump_json(indent=2) + "\n")
        return {
            "documents": self.documents,
            "dropped": sum(sum(table.dropped.values()) for table in self.tables),
            "digest": store.sha256(work / "documents.jsonl"),
            "commit": commit,
        }


def gathered(home: Store, sources: Sequence[Source], allow: Collection[str] = ()) -> Gathered:
    """What an agent's sources give now, before it is a corpus; errors as `collect`.

    Args:
        home: the agent's store, beside which each source keeps what it fetched.
        sources: the `collect` section; relative paths start from the working folder.
        allow: places that may be read though they are not public, see `Ground`; for tests.
    """
    found = collect(sources, Path.cwd(), home.home / "sources", allow)
    progress.report("collect", found.documents, found.documents, "documents")
    return found


def keep(home: Store, found: Gathered) -> Corpus:
    """What the sources gave as a corpus; the same words are the same corpus."""
    return home.made(Corpus, [], [], found.write, facts=[found.content])


def collect(
    sources: Sequence[Source], root: Path, keep: Path, allow: Collection[str] = ()
) -> Gathered:
    """Bring every source up to date and read it.

    Args:
        sources: the `collect` section.
        root: folder that relative paths start from.
        keep: folder in which each source keeps what it fetched.
        allow: places that may be read though they are not public, see `Ground`; for tests.

    Raises:
        SourceError: nothing there, it cannot be read, or a limit; what was fetched is kept.
        DataError: nothing in it.
        NotMade: only what is there is asked for, and nothing was ever fetched.
    """
    return counted([read(source, root, keep, allow) for source in sources])


def read(
    source: Source, root: Path, keep: Path, allow: Collection[str] = ()
) -> tuple[str, Collected | Stream]:
    """A source's name with what it gives, brought up to date; arguments and errors as `collect`."""
    return name(source), _opened(source, root, keep, allow)


def counted(parts: list[tuple[str, Collected | Stream]]) -> Gathered:
    """What the sources give as one, with its digest and its tables; every source is read once."""
    digest = hashlib.sha256()
    tables: dict[str, SourceCount] = {}
    first = True
    for row in Gathered(parts, "", []).rows():
        table = tables.setdefault(row.origin, SourceCount(source=row.origin))
        if isinstance(row, Dropped):
            table.dropped[row.reason] = table.dropped.get(row.reason, 0) + 1
            continue
        table.kinds[row.kind] = table.kinds.get(row.kind, 0) + 1
        span = row.span.model_copy(update={"commit": ""})
        bare = row.model_copy(update={"updated": "", "origin": "", "span": span})
        digest.update((b"" if first else b"\n") + bare.model_dump_json().encode())
        first = False
    return Gathered(parts, digest.hexdigest(), list(tables.values()))


def _opened(source: Source, root: Path, keep: Path, allow: Collection[str]) -> Collected | Stream:
    module = importlib.import_module(f"opslore.sources.{source.kind}")
    folder = keep / f"{source.kind}-{hashlib.sha256(name(source).encode()).hexdigest()[:12]}"
    offline = store.is_finding()
    if offline and _is_remote(source) and not folder.is_dir():
        raise store.NotMade(Corpus.kind, begun=False)
    if isinstance(source, RunbookSource):
        return _runbook(source, root, folder, offline, allow)
    found = module.collect(source, Ground(root, folder, offline=offline, allow=allow))
    assert isinstance(found, Collected | Stream), f"opslore.sources.{source.kind}"
    return found


def _runbook(
    source: RunbookSource, root: Path, folder: Path, offline: bool, allow: Collection[str]
) -> Collected:
    from opslore.sources import runbook

    return runbook.collect(source, root, keep=folder, offline=offline, allow=allow)


def _is_remote(source: Source) -> bool:
    """Whether reading it needs the network, the first time at least."""
    if isinstance(source, RunbookSource):
        from opslore.sources import runbook

        return runbook.is_repository(source.path)  # a file at an address is never kept
    path = getattr(source, "path", "")
    return source.kind == "issues" or "://" in path or bool(getattr(source, "repository", ""))


def name(source: Source) -> str:
    """A source as the tables name it: `runbook agents/RUNBOOK.md`, `issues linkerd/linkerd2`."""
    given = source.model_dump()
    what = given.get("path") or given.get("repository") or " ".join(given.get("repositories", []))
    return f"{source.kind} {what}"
