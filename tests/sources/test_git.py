"""Which commit a line belongs to, asked of real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from opslore.config_sources import RunbookSource
from opslore.sources.runbook import collect

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

ALERT = "# {}\n\n## Fix\n```\ndf -h\n```\n"


def git(folder: Path, *arguments: str) -> str:
    who = {
        f"GIT_{role}_{what}": "t@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", "-C", folder, *arguments],
        check=True, capture_output=True, text=True, env={**os.environ, **who},
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    book = tmp_path / "top" / "book"
    book.mkdir(parents=True)
    git(tmp_path / "top", "init", "-q")
    for name in ("A", "B é"):
        (book / f"{name}.md").write_text(ALERT.format(name))
        git(tmp_path / "top", "add", ".")
        git(tmp_path / "top", "commit", "-q", "-m", name)
    return book


def test_each_file_has_its_own_last_commit(repository: Path) -> None:
    (repository.parent / "other.txt").write_text("x")
    git(repository, "add", "../other.txt")
    git(repository, "commit", "-q", "-m", "elsewhere")
    found = collect(RunbookSource(path="book"), repository.parent)
    for document in found.documents:
        file = repository / f"{document.title}.md"
        assert document.span.commit == git(repository, "log", "-1", "--format=%H", "--", str(file))
        assert document.updated == git(repository, "log", "-1", "--format=%cI", "--", str(file))
    assert found.commit == git(repository, "log", "-1", "--format=%H", "--", ".")
    assert found.commit != git(repository, "rev-parse", "HEAD")


def test_one_file(repository: Path) -> None:
    found = collect(RunbookSource(path="A.md"), repository)
    assert found.commit == git(repository, "log", "-1", "--format=%H", "--", "A.md")


def test_lines_that_were_changed_since_have_no_commit(repository: Path) -> None:
    (repository / "A.md").write_text("\n" + ALERT.format("A"))
    (repository / "new.md").write_text(ALERT.format("C"))
    found = collect(RunbookSource(path="book"), repository.parent)
    commits = {document.title: document.span.commit for document in found.documents}
    assert commits["A"] == commits["C"] == ""
    assert len(commits["B é"]) == 40


def test_without_a_repository_and_without_git(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "R.md").write_text(ALERT.format("A"))
    assert collect(RunbookSource(path="R.md"), tmp_path).commit == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = collect(RunbookSource(path="book"), repository.parent)
    assert {document.span.commit for document in found.documents} == {""}


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "R.md").write_text(ALERT.format("A"))
    assert collect(RunbookSource(path="R.md"), tmp_path).documents[0].span.commit == ""
