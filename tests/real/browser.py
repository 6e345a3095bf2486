"""A Chromium for the pages that scripts make: Debian's own, installed where that is ours to do."""

from __future__ import annotations

import os
import shutil
import subprocess

PACKAGE = "chromium"


def ready() -> None:
    """Install Chromium when there is none, as root on a Debian; else say how to get it."""
    if shutil.which(PACKAGE) or os.environ.get("OPSLORE_CHROMIUM"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"no {PACKAGE}: apt-get install {PACKAGE}, or set OPSLORE_CHROMIUM to another")
        return
    print(f"installing Debian's {PACKAGE}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["update", "-qq"],
        ["install", "-qq", "-y", "--no-install-recommends", PACKAGE],
    ):
        subprocess.run(
            ["apt-get", *command], env=quiet, check=True, timeout=900, stdout=subprocess.DEVNULL
        )
