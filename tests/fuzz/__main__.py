"""Read damaged inputs for so many seconds; the last line is what was seen, as JSON.

A failure names the input by its number, and the input is the same for the same seed and number:
`python -m tests.fuzz TARGET 0 SEED NUMBER` reads that one alone and prints it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from opslore.errors import OpsloreError
from tests.bench.memory import peak_mb
from tests.fuzz.mutate import damaged
from tests.fuzz.targets import TARGETS, folder


def main(name: str, seconds: float, seed: str = "0", only: str = "") -> None:
    """Fuzz one target."""
    target = TARGETS[name]
    began, slowest, refused, number = time.monotonic(), 0.0, 0, int(only or 0)
    with folder() as room:
        seeds = target.seeds(Path(room))
        while only or time.monotonic() - began < seconds:
            data = damaged(seeds, random.Random(f"{name}/{seed}/{number}"))
            # What the parent shows when this process hangs or is killed.
            sys.stderr.write(f"\r{number}")
            if only:
                sys.stderr.write(f" {data!r}\n")
            start = time.process_time()
            try:
                target.read(data, Path(room))
            except OpsloreError:
                refused += 1
            except BaseException:
                sys.stderr.write(f"\ninput {number} of seed {seed}: {data!r}\n")
                raise
            slowest = max(slowest, time.process_time() - start)
            number += 1
            if only:
                break
    peak = peak_mb()
    found = {"inputs": number, "refused": refused, "slowest_s": round(slowest, 3)}
    print(json.dumps({"target": name, **found, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
