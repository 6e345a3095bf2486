"""A small repository on a fake GitHub, and what the tests of the source `issues` ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.github import Fake, serving
from fakes.repository import Repository

from opslore.cards import Document
from opslore.config_sources import IssuesSource
from opslore.sources import Ground, github_client, github_limits, issues

NAME = "mesh/proxy"
TOKEN = "ghp_secretsecretsecret"


def repository(threads: int = 130, name: str = NAME) -> Repository:
    """Issues and pull requests with comments of all kinds, several pages of each listing."""
    made = Repository(name)
    for n in range(1, threads + 1):
        pull = n % 3 == 0
        number = made.thread(f"Thread {n}", f"Body {n} ✓", f"user{n % 7}", pull=pull)
        for said in range(n % 4):
            made.comment(number, f"Comment {said} on {n}", "mia", author_association="MEMBER")
        if pull:
            made.review_comment(number, f"Line note on {n}", "lee")
            made.review_comment(number, f"Second note on {n}", "lee")
            made.review(number, f"Review of {n}", "lee", author_association="OWNER")
    return made


def collect(
    fake: Fake, keep: Path, *names: str, offline: bool = False, **more: object
) -> list[Document]:
    """What the source gives, read twice and the same."""
    source = IssuesSource(repositories=list(names or fake.repositories), url=fake.url, **more)
    stream = issues.collect(source, Ground(keep, keep / "kept", offline=offline))
    rows = list(stream.rows())
    assert rows == list(stream.rows())
    assert len(rows) <= stream.files
    assert all(isinstance(row, Document) for row in rows)
    return [row for row in rows if isinstance(row, Document)]


@contextmanager
def github(*repositories: Repository, **more: bool) -> Iterator[Fake]:
    with serving(Fake(*(repositories or (repository(),)), token=TOKEN, **more)) as fake:
        yield fake


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return TOKEN


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of tenths of seconds; how long they are is asked elsewhere."""
    monkeypatch.setattr(github_client, "WAIT", 0.02)
    monkeypatch.setattr(github_limits, "LEAST", 0.05)
    monkeypatch.setattr(github_limits, "SECONDARY", 0.1)
    monkeypatch.setattr(
        github_client,
        "TIMEOUT",
        github_client.httpx.Timeout(connect=1, read=0.5, write=1, pool=5),
    )
    monkeypatch.setattr(github_client, "SECONDS", 2.0)


def states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """When each file and folder was last changed, its inode and its size."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_size)
        for path in (folder, *folder.rglob("*"))
    }
