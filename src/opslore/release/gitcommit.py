"""An edit of one file as a commit on a branch; the user's index, HEAD and other files stay.

Made with git's own plumbing and an index file of its own. Hooks do not run: they would see a
working tree that is not the commit's. Only where the branch is checked out do its file and that
one entry of the index follow, and only if the file had no changes of its own. The branch moves
last, and only if nobody else has moved it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from opslore.errors import ConfigError, MissingExtra, ServerError
from opslore.release import edited

SECONDS = 60
"""How long one git command may take."""


@dataclass(frozen=True)
class _Entry:
    """The file as the tip of the branch has it."""

    tip: str
    """Commit of the branch, or of HEAD when the branch is not there yet."""
    exists: bool
    mode: str
    blob: str


class Branch:
    """A file on a branch."""

    def __init__(self, path: Path, branch: str) -> None:
        """Find the repository of the file.

        Args:
            path: the file in a working tree of the repository; it need not be there.
            branch: the branch's short name, made from HEAD when missing.

        Raises:
            ConfigError: the file is in no repository, or the branch cannot have that name.
            MissingExtra: git is not installed.
        """
        self.branch, self.ref = branch, f"refs/heads/{branch}"
        whole = path.parent.resolve() / path.name
        folder = next((f for f in whole.parents if f.is_dir()), Path("/"))
        done = _git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            raise ConfigError(
                f"deploy: {path} is in no git repository, so nothing can be committed",
                hint="remove deploy[].commit, or name a file inside a repository in deploy[].file",
            )
        self.root = Path(_text(done)).resolve()
        self.path = whole.relative_to(self.root).as_posix()
        self.name = f"{branch}:{self.path}"
        if _git(self.root, "check-ref-format", self.ref).returncode or branch.startswith("-"):
            raise ConfigError(f"deploy: {branch!r} is no name for a git branch")

    def read(self) -> str:
        """The text as the branch has it.

        Raises:
            ConfigError: the branch does not have the file, or it is no UTF-8 text.
        """
        return edited.text(self._blob(self._entry().blob), self.name)

    def check(self, after: str) -> None:
        """Refuse now what a commit of this text would stumble over.

        Raises:
            ConfigError: no name and address for the commit.
            ServerError: the file is checked out and has changes.
        """
        for which in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            done = _git(self.root, "var", which)
            if done.returncode:
                raise ConfigError(
                    f"deploy: git in {self.root} does not know who commits: {_last(done)}",
                    hint="git config user.name NAME && git config user.email ADDRESS",
                )
        if (folder := self._checked_out()) is not None:
            planned = self._run("hash-object", "--stdin", data=after.encode())
            self._refuse_dirty(folder, {self._entry().blob, planned})

    def write(self, before: str, after: str, message: str) -> None:
        """Commit the text on the branch, unless it has changed since it was read.

        Args:
            before: what `read` said.
            after: the new text; equal to `before` is no commit.
            message: the commit's message.

        Raises:
            ServerError: the branch or its checked out file was changed by somebody else.
        """
        entry = self._entry()
        if self._blob(entry.blob) != before.encode():
            raise self._raced()
        if before == after:
            return
        blob = self._run("hash-object", "-w", "--stdin", data=after.encode())
        commit = self._commit(entry, blob, message)
        folder = self._checked_out()
        if folder is not None:
            self._refuse_dirty(folder, {entry.blob, blob})
            self._follow(folder, entry.mode, blob)
        old = entry.tip if entry.exists else ""  # empty: it must not be there yet
        moved = _git(self.root, "update-ref", "-m", f"opslore: {message}", self.ref, commit, old)
        if moved.returncode:
            if folder is not None:
                self._follow(folder, entry.mode, entry.blob)
            raise self._raced(_last(moved))

    def _raced(self, why: str = "") -> ServerError:
        return ServerError(
            f"deploy: the branch {self.branch} moved at this moment" + (f": {why}" if why else ""),
            hint="run `opslore deploy AGENT.yaml` again",
            retryable=True,
        )

    def _entry(self) -> _Entry:
        found = _git(self.root, "rev-parse", "--verify", "--quiet", f"{self.ref}^{{commit}}")
        exists = found.returncode == 0
        if not exists:
            found = _git(self.root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        if found.returncode:
            raise ConfigError(
                f"deploy: {self.root} has no commit yet",
                hint=f"git add {self.path} && git commit",
            )
        tip = _text(found)
        line = self._run("ls-tree", "--full-tree", tip, "--", self.path)
        if not line or line.split()[1] != "blob" or line.startswith("120000"):
            raise ConfigError(
                f"deploy: {self.branch if exists else 'HEAD'} has no file {self.path}",
                hint=f"git add {self.path} && git commit, on the branch {self.branch}",
            )
        mode, _, blob = line.split("\t")[0].split()
        return _Entry(tip, exists, mode, blob)

    def _commit(self, entry: _Entry, blob: str, message: str) -> str:
        with tempfile.TemporaryDirectory(prefix="opslore-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._run("read-tree", entry.tip, env=index)
            place = f"{entry.mode},{blob},{self.path}"
            self._run("update-index", "--cacheinfo", place, env=index)
            tree = self._run("write-tree", env=index)
        signed = _text(_git(self.root, "config", "--type=bool", "--get", "commit.gpgsign"))
        sign = ["-S"] if signed == "true" else []
        return self._run("commit-tree", *sign, "-p", entry.tip, "-m", message, tree)

    def _checked_out(self) -> Path | None:
        """The working tree that has the branch checked out; the repository may have many."""
        folder = None
        for line in self._run("worktree", "list", "--porcelain").splitlines():
            if line.startswith("worktree "):
                folder = Path(line.removeprefix("worktree "))
            elif line == f"branch {self.ref}":
                return folder
        return None

    def _refuse_dirty(self, folder: Path, blobs: set[str]) -> None:
        """Refuse if the file or its entry in the index is none of these."""
        file = folder / self.path
        staged = self._run("ls-files", "-s", "--", self.path, at=folder).split()
        data = file.read_bytes() if file.is_file() else b""
        now = self._run("hash-object", f"--path={self.path}", "--stdin", data=data, at=folder)
        # A commit cut short has written the file already, and then perhaps the index: both hold
        # what is to be committed, and the next try completes it.
        if now not in blobs or staged[1:2] == [] or staged[1] not in blobs:
            raise ServerError(
                f"deploy: {file} has changes that are not committed, on the branch {self.branch}",
                hint=f"commit or stash them: git -C {folder} stash push -- {self.path}",
            )

    def _follow(self, folder: Path, mode: str, blob: str) -> None:
        """Let the checked out file and its entry of the index be this blob."""
        # Through the filters, so that line ends are those of this working tree.
        done = _git(folder, "cat-file", "--filters", f"--path={self.path}", blob)
        edited.replace(folder / self.path, _checked(done).stdout)
        self._run("update-index", "--cacheinfo", f"{mode},{blob},{self.path}", at=folder)

    def _blob(self, blob: str) -> bytes:
        return _checked(_git(self.root, "cat-file", "blob", blob)).stdout

    def _run(
        self,
        *arguments: str,
        data: bytes = b"",
        env: dict[str, str] | None = None,
        at: Path | None = None,
    ) -> str:
        return _text(_checked(_git(at or self.root, *arguments, data=data, env=env)))


def _git(
    folder: Path, *arguments: str, data: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    # A hook or `git rebase --exec` that runs opslore has set these for its own repository.
    kept = {key: value for key, value in os.environ.items() if key != "GIT_DIR"}
    for name in ("GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"):
        kept.pop(name, None)
    fixed = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"}
    whole = {**kept, **fixed, **(env or {})}
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(
            command, input=data, env=whole, capture_output=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise MissingExtra("deploy[].commit needs git", hint="install git") from error
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"deploy: git {arguments[0]} in {folder} took over {SECONDS} s",
            hint="if it waits for a passphrase: git config commit.gpgsign false",
            retryable=True,
        ) from error


def _checked(done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[bytes]:
    if done.returncode:
        raise ServerError(
            f"deploy: `{' '.join(done.args[3:5])}` in {done.args[2]}: {_last(done)}",
            hint=f"look at the repository: git -C {done.args[2]} status",
        )
    return done


def _text(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode(errors="replace").strip()


def _last(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit {done.returncode}"
