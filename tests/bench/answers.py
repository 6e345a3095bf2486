"""`make bench-answers`: seconds, MB/s and peak memory to prepare threads generated from real ones.

Every generated thread has a third of its words changed, so that few are near-duplicates. Each size
runs in a process of its own, because a peak is of a process. The last line is JSON.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from opslore.cards import Document
from tests.bench.memory import peak_mb
from tests.bench.quality import shared

SIZES = (5000, 10_000, 25_000, 50_000)


def threads(count: int, real: list[Document]) -> Iterator[Document]:
    """Real threads again and again, each time with other words and by other people."""
    for number in range(count):
        base = real[number % len(real)]
        rng = random.Random(number)

        def other(text: str, rng: random.Random = rng) -> str:
            def word(found: re.Match[str]) -> str:
                said = found.group()
                return said if rng.random() > 0.33 else f"{said[:3]}{rng.randrange(36**4):x}"

            return re.sub(r"[a-z]{5,}", word, text)

        turns = [
            turn.model_copy(
                update={
                    "text": other(turn.text),
                    "author": f"{turn.author}{number % 997}",
                    "trust": "T2" if turn.author != base.author else "T3",
                }
            )
            for turn in base.turns
        ]
        yield base.model_copy(
            update={
                "id": f"github:generated/many#{number}",
                "title": f"{other(base.title)} {number}",
                "text": turns[0].text,
                "author": turns[0].author,
                "turns": turns,
                "state": "closed" if base.kind == "issue" else base.state,
            }
        )


def measured(count: int) -> dict[str, float]:
    """One size, in this process."""
    from tests.dataset import prose_world

    real = list(prose_world.archive(shared().parent / "issues" / "pcapng-archive.json"))
    issues = [document for document in real if document.kind == "issue"]
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        prose_world.corpus(threads(count, issues), folder)
        size = (folder / "corpus" / "documents.jsonl").stat().st_size / 1e6
        before = peak_mb()
        began = time.perf_counter()
        card = prose_world.run(folder)
        seconds = time.perf_counter() - began
        peak = peak_mb()
    return {
        "threads": count,
        "pairs": sum(card["splits"].values()),
        "seconds": round(seconds, 1),
        "mb": round(size, 1),
        "mb_per_s": round(size / seconds, 2),
        "peak_mb": round(peak),
        "before_mb": round(before),
    }


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]))))
        return
    rows = []
    for count in SIZES:
        command = [sys.executable, "-m", "tests.bench.answers", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
