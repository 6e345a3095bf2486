"""A runbook in a git repository: read at one commit, fetched again only when that has moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages_world import committed, git

from opslore import lint, store
from opslore.config_sources import RunbookSource
from opslore.errors import SourceError
from opslore.sources import Collected, gather
from opslore.sources.runbook import collect

ONE = "# Nodes\n\n### Alert: DiskFull\n**Symptoms:** full\n\n**Resolution:** `df -h`\n"
FILES: dict[str, str | bytes] = {
    "runbook/nodes.md": ONE,
    "runbook/flux/FluxStale.md": "# FluxStale\n\n## Mitigation\n\n`flux get sources git`\n",
    "runbook/check.sh": "df -h\n",
    "README.md": "# About us\n\nNothing here is an alert.\n",
    ".github/old.md": ONE,
}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    committed(tmp_path / "remote", FILES)
    return tmp_path / "remote"


def read(remote: Path, room: Path, **more: object) -> Collected:
    source = RunbookSource(path=f"file://{remote}", **more)  # type: ignore[arg-type]
    return collect(source, room, keep=room / "keep", allow={"file"})


def test_the_alerts_of_a_folder_with_their_commit(remote: Path, tmp_path: Path) -> None:
    found = read(remote, tmp_path, inside="runbook")
    head = git(remote, "rev-parse", "HEAD")
    assert found.commit == head
    where = {
        d.title: (d.span.file, d.section, d.span.commit, d.resolution) for d in found.documents
    }
    assert where == {
        "DiskFull": ("runbook/nodes.md", "Nodes", head, ["df -h"]),
        "FluxStale": ("runbook/flux/FluxStale.md", "flux", head, ["flux get sources git"]),
    }
    assert all(d.updated for d in found.documents)
    assert [row.what for row in found.dropped] == ["runbook/check.sh"]


def test_the_whole_repository_and_a_single_file(remote: Path, tmp_path: Path) -> None:
    found = read(remote, tmp_path)
    assert {d.title for d in found.documents} == {"DiskFull", "FluxStale"}
    assert {row.what: row.reason for row in found.dropped}[".github/old.md"] == "hidden folder"
    (one,) = read(remote, tmp_path, inside="runbook/nodes.md").documents
    assert one.title == "DiskFull"


def test_a_new_commit_is_seen_and_a_branch_may_be_named(remote: Path, tmp_path: Path) -> None:
    read(remote, tmp_path)
    git(remote, "branch", "stable")
    committed(remote, {"runbook/nodes.md": ONE.replace("df -h", "df -i")})
    now = {d.title: d.resolution for d in read(remote, tmp_path).documents}
    assert now["DiskFull"] == ["df -i"]
    then = {d.title: d.resolution for d in read(remote, tmp_path, ref="stable").documents}
    assert then["DiskFull"] == ["df -h"]


def test_a_commit_that_changes_no_word_is_the_same_corpus(remote: Path, tmp_path: Path) -> None:
    source = RunbookSource(path=f"file://{remote}")

    def digest() -> str:
        return gather.collect([source], tmp_path, tmp_path / "kept", {"file"}).content

    first = digest()
    committed(remote, {"main.go": "package main\n"})
    assert digest() == first


def test_offline_it_reads_what_is_kept(remote: Path, tmp_path: Path) -> None:
    source = RunbookSource(path=f"file://{remote}")
    with store.finding(), pytest.raises(store.NotMade):
        gather.collect([source], tmp_path, tmp_path / "kept", {"file"})
    first = gather.collect([source], tmp_path, tmp_path / "kept", {"file"}).content
    committed(remote, {"runbook/nodes.md": ONE.replace("df -h", "df -i")})
    with store.finding():
        assert gather.collect([source], tmp_path, tmp_path / "kept", {"file"}).content == first


def test_what_is_not_there_is_said(remote: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing at 'alerts'") as raised:
        read(remote, tmp_path, inside="alerts")
    assert "collect.inside" in raised.value.hint
    with pytest.raises(SourceError, match="no branch or tag 'gone'"):
        read(remote, tmp_path, ref="gone")


def test_lint_reads_it_too(remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
    report = lint.lint(f"file://{remote}", tmp_path, allow={"file"})
    assert report.alerts == 2
