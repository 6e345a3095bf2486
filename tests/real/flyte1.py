"""Flyte 1's SDK in an environment of its own: it wants an older python-dateutil than kubernetes.

What opslore itself needs is seen from there, behind its own packages: a `.pth` file reads where it
is from OPSLORE_BELOW, since the environment of the tests may be made after this one, or elsewhere.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from .parts import Build, Part

LOCK = Path(__file__).with_name("flyte1.txt")
"""Every version in its environment: `pip freeze` of it."""
_PINNED = re.search(r"^flytekit==(\S+)$", LOCK.read_text(), re.MULTILINE)
assert _PINNED is not None
BELOW = "OPSLORE_BELOW"
_PTH = f"import os, sys; sys.path += filter(None, os.environ.get({BELOW!r}, '').split(os.pathsep))"
_PYTHON = f"py{sys.version_info.major}{sys.version_info.minor}"
"""Compiled packages below it are of this Python."""


def _make(build: Build) -> None:
    venv = build.folder / "venv"
    build.run([sys.executable, "-m", "venv", venv])
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    build.run([*pip, "install", "--no-compile", "--no-deps", "-r", LOCK])
    build.run([*pip, "check"])
    (packages,) = (venv / "lib").glob("python3.*/site-packages")
    (packages / "zz_below.pth").write_text(_PTH + "\n")  # after its own: those of this file win


FLYTE1 = Part("flyte1", f"{_PINNED.group(1)}-{_PYTHON}", _make, recipe=(LOCK,), minutes=1)
PARTS = [FLYTE1]


def environment(source: Path) -> dict[str, str]:
    """The variables with which its programs see opslore's source and this process's packages."""
    below = [path for path in sys.path if Path(path).name == "site-packages"]
    return {**os.environ, "PYTHONPATH": str(source), BELOW: os.pathsep.join(below)}


def programs() -> Path:
    """The folder of its `python`, `pyflyte` and `pyflyte-execute`.

    Raises:
        Missing: it was not made.
    """
    return FLYTE1.need("venv/bin/pyflyte").parent
