"""Real prose as documents, read simply: the pcapng archive and the Linkerd pages of shared data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from opslore import store
from opslore.cards import Document, Example, Span, Turn
from opslore.config import Prepare
from opslore.dataset import answers

SYSTEM = "You answer questions about the project for its users, and say so when you do not know."


def maintainers(data: dict[str, Any]) -> set[str]:
    """Who merged a pull request, or closed a thread that another one had opened."""
    found = {pull["mergedBy"] for pull in data["pulls"] if pull.get("mergedBy")}
    for thread in data["issues"]:
        found |= {c["author"] for c in thread["comments"] if _closes(thread, c)}
    return found | {data["repo"].partition("/")[0]}


def _closes(thread: dict[str, Any], comment: dict[str, Any]) -> bool:
    at_once = (comment["createdAt"] or "")[:16] == (thread["closedAt"] or "-")[:16]
    return at_once and comment["author"] != thread["author"]


def archive(path: Path, trust: bool = True) -> Iterator[Document]:
    """The issues and pull requests of an i-d-template archive."""
    data = json.loads(path.read_bytes())
    known = maintainers(data) if trust else set()
    for kind in ("issues", "pulls"):
        for thread in data[kind]:
            yield _thread(data["repo"], kind.rstrip("s"), thread, known)


def _thread(repo: str, kind: str, thread: dict[str, Any], known: set[str]) -> Document:
    def turn(post: dict[str, Any], what: Any, marks: Iterable[str] = ()) -> Turn:
        author = post["author"] or ""
        return Turn(
            kind=what,
            text=post["body"] or "",
            author=author,
            association=post["authorAssociation"],
            trust="T2" if author in known else "T3",
            created=post["createdAt"],
            updated=post["updatedAt"],
            marks=list(marks),
        )

    comments = [
        turn(c, "comment", ["closing"] if _closes(thread, c) else []) for c in thread["comments"]
    ]
    reviews = [turn(r, "review") for r in thread.get("reviews", []) if r["body"]]
    posts = sorted([*comments, *reviews], key=lambda t: t.created)
    first = turn(thread, "body")
    return Document(
        id=f"github:{repo}#{thread['number']}",
        kind="issue" if kind == "issue" else "pull",
        title=thread["title"],
        text=first.text,
        url=thread.get("url", f"https://github.com/{repo}/pull/{thread['number']}"),
        updated=thread["updatedAt"],
        author=first.author,
        trust=first.trust,
        span=Span(file=f"https://github.com/{repo}/{kind}/{thread['number']}", first=1, last=1),
        origin=f"archive {repo}",
        product="pcapng",
        turns=[first, *posts],
        state=thread["state"].lower(),
    )


def pages(folder: Path, product: str, trust: Any = "T1") -> Iterator[Document]:
    """Every Markdown page of a folder."""
    for path in sorted(folder.rglob("*.md")):
        name = path.relative_to(folder).as_posix()
        text = path.read_text("utf-8")
        yield Document(
            id=f"docs:{folder.name}/{name}",
            kind="page",
            title=name,
            text=text,
            trust=trust,
            span=Span(file=name, first=1, last=len(text.splitlines())),
            origin=f"docs {folder.name}",
            product=product,
        )


def shared(data: Path) -> list[Document]:
    """All shared prose."""
    return [
        *archive(data / "issues" / "pcapng-archive.json"),
        *pages(data / "docs" / "linkerd2", "Linkerd"),
        *pages(data / "docs" / "linkerd2-proxy", "the Linkerd proxy"),
    ]


def corpus(documents: Iterable[Document], folder: Path) -> None:
    """Write documents as a corpus."""
    store.write_rows(folder / "corpus" / "documents.jsonl", documents)


def run(folder: Path, settings: Prepare | None = None) -> dict[str, Any]:
    """Prepare the corpus of a folder in `folder/work`; the fields of its card."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    chosen = settings or Prepare(task="answers")
    return answers.prepare(chosen, SYSTEM, folder / "corpus", work, folder / "approvals.jsonl")


def prepare(
    documents: Iterable[Document], folder: Path, settings: Prepare | None = None
) -> dict[str, Any]:
    """The dataset of some documents in `folder/work`; the fields of its card."""
    corpus(documents, folder)
    return run(folder, settings)


def examples(folder: Path) -> list[Example]:
    """Every example of a prepared folder."""
    return [
        row
        for name in answers.SPLITS
        for row in store.read_rows(folder / "work" / f"{name}.jsonl", Example)
    ]
