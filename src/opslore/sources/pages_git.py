"""A git repository's files at one commit: one shallow fetch, nothing checked out, nothing run.

The repository is bare, so no link, filter or hook of it ever touches this machine; files are read
from its objects. A fetch moves one name of ours when everything has arrived, and never before.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from opslore.errors import SourceError
from opslore.files import alone
from opslore.sources.pages_git_program import SAFE, Git, environment
from opslore.sources.pages_retry import retried
from opslore.sources.read import MAX_BYTES, printable

_NAME = "refs/opslore/head"


@dataclass(frozen=True)
class Blob:
    """A file of a commit."""

    path: str
    id: str
    mode: str
    size: int


@dataclass(frozen=True)
class Tree:
    """A commit's files."""

    commit: str
    date: str
    """ISO 8601."""
    blobs: list[Blob]


class Repository:
    """The kept copy of a repository."""

    def __init__(self, url: str, ref: str, folder: Path, allow: Collection[str] = ()) -> None:
        """Nothing is fetched yet.

        Args:
            url: https address; `file://` when `file` is allowed.
            ref: branch or tag; empty is the default branch.
            folder: where the copy is kept.
            allow: `file`, and `host:port` pairs that may be http and private; for tests.

        Raises:
            SourceError: an address that may not be fetched.
        """
        self.url, self.ref, self.folder = url, ref, folder
        self._program = Git(url, folder, _judged(url, allow))
        if ref.startswith("-") or any(char in ref for char in " ~^:?*[\\\0\n"):
            raise SourceError(f"{ref!r} is no branch or tag", hint="mend collect.ref")

    def update(self) -> None:
        """Fetch the commit of the branch or tag, when it is not here yet.

        Raises:
            SourceError: not reachable, no such branch, too large, too slow; the old copy stays.
        """
        with alone(self.folder.with_name(self.folder.name + ".lock")):
            wanted = retried(self._remote)
            if wanted == self.commit():
                return
            # Does nothing to a repository that is whole, and mends one whose making was stopped.
            self._program.run("init", "--quiet", "--bare", "--template=", str(self.folder))
            for left in self.folder.rglob("*.lock"):  # of a fetch that was killed; we are alone
                left.unlink(missing_ok=True)
            retried(self._fetch)
            self._git("gc", "--quiet", "--prune=now")

    def commit(self) -> str:
        """The commit that is here; empty before the first fetch."""
        if not (self.folder / "HEAD").is_file():
            return ""
        done = self._git("rev-parse", "--verify", "--quiet", _NAME + "^{commit}", check=False)
        return done.strip()

    def tree(self) -> Tree:
        """The files of the commit that is here.

        Raises:
            SourceError: nothing was fetched yet.
        """
        commit = self.commit()
        if not commit:
            raise SourceError(
                f"{self.url}: nothing was fetched yet", hint="run `opslore collect AGENT.yaml`"
            )
        date = self._git("show", "--no-patch", "--format=%cI", commit).strip()
        blobs = []
        for row in self._git("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split("\0"):
            head, _, path = row.partition("\t")
            if path:
                mode, _, name, size = head.split()
                blobs.append(Blob(printable(path), name, mode, int(size) if size != "-" else 0))
        return Tree(commit, date, blobs)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Opens the objects for reading."""
        process = subprocess.Popen(
            ["git", "-C", str(self.folder), *SAFE, "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            yield Reader(process, self.folder)
        finally:
            process.kill()
            process.communicate()

    def _remote(self) -> str:
        """The commit that the remote's branch or tag has."""
        names = [f"refs/heads/{self.ref}", f"refs/tags/{self.ref}"] if self.ref else ["HEAD"]
        rows = self._program.run(
            "ls-remote", "--quiet", "--", self.url, *names, *(n + "^{}" for n in names)
        )
        pairs = (row.partition("\t") for row in rows.splitlines())
        found = {name: commit for commit, _, name in pairs}
        for name in names:
            commit = found.get(name + "^{}") or found.get(name)
            if commit:
                return commit
        raise SourceError(
            f"{self.url}: no branch or tag {self.ref!r}"
            if self.ref
            else f"{self.url}: no git repository, or one without a commit",
            hint="check the address and collect.ref; an empty ref is the default branch",
        )

    def _fetch(self) -> None:
        self._git(
            "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--force",
            "--no-write-fetch-head", "--", self.url, f"+{self.ref or 'HEAD'}:{_NAME}",
        )  # fmt: skip

    def _git(self, *arguments: str, check: bool = True) -> str:
        return self._program.run("-C", str(self.folder), *arguments, check=check)


class Reader:
    """Reads objects by their id."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def read(self, name: str) -> bytes:
        """The bytes of a blob.

        Raises:
            SourceError: the object is missing or broken.
        """
        asks, says = self._process.stdin, self._process.stdout
        assert asks is not None
        assert says is not None
        try:
            asks.write(name.encode() + b"\n")
            asks.flush()
            head = says.readline().split()
            data = says.read(int(head[2]) + 1)[:-1] if len(head) == 3 else None
        except (OSError, ValueError):
            data = None
        if data is None:
            raise SourceError(
                f"{self._folder}: object {name} cannot be read",
                hint=f"delete {self._folder} and run `opslore collect AGENT.yaml` again",
            )
        return data


def _judged(url: str, allow: Collection[str]) -> tuple[str, ...]:
    """Settings that hold git to the one address that was judged."""
    if url.startswith("file://"):
        if "file" in allow:
            return ()
        raise SourceError(
            f"{url}: only https is read", hint="give the folder itself as collect.path"
        )
    if not url.startswith(("https://", "http://")):
        raise SourceError(
            f"{url}: only https is read", hint="write https://HOST/NAME.git, or give a folder"
        )
    from opslore.sources.web import judge

    parts, address = retried(lambda: judge(url, url, allow))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return ("-c", f"http.curloptResolve={parts.hostname}:{port}:{address}")


def is_link(blob: Blob) -> str:
    """Why a tree's entry is no file to read; empty when it is one."""
    if blob.mode == "120000":
        return "a link"
    if blob.mode == "160000":
        return "a submodule"
    return (
        f"{blob.size} bytes; the limit is {MAX_BYTES} bytes (20 MiB)"
        if blob.size > MAX_BYTES
        else ""
    )


def web_page(url: str, ref: str, path: str) -> str:
    """Where people read a file; empty for hosts whose addresses are not known."""
    parts = urlsplit(url)
    base = url.removesuffix(".git")
    if parts.hostname == "github.com" and base.endswith(".wiki"):
        return f"{base.removesuffix('.wiki')}/wiki/{path.rpartition('.')[0]}"
    if parts.hostname == "github.com":
        return f"{base}/blob/{ref or 'HEAD'}/{path}"
    if parts.hostname == "gitlab.com":
        return f"{base}/-/blob/{ref or 'HEAD'}/{path}"
    return ""
