"""Damaged input never crashes a reader, never hangs it, and never fills the memory.

OPSLORE_FUZZ_SECONDS for all targets together: 60, or 1,200 with OPSLORE_NIGHTLY=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.fuzz.targets import ROOT, TARGETS

NIGHTLY = os.environ.get("OPSLORE_NIGHTLY") == "1"
SECONDS = float(os.environ.get("OPSLORE_FUZZ_SECONDS", "1200" if NIGHTLY else "60"))
SEED = os.environ.get("OPSLORE_FUZZ_SEED", "0")

LONGEST_S = 5.0
"""Seconds of processor time for one input, at most."""
LARGEST_MIB = 1024


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input(target: str) -> None:
    seconds = SECONDS / len(TARGETS)
    command = [sys.executable, "-m", "tests.fuzz", target, str(seconds), SEED]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 120
        )
    except subprocess.TimeoutExpired as hung:
        last = (hung.stderr or b"").rpartition(b"\r")[2]
        pytest.fail(f"{target} hangs on input {last!r} of seed {SEED}")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["inputs"] > seconds, found
    assert found["slowest_s"] < LONGEST_S, found
    assert found["peak_mib"] < LARGEST_MIB, found
