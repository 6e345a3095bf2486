"""An S3 server: versitygw, which keeps objects as files and knows conditional writes.

docs/decisions/0006-test-servers.md says why this one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import command
from .parts import Build, Part, go_install
from .process import free_port, plain_environment, running, workroom

REGION = "us-east-1"


def _make(build: Build) -> None:
    version = f"v{VERSITYGW.version}"
    go_install(
        build, f"github.com/versity/versitygw/cmd/versitygw@{version}", f"-X=main.Version={version}"
    )


VERSITYGW = Part("versitygw", "1.7.0", _make, minutes=2, tools=("go",))
PARTS = [VERSITYGW]


@dataclass(frozen=True)
class S3:
    """A running S3 server and the only account it knows."""

    url: str
    access_key: str
    secret_key: str
    region: str = REGION

    def environment(self) -> dict[str, str]:
        """The variables S3 clients read; pass them on, nothing sets them here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }


@contextmanager
def serving(room: Path | None = None) -> Iterator[S3]:
    """A server without a bucket; its objects are in `room/objects`.

    Raises:
        Missing: versitygw was not built.
        Failed: it did not start.
    """
    program = VERSITYGW.need("bin/versitygw")
    with workroom("s3", room) as here:
        objects, versions = here / "objects", here / "versions"
        objects.mkdir(exist_ok=True)
        versions.mkdir(exist_ok=True)
        address = f"127.0.0.1:{free_port()}"
        it = S3(f"http://{address}", secrets.token_hex(10), secrets.token_hex(20))
        env = plain_environment(
            here,
            ROOT_ACCESS_KEY=it.access_key,
            ROOT_SECRET_KEY=it.secret_key,
            VGW_REGION=REGION,
            VGW_POSIX_CONCURRENCY="1",
        )
        words = [program, "--port", address, "--health", "/health", "posix", *_metadata(here)]
        words += ["--versioning-dir", versions, objects]
        with running("s3", words, room=here, env=env, health=f"{it.url}/health"):
            yield it


def _metadata(here: Path) -> list[str | Path]:
    """Where headers and digests are kept: beside the objects if the disk has no attributes."""
    probe = here / "attribute"
    probe.touch()
    try:
        os.setxattr(probe, "user.opslore", b"1")
    except (OSError, AttributeError):
        beside = here / "metadata"
        beside.mkdir(exist_ok=True)
        return ["--sidecar", beside]
    finally:
        probe.unlink()
    return []


if __name__ == "__main__":
    command.main("s3", PARTS, serving, S3.environment)
