"""Documentation in a git repository: one shallow fetch, and only what changed is read again."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages_world import Site, committed, git, quick, site, snapshot

from opslore.cards import Document, Dropped
from opslore.config_sources import DocsSource
from opslore.errors import SourceError
from opslore.sources import Ground, Stream, docs, pages_git, pages_repository

__all__ = ["quick", "site"]

FILES: dict[str, str | bytes] = {
    "docs/start.md": "# Start\n\nRun it.\n\n--8<-- 'part.md'\n",
    "docs/part.md": "The part.\n",
    "docs/api.rst": "API\n===\n\nCalls.\n",
    "main.go": "package main\n",
    "docs/image.md": b"\x00\x01binary",
}


@pytest.fixture
def where(tmp_path: Path) -> Ground:
    return Ground(tmp_path, tmp_path / "keep" / "docs-1", allow={"file"})


def read(where: Ground, path: Path | str, **more: str) -> Stream:
    given = path if isinstance(path, str) else f"file://{path}"
    return docs.collect(DocsSource(path=given, **more), where)  # type: ignore[arg-type]


def texts(found: Stream) -> dict[str, str]:
    return {row.span.file: row.text for row in found if isinstance(row, Document)}


def test_clone_and_nothing_again(where: Ground, tmp_path: Path) -> None:
    commit = committed(tmp_path / "repo", FILES)
    committed(tmp_path / "repo", {"docs/start.md": str(FILES["docs/start.md"]) + "More.\n"})
    commit = git(tmp_path / "repo", "rev-parse", "HEAD")
    found = read(where, tmp_path / "repo")
    assert texts(found) == {
        "docs/start.md": "# Start\n\nRun it.\n\nThe part.\n\nMore.\n",
        "docs/part.md": "The part.\n",
        "docs/api.rst": "# API\n\nCalls.\n",
    }
    assert {row.what: row.reason for row in found if isinstance(row, Dropped)} == {
        "main.go": "not a documentation file (.md, .markdown, .mdx, .rst)",
        "docs/image.md": "binary: NUL bytes (or UTF-16 without a byte order mark)",
    }
    start = next(row for row in found if isinstance(row, Document) and row.title == "Start")
    assert (start.id, start.section) == ("docs:repo/docs/start.md", "docs")
    assert (start.span.first, start.span.last, start.span.commit) == (1, 6, commit)
    assert found.commit == commit
    copy = where.keep / "repository.git"
    assert git(copy, "rev-list", "--count", commit) == "1"  # depth 1, of two commits
    assert not (copy / "hooks").exists()

    before = snapshot(where.keep.parent)
    assert texts(read(where, tmp_path / "repo")) == texts(found)
    shutil.move(tmp_path / "repo", tmp_path / "away")
    offline = Ground(tmp_path, where.keep, offline=True, allow={"file"})
    assert texts(read(offline, tmp_path / "repo")) == texts(found)
    assert snapshot(where.keep.parent) == before


def test_only_changed_files_are_read_again(
    where: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(tmp_path / "repo", FILES)
    read(where, tmp_path / "repo")
    parsed: list[str] = []
    page = pages_repository.page

    def counted(path: str, *more: object) -> object:
        parsed.append(path)
        return page(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(pages_repository, "page", counted)
    committed(tmp_path / "repo", {"docs/api.rst": "API\n===\n\nNew calls.\n"})
    assert texts(read(where, tmp_path / "repo"))["docs/api.rst"] == "# API\n\nNew calls.\n"
    assert parsed == ["docs/api.rst"]
    parsed.clear()
    # A page changes with the file that it includes.
    committed(tmp_path / "repo", {"docs/part.md": "Another part.\n"})
    assert "Another part." in texts(read(where, tmp_path / "repo"))["docs/start.md"]
    assert parsed == ["docs/part.md", "docs/start.md"]
    parsed.clear()
    git(tmp_path / "repo", "rm", "--quiet", "docs/part.md")
    committed(tmp_path / "repo", {})
    found = read(where, tmp_path / "repo")
    assert list(texts(found)) == ["docs/api.rst", "docs/start.md"]
    assert "include: no such file" in [row.reason for row in found if isinstance(row, Dropped)]
    assert parsed == ["docs/start.md"]


def test_branch_and_tag(where: Ground, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    committed(repo, {"a.md": "# Old\n\nOld.\n"})
    git(repo, "tag", "-a", "v1", "-m", "one")
    committed(repo, {"a.md": "# New\n\nNew.\n"})
    git(repo, "branch", "stable", "v1")
    for ref, text in (("v1", "Old."), ("", "New."), ("stable", "Old.")):
        assert text in texts(read(where, repo, ref=ref))["a.md"]
    with pytest.raises(SourceError, match="no branch or tag 'v9'"):
        read(where, repo, ref="v9")
    with pytest.raises(SourceError, match="is no branch or tag"):
        read(where, repo, ref="--upload-pack=touch x")
    assert "Old." in texts(read(where, repo, ref="stable"))["a.md"]


def test_nothing_of_the_repository_is_run_or_followed(where: Ground, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (tmp_path / "secret.md").write_text("# Secret\n\npassword\n")
    committed(repo, {"a.md": "# A\n\n{{% include \"../secret.md\" %}}\n\n--8<-- 'link.md'\n"})
    os.symlink(tmp_path / "secret.md", repo / "link.md")
    (repo / ".gitattributes").write_text("*.md filter=evil\n")
    (repo / ".gitmodules").write_text('[submodule "s"]\n path = s\n url = file:///nowhere\n')
    committed(repo, {})
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},s.md")
    git(repo, "commit", "--quiet", "-m", "a submodule")
    found = read(where, repo)
    assert texts(found) == {"a.md": "# A\n"}
    reasons = {row.what: row.reason for row in found if isinstance(row, Dropped)}
    assert reasons["link.md"] == "a link"
    assert reasons["s.md"] == "a submodule"
    assert reasons["a.md: include '../secret.md'"] == "include: outside the documentation"
    assert reasons["a.md: include 'link.md'"] == "include: no such file"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("file:///srv/x.git", "only https is read"),
        ("http://example.com/x.git", "only https is read"),
        ("ssh://git@example.com/x.git", "only https is read"),
        ("ext::sh -c 'touch x' ://x.git", "only https is read"),
        ("https://10.0.0.1/x.git", "which is not a public address"),
        ("https://user:pw@example.com/x.git", "without user and password"),
    ],
)
def test_addresses_that_are_refused(tmp_path: Path, path: str, said: str) -> None:
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1")
    with pytest.raises(SourceError, match=said):
        read(where, path)
    assert not where.keep.exists()


class GitServer(Site):
    """git's own program that serves over http, with the faults of `Site` in front of it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        name = path.rpartition("/")[2]
        if self.faults.get(name):
            handler.path, self.faults[handler.path] = name, self.faults[name]
            super().answer(handler)
            return
        self.seen.append((name, 200))
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.root), "PATH_INFO": path,
            "GIT_HTTP_EXPORT_ALL": "1", "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
        )
        head, _, out = done.stdout.partition(b"\r\n\r\n")
        rows = dict(row.split(": ", 1) for row in head.decode().split("\r\n"))
        handler.send_response(int(rows.pop("Status", "200").split()[0]))
        for key, value in {**rows, "Content-Length": str(len(out))}.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(out)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[GitServer]:
    committed(tmp_path / "team" / "handbook.git", {"a.md": "# A\n\nText of a page.\n"})
    server = GitServer(tmp_path)
    yield server
    server.close()


URL = "/team/handbook.git/.git"


def test_over_http(served: GitServer, tmp_path: Path) -> None:
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1", allow=served.allow)
    assert list(texts(read(where, served.url(URL)))) == ["a.md"]
    first = len(served.seen)
    assert first == 5  # two to look, three to fetch
    read(where, served.url(URL))
    assert [name for name, _ in served.seen[first:]] == ["refs", "git-upload-pack"]


@pytest.mark.parametrize("endpoint", ["refs", "git-upload-pack"])
@pytest.mark.parametrize("fault", ["500", "429", "truncated", "reset", "reset at once"])
@pytest.mark.usefixtures("quick")
def test_a_fault_keeps_the_old_copy_and_a_rerun_goes_on(
    served: GitServer, tmp_path: Path, endpoint: str, fault: str
) -> None:
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1", allow=served.allow)
    read(where, served.url(URL))
    committed(tmp_path / "team" / "handbook.git", {"b.md": "# B\n\nAnother page.\n"})
    served.faults = {endpoint: [fault]}
    assert list(texts(read(where, served.url(URL)))) == ["a.md", "b.md"]
    committed(tmp_path / "team" / "handbook.git", {"c.md": "# C\n\nA third page.\n"})
    served.faults = {endpoint: [f"{fault}!"]}
    with pytest.raises(SourceError) as caught:
        read(where, served.url(URL))
    assert caught.value.retryable, caught.value.message
    offline = Ground(tmp_path, where.keep, offline=True, allow=served.allow)
    assert list(texts(read(offline, served.url(URL)))) == ["a.md", "b.md"]
    served.faults = {}
    assert list(texts(read(where, served.url(URL)))) == ["a.md", "b.md", "c.md"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("login", "no git repository"),
        ("metadata", "redirect"),
        ("403", "403"),
        ("401", "asks for a user"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_server_that_is_no_git_server(
    served: GitServer, tmp_path: Path, fault: str, said: str
) -> None:
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1", allow=served.allow)
    served.faults = {"refs": [f"{fault}!"]}
    with pytest.raises(SourceError) as caught:
        read(where, served.url(URL))
    assert said in caught.value.message.lower() + caught.value.hint.lower()
    with pytest.raises(SourceError, match="nothing was fetched yet"):
        read(Ground(tmp_path, where.keep, offline=True, allow=served.allow), served.url(URL))


@pytest.mark.usefixtures("quick")
def test_a_server_that_says_nothing(
    served: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opslore.sources.pages_git_program.SECONDS", 1.0)
    monkeypatch.setattr("opslore.sources.pages_retry.TRIES", 1)
    where = Ground(tmp_path, tmp_path / "keep" / "docs-1", allow=served.allow)
    served.faults = {"refs": ["hang!"]}
    threading.Timer(4, served.stop.set).start()
    with pytest.raises(SourceError, match="no whole answer within 1 s"):
        read(where, served.url(URL))


def test_a_killed_fetch_leaves_nothing_in_the_way(where: Ground, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    committed(repo, FILES)
    read(where, repo)
    copy = where.keep / "repository.git"
    (copy / "shallow.lock").write_text("")
    (copy / "refs" / "opslore").mkdir(parents=True, exist_ok=True)
    (copy / "refs" / "opslore" / "head.lock").write_text("")
    (where.keep / "pages.jsonl").write_text('{"form": 1, "torn')
    committed(repo, {"docs/new.md": "# New\n\nNew page.\n"})
    assert "docs/new.md" in texts(read(where, repo))


def test_addresses_of_pages() -> None:
    web = pages_git.web_page
    assert web("https://github.com/a/b.git", "", "x/y.md") == (
        "https://github.com/a/b/blob/HEAD/x/y.md"
    )
    assert web("https://github.com/a/b.wiki.git", "", "Home.md") == (
        "https://github.com/a/b/wiki/Home"
    )
    assert (
        web("https://gitlab.com/a/b.git", "v1", "x.md") == "https://gitlab.com/a/b/-/blob/v1/x.md"
    )
    assert web("https://git.example/a.git", "", "x.md") == ""
    assert docs.is_repository("https://github.com/linkerd/website")
    assert not docs.is_repository("https://linkerd.io/docs/")


def test_the_real_docs_as_a_repository(where: Ground, tmp_path: Path, shared_data: Path) -> None:
    shutil.copytree(
        shared_data / "docs", tmp_path / "real", copy_function=shutil.copyfile, symlinks=True
    )
    subprocess.run(["chmod", "-R", "u+w", tmp_path / "real"], check=True)
    committed(tmp_path / "real", {})
    found = texts(read(where, tmp_path / "real"))
    folder = docs.collect(
        DocsSource(path=str(shared_data / "docs")), Ground(tmp_path, tmp_path / "none")
    )
    by_folder = {row.id.partition("/")[2]: row.text for row in folder if isinstance(row, Document)}
    assert found == by_folder
    assert len(found) == 19
