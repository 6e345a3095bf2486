"""What the servers are made of: pinned programs, built once, found again, never half there.

A part is a folder `NAME-VERSION` under ~/.cache/opslore/servers (OPSLORE_SERVERS names another).
Its file `.whole` is written last, so a build that was cut off is built again from the start. Needs
nothing but Python's own library, so that it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HINT = "run `make servers`"
STAMP = ".whole"
LONGEST = 60 * 60
"""Seconds that one part may take to build, and that another process's build is waited for."""


class Missing(Exception):
    """A server was not built; the message ends with the command that builds it."""


@dataclass(frozen=True)
class Part:
    """A pinned program or set of programs.

    Attributes:
        name: part of the folder's name.
        version: as its makers call it; another version is another folder.
        make: fills the folder it is given; may raise anything.
        recipe: files whose change makes it another part (lock files).
        minutes: about how long a cold build takes on two cores.
        tools: programs that the build runs.
        linux: the program is only there for Linux on x86-64.
    """

    name: str
    version: str
    make: Callable[[Build], None]
    recipe: tuple[Path, ...] = ()
    minutes: float = 1
    tools: tuple[str, ...] = ()
    linux: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in self.recipe))
        ending = f"-{digest.hexdigest()[:8]}" if self.recipe else ""
        return home() / f"{self.name}-{self.version}{ending}"

    @property
    def whole(self) -> bool:
        """Whether a build of it came to its end."""
        return (self.folder / STAMP).is_file()

    @property
    def obstacle(self) -> str:
        """Why this machine cannot build it; nothing when it can."""
        if self.linux and (sys.platform, platform.machine()) != ("linux", "x86_64"):
            return "is for Linux on x86-64"
        absent = [tool for tool in self.tools if shutil.which(tool) is None]
        return f"needs {' and '.join(absent)} to be built" if absent else ""

    def need(self, program: str) -> Path:
        """The path of one of its programs.

        Raises:
            Missing: it was not built.
        """
        path = self.folder / program
        if not self.whole or not path.exists():
            raise Missing(f"{self.name} {self.version} is not in {self.folder}: {HINT}")
        return path


@dataclass(frozen=True)
class Build:
    """One build under way: where to, with how many cores, and where its words go."""

    folder: Path
    log: Path
    jobs: int

    def run(
        self,
        command: Sequence[str | Path],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run one command; what it says is in the log.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        words = [str(word) for word in command]
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(words)}\n")
            log.flush()
            subprocess.run(
                words,
                cwd=cwd or self.folder,
                env={**os.environ, "GOMAXPROCS": str(self.jobs), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=LONGEST,
                check=True,
            )

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for what is only needed while building."""
        folder = self.folder / ".scratch"
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)


def home() -> Path:
    """The folder of all parts; not moved by OPSLORE_CACHE, which tests set to empty folders."""
    named = os.environ.get("OPSLORE_SERVERS")
    return Path(named) if named else Path.home() / ".cache" / "opslore" / "servers"


def jobs() -> int:
    """Cores that a build may use: OPSLORE_JOBS, or all of them."""
    return int(os.environ.get("OPSLORE_JOBS") or os.cpu_count() or 1)


def build(parts: Sequence[Part]) -> None:
    """Build what is not there, one after the other, and say what happens.

    What this machine cannot build is left out, and its tests with it; CI may leave out nothing.

    Raises:
        SystemExit: a build failed; the message has the end of its log.
    """
    home().mkdir(parents=True, exist_ok=True)
    for part in parts:
        title = f"{part.name} {part.version}"
        with _lock(part):
            if part.whole:
                print(f"{title}: found in {part.folder}", flush=True)
                continue
            if part.obstacle:
                if os.environ.get("CI"):
                    sys.exit(f"{title} {part.obstacle}")
                print(f"{title} {part.obstacle}: left out, its tests are skipped", flush=True)
                continue
            print(f"{title}: building, about {part.minutes:g} min ...", flush=True)
            started = time.monotonic()
            _make(part)
            print(f"{title}: built in {time.monotonic() - started:.0f} s", flush=True)


def _make(part: Part) -> None:
    """Fill the folder, then write the stamp."""
    shutil.rmtree(part.folder, ignore_errors=True)
    part.folder.mkdir()
    log = part.folder / "build.log"
    try:
        part.make(Build(part.folder, log, jobs()))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"{part.name} {part.version}: {error}\n{tail(log)}\nall of it: {log}")
    stamp = part.folder / f"{STAMP}.new"
    with stamp.open("w") as file:
        file.write(f"{part.name} {part.version}\n")
        file.flush()
        os.fsync(file.fileno())
    stamp.rename(part.folder / STAMP)


@contextmanager
def _lock(part: Part) -> Iterator[None]:
    """One build of a part at a time; the system lets go of the lock when its holder dies."""
    with (home() / f"{part.folder.name}.lock").open("w") as file:
        until = time.monotonic() + LONGEST
        said = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    sys.exit(f"{part.name}: another build still holds {file.name}")
                if not said:
                    print(f"{part.name}: waiting for another build of it", flush=True)
                    said = True
                time.sleep(1)
        yield


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, or why there are none."""
    if not log.is_file():
        return f"({log} was not written)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def go_install(build: Build, package: str, flags: str) -> None:
    """`go install PACKAGE@VERSION` into the part's `bin`; Go checks the sum of every module."""
    build.run(
        ["go", "install", f"-p={build.jobs}", "-trimpath", f"-ldflags=-s -w {flags}", package],
        env={"GOBIN": str(build.folder / "bin"), "CGO_ENABLED": "1"},
    )


def check(file: Path, sha256: str) -> None:
    """Refuse a download that is not the one that was pinned.

    Raises:
        ValueError: it has another digest.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{file.name}: its sha256 is {found}, pinned is {sha256}")
