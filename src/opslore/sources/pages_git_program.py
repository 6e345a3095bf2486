"""The git program on a short leash: one address, no hooks, no prompts, no settings of yours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from opslore.errors import SourceError

SECONDS = 900.0
"""Longest time for one fetch."""
LARGEST = 4 << 30
"""Bytes that a clone may take on disk."""

_LATER = (
    "could not resolve", "couldn't connect", "failed to connect", "timed out", "timeout",
    "connection reset", "connection refused", "unexpected disconnect", "early eof", "empty reply",
    "error: 429", "error: 5", "rpc failed", "hung up", "closed abruptly", "recv failure",
    "broken pipe",
    "transfer closed", "expected flush", "protocol error", "bad line length",
    "invalid index-pack", "bad pack",
)  # fmt: skip
"""What git says when waiting may help."""

SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "credential.helper=",
    "-c", "http.followRedirects=false", "-c", "protocol.allow=never", "-c", "gc.auto=0",
    "-c", "protocol.https.allow=always", "-c", "protocol.http.allow=user",
    "-c", "protocol.file.allow=user", "-c", "fetch.fsckObjects=true",
    "-c", "maintenance.auto=false",
    "-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=30", "-c", "core.askPass=",
    "-c", "safe.directory=*",
)  # fmt: skip


def environment() -> dict[str, str]:
    """The environment without git's own settings and without proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PROTOCOL_FROM_USER": "1",
        "LC_ALL": "C",
    }


@dataclass(frozen=True)
class Git:
    """Runs git for one repository."""

    url: str
    folder: Path
    settings: tuple[str, ...]
    """What holds it to the address that was judged."""

    def run(self, *arguments: str, check: bool = True) -> str:
        """What git prints.

        Raises:
            SourceError: it failed (unless `check` is off), or took too long or too much.
        """
        place, rest = (arguments[:2], arguments[2:]) if arguments[0] == "-C" else ((), arguments)
        command = ["git", *place, *SAFE, *self.settings, *rest]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise SourceError(
                f"git: {error.strerror}", hint="install git, or read a folder instead"
            ) from error
        out, said = self._watched(process)
        if process.returncode and check:
            raise self._error(said)
        return os.fsdecode(out) if not process.returncode else ""

    def _watched(self, process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
        """What git says, ended when it takes too long or too much."""
        until = time.monotonic() + SECONDS
        try:
            while True:
                try:
                    out, said = process.communicate(timeout=1.0)
                    return out, os.fsdecode(said)
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() > until:
                    raise SourceError(
                        f"{self.url}: no whole answer within {SECONDS:.0f} s",
                        hint="try again",
                        retryable=True,
                    )
                if _size(self.folder) > LARGEST:
                    raise SourceError(
                        f"{self.url}: more than {LARGEST >> 30} GiB at one commit",
                        hint="read a folder of it instead",
                    )
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def _error(self, said: str) -> SourceError:
        rows = [row for row in said.strip().splitlines() if row.strip()]
        text = rows[-1].removeprefix("fatal: ") if rows else "git failed"
        later = any(word in said.lower() for word in _LATER)
        hint = "try again later; what was fetched before is kept"
        if "terminal prompts disabled" in said or "Authentication failed" in said:
            text = "asks for a user and a password, or there is no such repository"
            hint = "clone it yourself and give the folder as collect.path"
        elif re.search("redirect|error: 30[12378]", said):
            hint = "give the address it redirects to"
        elif not later:
            hint = "check the address"
        return SourceError(f"{self.url}: {text}", hint=hint, retryable=later)


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*.pack"), folder.rglob("tmp_*"):
        for file in path:
            try:
                sizes += file.stat().st_size
            except OSError:
                continue
    return sizes
