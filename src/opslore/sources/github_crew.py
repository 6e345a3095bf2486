"""Several jobs beside each other: the first failure ends them all, and Ctrl-C ends them soon.

Plain threads that the program does not wait for when it ends: what they may be about to keep is
kept whole or not at all.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Sequence

from opslore.sources.github_limits import Stopped

WORKERS = 3
"""Listings read at the same time. GitHub asks for few requests at once, and refuses over 100."""
ENDING = 3.0
"""Seconds that the other threads are given to end after a failure or Ctrl-C."""

Job = Callable[[], None]


def beside(jobs: Sequence[Job], stop: threading.Event) -> None:
    """Do all jobs, `WORKERS` at a time.

    Args:
        jobs: what to do.
        stop: is set when one has failed; the others then raise `Stopped` or end.

    Raises:
        BaseException: what the first job that failed has raised.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    threads = [
        # A copy of the context: who listens to the progress is told in the threads, too.
        threading.Thread(
            target=contextvars.copy_context().run, args=(_work, waiting, ended, stop), daemon=True
        )
        for _ in range(min(WORKERS, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        found = [ended.get() for _ in threads]
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(ENDING)
        raise
    failures = [error for error in found if error is not None]
    for error in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        raise error


def _work(
    waiting: queue.SimpleQueue[Job],
    ended: queue.SimpleQueue[BaseException | None],
    stop: threading.Event,
) -> None:
    """Take jobs until there are none; a failure is handed to the thread that waits."""
    try:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            job()
    except BaseException as error:
        stop.set()
        ended.put(error)
    else:
        ended.put(None)
