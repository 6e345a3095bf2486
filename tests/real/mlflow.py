"""An MLflow tracking server in an environment of its own, as a team would run it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import command
from .parts import Build, Part
from .process import free_port, plain_environment, running, workroom

LOCK = Path(__file__).with_name("mlflow.txt")
"""Every version in the server's environment: `pip freeze` of it."""
_PINNED = re.search(r"^mlflow==(\S+)$", LOCK.read_text(), re.MULTILINE)
assert _PINNED is not None


def _make(build: Build) -> None:
    build.run([sys.executable, "-m", "venv", build.folder / "venv"])
    pip = [build.folder / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    # Most of what is installed is never imported by the server: compile at its first start.
    build.run([*pip, "install", "--no-compile", "--no-deps", "-r", LOCK])
    build.run([*pip, "check"])


MLFLOW = Part("mlflow", _PINNED.group(1), _make, recipe=(LOCK,), minutes=2)
PARTS = [MLFLOW]


@contextmanager
def serving(room: Path | None = None) -> Iterator[str]:
    """A server on sqlite; gives its URL. Artifacts go through the server into `room/artifacts`.

    Raises:
        Missing: MLflow was not installed.
        Failed: it did not start.
    """
    program = MLFLOW.need("venv/bin/mlflow")
    with workroom("mlflow", room) as here:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = plain_environment(
            here,
            PATH=f"{program.parent}:/usr/bin:/bin",
            MLFLOW_DISABLE_TELEMETRY="true",
            # Its job runners take 1.7 GB that no test needs.
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )
        words = [program, "server", "--backend-store-uri", f"sqlite:///{here}/mlflow.db"]
        words += ["--artifacts-destination", here / "artifacts", "--host", "127.0.0.1"]
        words += ["--port", str(port), "--workers", "1"]
        with running("mlflow", words, room=here, env=env, health=f"{url}/health"):
            yield url


if __name__ == "__main__":
    command.main("mlflow", PARTS, serving, lambda url: {"MLFLOW_TRACKING_URI": url})
