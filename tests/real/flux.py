"""The CustomResourceDefinitions of Flux, from the published modules of its controllers."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import command
from .parts import Build, Part, check

MODULES = {
    "source-controller": (
        "source.toolkit.fluxcd.io_gitrepositories.yaml",
        "bd0c08183287b2eea0d885751fc686bc4b2b583e919de6bd57859170b8d1727f",
    ),
    "kustomize-controller": (
        "kustomize.toolkit.fluxcd.io_kustomizations.yaml",
        "da23ca0e6b4c80d3d26a91583137491e147ef4ef1e2208aece0d0af4ef851974",
    ),
}
"""Each controller with its file in config/crd/bases, and the SHA-256 of that."""


def _make(build: Build) -> None:
    with build.scratch() as scratch:
        (scratch / "go.mod").write_text("module crds\n\ngo 1.22\n")
        cache = {"GOMODCACHE": str(scratch / "mod"), "GOFLAGS": "-modcacherw"}
        for name, (file, sha256) in MODULES.items():
            module = f"github.com/fluxcd/{name}@v{FLUX.version}"
            build.run(["go", "mod", "download", module], cwd=scratch, env=cache)
            found = scratch / "mod" / module / "config" / "crd" / "bases" / file
            check(found, sha256)
            shutil.copy(found, build.folder / file)


FLUX = Part("flux-crds", "1.9.6", _make, minutes=0.3, tools=("go",))
"""Version of both controllers."""
PARTS = [FLUX]


def definitions() -> list[Path]:
    """The files to apply.

    Raises:
        Missing: they were not fetched.
    """
    return [FLUX.need(file) for file, _ in MODULES.values()]


if __name__ == "__main__":
    command.main("flux", PARTS, None, lambda nothing: {})
