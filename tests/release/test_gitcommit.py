"""Edits as commits, in real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from opslore import config_deploy
from opslore.errors import ConfigError, ServerError
from opslore.release import edited, gitcommit
from opslore.release.targets import Staged, switch
from opslore.release.values import Values

VERSION = "v20260131-0123abcd"
TEXT = "# values\nhub:\n    agentModel:   'old'  # the model\n"
NEW = TEXT.replace("old", f"sre:{VERSION}")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "nothing"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    git(folder, "config", "user.name", "A Person")
    git(folder, "config", "user.email", "person@example.com")
    (folder / "helm").mkdir()
    (folder / "helm" / "värde *.yaml").write_text(TEXT)
    (folder / "other.txt").write_text("other\n")
    (folder / "script.sh").write_text("#!/bin/sh\n")
    (folder / "script.sh").chmod(0o755)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return Staged("sre", VERSION, tmp_path, "s3://bucket/key.tar.gz", "0" * 64)


def target(repository: Path, branch: str = "deploy") -> Values:
    return Values(
        config_deploy.Values(
            file=str(repository / "helm" / "värde *.yaml"),
            key="hub.agentModel",
            commit=config_deploy.Commit(branch=branch, message="{agent} runs {model} {version}"),
        ),
        "sre",
    )


def shown(repository: Path, ref: str) -> str:
    return git(repository, "show", f"{ref}:helm/värde *.yaml") + "\n"


def everything(repository: Path) -> dict[str, str]:
    """What a user would miss: HEAD, the index, the files and their times."""
    found = {"HEAD": (repository / ".git" / "HEAD").read_text()}
    found["index"] = git(repository, "ls-files", "-s")
    for path in sorted(repository.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            found[str(path)] = f"{path.stat().st_mtime_ns} {path.read_text()}"
    return found


def test_a_commit_on_another_branch_touches_nothing_else(repository: Path, staged: Staged) -> None:
    (repository / "helm" / "värde *.yaml").write_text("dirty: {\n")
    (repository / "other.txt").write_text("staged\n")
    git(repository, "add", "other.txt")
    (repository / "other.txt").write_text("and dirty\n")
    before = everything(repository)
    values = target(repository)
    values.stage(staged)
    assert git(repository, "branch", "--list", "deploy") == ""
    assert switch([values], "sre", VERSION) == [values.name]
    assert everything(repository) == before
    assert shown(repository, "deploy") == NEW
    assert git(repository, "diff", "--name-only", "main", "deploy").count("\n") == 0
    assert git(repository, "log", "-1", "--format=%s|%an|%P", "deploy") == (
        f"sre runs sre {VERSION}|A Person|{git(repository, 'rev-parse', 'main')}"
    )
    assert "100755" in git(repository, "ls-tree", "deploy", "script.sh")
    assert git(repository, "fsck", "--strict") == ""


def test_nothing_to_change_is_no_commit(repository: Path, staged: Staged) -> None:
    values = target(repository)
    switch([values], "sre", VERSION)
    tip = git(repository, "rev-parse", "deploy")
    values.stage(staged)
    assert switch([target(repository)], "sre", VERSION) == []
    values.move(values.aim("sre", VERSION))
    assert git(repository, "rev-parse", "deploy") == tip


def test_going_back_is_one_more_commit_with_the_old_bytes(repository: Path) -> None:
    values = target(repository)
    before = values.now()
    assert before == "'old'"
    values.move(values.aim("sre", VERSION))
    values.move(before)
    assert shown(repository, "deploy") == TEXT
    assert git(repository, "rev-list", "--count", "deploy") == "3"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another working tree"])
def test_a_checked_out_branch_takes_its_clean_file_along(
    repository: Path, staged: Staged, tmp_path: Path, elsewhere: bool
) -> None:
    folder = repository
    if elsewhere:
        folder = tmp_path / "second"
        git(repository, "worktree", "add", "-q", "-b", "deploy", str(folder))
    else:
        git(repository, "checkout", "-q", "-b", "deploy")
    (folder / "other.txt").write_text("dirty\n")
    values = target(repository)
    values.stage(staged)
    switch([values], "sre", VERSION)
    assert (folder / "helm" / "värde *.yaml").read_text() == NEW
    assert shown(repository, "deploy") == NEW
    assert git(folder, "status", "--porcelain") == "M other.txt"
    if elsewhere:
        assert (repository / "helm" / "värde *.yaml").read_text() == TEXT


@pytest.mark.parametrize("added", [False, True])
def test_a_checked_out_file_with_changes_is_refused(
    repository: Path, staged: Staged, added: bool
) -> None:
    path = repository / "helm" / "värde *.yaml"
    path.write_text(TEXT + "mine: 1\n")
    if added:
        git(repository, "add", "-A")
        path.write_text(TEXT)
    before, tip = everything(repository), git(repository, "rev-parse", "main")
    values = target(repository, "main")
    with pytest.raises(ServerError, match="changes that are not committed") as caught:
        values.stage(staged)
    assert "git -C" in caught.value.hint
    with pytest.raises(ServerError, match="changes that are not committed"):
        values.move(values.aim("sre", VERSION))
    assert everything(repository) == before
    assert git(repository, "rev-parse", "main") == tip


def test_line_ends_of_the_working_tree_are_kept(repository: Path, staged: Staged) -> None:
    (repository / ".gitattributes").write_text("*.yaml text eol=crlf\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "attributes")
    path = repository / "helm" / "värde *.yaml"
    path.unlink()
    git(repository, "checkout", "-q", "--", ".")
    assert b"\r\n" in path.read_bytes()
    values = target(repository, "main")
    values.stage(staged)
    switch([values], "sre", VERSION)
    assert path.read_bytes() == NEW.replace("\n", "\r\n").encode()
    assert shown(repository, "main") == NEW
    assert git(repository, "status", "--porcelain") == ""


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("place", ["the file", "the index", "the branch"])
def test_a_commit_cut_short_is_completed(
    repository: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    real_git, real_replace = gitcommit._git, edited.replace

    def dying_git(folder: Path, *arguments: str, **more: object) -> object:
        index_of_ours = bool(more.get("env"))
        if place == "the index" and arguments[0] == "update-index" and not index_of_ours:
            raise Killed
        if place == "the branch" and arguments[0] == "update-ref":
            raise Killed
        return real_git(folder, *arguments, **more)  # type: ignore[arg-type]

    def dying_replace(path: Path, data: bytes) -> None:
        if place == "the file":
            raise Killed
        real_replace(path, data)

    values = target(repository, "main")
    with monkeypatch.context() as patched:
        patched.setattr(gitcommit, "_git", dying_git)
        patched.setattr(edited, "replace", dying_replace)
        with pytest.raises(Killed):
            values.move(values.aim("sre", VERSION))
    assert shown(repository, "main") == TEXT
    values.stage(staged)
    assert switch([values], "sre", VERSION) == [values.name]
    assert shown(repository, "main") == NEW
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "rev-list", "--count", "main") == "2"


def test_a_branch_that_moves_meanwhile_is_left_to_whoever_moved_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gitcommit._git
    values = target(repository, "main")

    def racing(folder: Path, *arguments: str, **more: object) -> object:
        if arguments[0] == "update-ref":
            git(repository, "update-ref", "refs/heads/main", theirs)
        return real(folder, *arguments, **more)  # type: ignore[arg-type]

    tree = git(repository, "write-tree")
    theirs = git(repository, "commit-tree", "-p", "main", "-m", "theirs", tree)
    monkeypatch.setattr(gitcommit, "_git", racing)
    with pytest.raises(ServerError, match="moved at this moment") as caught:
        values.move(values.aim("sre", VERSION))
    assert caught.value.retryable
    assert git(repository, "rev-parse", "main") == theirs
    assert (repository / "helm" / "värde *.yaml").read_text() == TEXT
    assert git(repository, "status", "--porcelain") == ""


def test_a_hook_s_environment_is_not_followed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", str(tmp_path / "wrong"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "wrong" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "wrong" / "index"))
    values = target(repository)
    values.move(values.aim("sre", VERSION))
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    assert shown(repository, "deploy") == NEW
    assert not (tmp_path / "wrong" / "index").exists()


def test_what_cannot_be_committed_is_explained(
    repository: Path, staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no name for a git branch"):
        target(repository, "a..b")
    with pytest.raises(ConfigError, match="no name for a git branch"):
        target(repository, "-d")
    (tmp_path / "loose").mkdir()
    with pytest.raises(ConfigError, match="in no git repository"):
        target(tmp_path / "loose")
    git(repository, "rm", "-qr", "--cached", "helm")
    git(repository, "commit", "-qm", "gone")
    with pytest.raises(ConfigError, match="HEAD has no file helm/"):
        target(repository).stage(staged)
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    git(repository, "config", "--unset", "user.name")
    git(repository, "config", "user.useConfigOnly", "true")
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))]:
        monkeypatch.delenv(name)
    git(repository, "config", "--unset", "user.email")
    with pytest.raises(ConfigError, match="does not know who commits") as caught:
        target(repository).stage(staged)
    assert "git config user.name" in caught.value.hint
