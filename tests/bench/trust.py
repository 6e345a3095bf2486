"""How fast text passes secrets and quarantine, on real runbooks, docs and threads. Last line: JSON.

`python -m tests.bench.trust FOLDER` reads the Markdown below a folder and every post of
FOLDER/issues/pcapng-archive.json, again and again until there are some megabytes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from opslore.dataset.quarantine import suspicious, visible
from opslore.dataset.secrets import Scanner


def texts(folder: Path) -> list[str]:
    """Every page and every post."""
    found = [path.read_text("utf-8") for path in sorted(folder.rglob("*.md"))]
    archive = json.loads((folder / "issues" / "pcapng-archive.json").read_bytes())
    for thread in archive["issues"] + archive["pulls"]:
        posts = [thread, *thread["comments"], *thread.get("reviews", [])]
        found += [post["body"] for post in posts if post["body"]]
    return found


def rate(given: list[str], work: Callable[[str], object]) -> float:
    """Megabytes (10^6 characters) per second of processor time."""
    begin = time.process_time()
    for text in given:
        work(text)
    return sum(map(len, given)) / 1e6 / (time.process_time() - begin)


def main() -> None:
    """Measure and print."""
    given = texts(Path(sys.argv[1] if len(sys.argv) > 1 else "shared/data"))
    scanner = Scanner()
    scanner.masked(given[0])
    rates = {
        "secrets_mb_per_s": rate(given, scanner.masked),
        "quarantine_mb_per_s": rate(given, suspicious),
        "visible_mb_per_s": rate(given, visible),
    }
    size = sum(map(len, given)) / 1e6
    both = 1 / (1 / rates["secrets_mb_per_s"] + 1 / rates["quarantine_mb_per_s"])
    print(f"{len(given)} texts, {size:.1f} MB; 50,000 threads of 3 kB: {150 / both:.0f} s")
    print(json.dumps({name: round(value, 1) for name, value in rates.items()}))


if __name__ == "__main__":
    main()
