"""`make bench-collect`: requests, speed and memory of reading a repository from a fake GitHub.

5,241 issues with 20,000 comments for the number of requests, then up to 50,000 issues for megabytes
a second, peak memory, and how the time grows. The texts are those of real issues where
OPSLORE_SHARED_DATA (or ../shared/data) has them. Last line: JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.memory import peak_mb

ROOT = Path(__file__).parents[2]
SIZES = ((5_241, 20_000), (10_000, 20_000), (20_000, 40_000), (50_000, 100_000))


def texts() -> list[str]:
    """What real people wrote in issues, or words of the same length."""
    named = os.environ.get("OPSLORE_SHARED_DATA", "")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    archive = folder / "issues" / "pcapng-archive.json"
    if archive.is_file():
        found = json.loads(archive.read_text())
        threads = [*found["issues"], *found["pulls"]]
        return [each["body"] for each in threads] + [
            said["body"] for each in threads for said in each["comments"]
        ]
    words = random.Random(1)
    return [" ".join(f"word{words.randrange(999)}" for _ in range(60)) for _ in range(400)]


def measured(url: str, keep: Path) -> dict[str, float]:
    """Read everything once, then once more with nothing new; in this process alone."""
    from opslore.config_sources import IssuesSource
    from opslore.sources import Ground, issues
    from opslore.sources.github_client import Client

    calls: list[int] = []
    sent = Client._sent

    def counted(self: Client, method: str, url: str, headers: Any, body: Any) -> Any:
        answer, raw = sent(self, method, url, headers, body)
        calls.append(len(raw))
        return answer, raw

    Client._sent = counted  # type: ignore[method-assign]
    source = IssuesSource(repositories=["made/large"], url=url)
    ground = Ground(keep, keep)
    began, busy = time.perf_counter(), time.process_time()
    stream = issues.collect(source, ground)
    fetched = time.perf_counter() - began
    first, size = len(calls), sum(calls)
    began = time.perf_counter()
    turns = sum(len(row.turns) for row in stream.rows() if hasattr(row, "turns"))
    read, cpu = time.perf_counter() - began, time.process_time() - busy
    before = {path: path.stat().st_mtime_ns for path in keep.iterdir()}
    began = time.perf_counter()
    issues.collect(source, ground)
    again = time.perf_counter() - began
    assert before == {path: path.stat().st_mtime_ns for path in keep.iterdir()}, "a write"
    return {
        "requests": first,
        "again": len(calls) - first,
        "issues": stream.files,
        "posts": turns,
        "mb": size / 1e6,
        "fetch_s": fetched,
        "read_s": read,
        "again_s": again,
        "cpu_s": cpu,
        "peak_mb": peak_mb(),
    }


@contextmanager
def served(issues: int, comments: int, room: Path) -> Iterator[str]:
    """A fake GitHub in another process."""
    words = [sys.executable, "-m", "tests.fakes.serve", str(issues), str(comments), "texts.json"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    server = subprocess.Popen(words, cwd=room, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait(10)


def main() -> None:
    """Measure and print."""
    rows = []
    head = (
        "issues",
        "posts",
        "requests",
        "again",
        "mb",
        "fetch_s",
        "read_s",
        "again_s",
        "cpu_s",
        "peak_mb",
    )
    print("".join(f"{name:>10}" for name in head), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        (room / "texts.json").write_text(json.dumps(texts()))
        for issues, comments in SIZES:
            with served(issues, comments, room) as url:
                keep = room / str(issues)
                keep.mkdir()
                words = [sys.executable, "-m", "tests.bench.collect", url, str(keep)]
                env = {**os.environ, "GITHUB_TOKEN": "bench"}
                done = subprocess.run(
                    words, cwd=ROOT, env=env, capture_output=True, text=True, check=True
                )
            rows.append(json.loads(done.stdout))
            print(
                "".join(
                    f"{rows[-1][name]:10.4g}"
                    if isinstance(rows[-1][name], float)
                    else f"{rows[-1][name]:10}"
                    for name in head
                ),
                flush=True,
            )
    small, large = rows[0], rows[-1]
    print(
        json.dumps(
            {
                "requests": small["requests"],
                "issues": small["issues"],
                "mb_per_s": round(large["mb"] / (large["fetch_s"] + large["read_s"]), 1),
                "peak_mb": round(large["peak_mb"]),
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
