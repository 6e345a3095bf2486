"""`make servers`: build every server that the tests need, and say what that took."""

from __future__ import annotations

import time

from . import browser, emulate, flux, flyte1, helm, kube, mlflow, ollama, s3
from .parts import build

# The quick ones first: a mistake in them shows before the long builds begin.
PARTS = [
    *s3.PARTS,
    *helm.PARTS,
    *flux.PARTS,
    *emulate.PARTS,
    *flyte1.PARTS,
    *mlflow.PARTS,
    *kube.PARTS,
    *ollama.PARTS,
]

if __name__ == "__main__":
    began = time.monotonic()
    build(PARTS)
    browser.ready()
    print(f"all servers are there, after {time.monotonic() - began:.0f} s")
