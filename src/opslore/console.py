"""The terminal: results on stdout, everything else on stderr; errors, progress and signals."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from opslore.errors import GateFailed, OpsloreError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from opslore.config import Agent

EVERY = 10.0
"""Seconds between two progress lines when stderr is no terminal."""

PATIENCE = 4.0
"""Seconds a stopped command has to leave by itself; then it is ended. What it made so far is
whole either way: the store renames folders into place."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_agent_file: ContextVar[Path | None] = ContextVar("opslore_agent_file", default=None)


def agent(path: Path) -> Agent:
    """Read the agent file, and remember its path for the hints."""
    from opslore import config

    _agent_file.set(path)
    return config.load(path)


def say(text: str = "") -> None:
    """Write a line to stdout; control characters, which could repaint a terminal, are taken out."""
    sys.stdout.write(_CONTROL.sub("", text) + "\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(_CONTROL.sub("", text) + "\n")
    sys.stderr.flush()


def clean(text: str) -> str:
    """Text without control characters."""
    return _CONTROL.sub("", text)


def show(table: RenderableType) -> None:
    """Draw a table on stdout; 100 columns wide where nobody looks."""
    from rich.console import Console

    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100, highlight=False).print(
        table
    )


def show_all(parts: Sequence[RenderableType]) -> None:
    """Tables and lines, in order."""
    for part in parts:
        if isinstance(part, str):
            say(part)
        else:
            show(part)


def explain(error: OpsloreError) -> int:
    """Say what went wrong and what mends it; returns the exit code."""
    first, *more = error.message.splitlines() or [""]
    tell(f"error: {first}")
    for line in more:
        tell(f"       {line}")
    for note in getattr(error, "__notes__", []):  # what was put back, where the copy is
        if note != error.hint:
            tell(f"       {note}")
    if error.hint:
        tell(f"hint: {real(error.hint)}")
    return error.exit_code


def refused(error: GateFailed) -> int:
    """Every failed gate on its own line; returns the exit code."""
    tell(f"error: {len(error.reasons)} of the gates failed")
    for reason in error.reasons:
        tell(f"FAIL {reason}")
    if error.hint:
        tell(f"hint: {real(error.hint)}")
    return error.exit_code


def trace(error: BaseException) -> None:
    """The traceback, for `--debug`."""
    traceback.print_exception(error, file=sys.stderr)


def real(hint: str) -> str:
    """A hint with the agent file's own path in its commands."""
    path = _agent_file.get()
    return hint if path is None else hint.replace("AGENT.yaml", shlex.quote(str(path)))


def unusable(error: OSError) -> int:
    """A disk, a permission: the system's own words are the best there are."""
    where = f"{error.filename}: " if error.filename else ""
    return explain(OpsloreError(f"{where}{error.strerror or error}"))


def bug(error: BaseException, debug: bool) -> int:
    """Something nobody foresaw; returns the exit code."""
    if debug:
        trace(error)
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        tell(f"error: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
    tell("this is a bug in opslore" + ("" if debug else "; --debug shows where"))
    return 1


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; no Exception, so that nothing on the way mistakes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def stoppable(command: str) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Stopped`, and make sure that the process then ends.

    Args:
        command: what to type to go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        timer = threading.Timer(PATIENCE, _leave, [command, 128 + number])
        timer.daemon = True
        timer.start()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resumed_by(command: str) -> None:
    """Say this command when stopped, not the one that was typed; nothing takes that back."""
    _resume[:] = [command] if command else []


def stopped(command: str, code: int) -> int:
    """Say how to go on; returns the exit code."""
    _said.set()
    tell(f"stopped; resume with: {(_resume or [command])[0]}")
    return code


def _leave(command: str, code: int) -> None:
    # A long call into C holds the main thread, or a worker thread keeps the interpreter alive.
    os._exit(code if _said.is_set() else stopped(command, code))


_said = threading.Event()
"""The resume line was printed."""

_resume: list[str] = []
"""What to type to go on, where that is not the command itself."""


@contextmanager
def progress() -> Iterator[None]:
    """Show what the library reports: a bar on a terminal, else a line every ten seconds."""
    from opslore.progress import listening

    if sys.stderr.isatty():
        # rich writes what goes to stderr meanwhile above the bar.
        with _bars() as listener, listening(listener, tell):
            yield
    else:
        with listening(Lines(tell), tell):
            yield


class Pace:
    """Rate and time left, from the first report of a series on; a resumed run does not flatter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.series: tuple[str, int] = ("", -1)
        self.first = self.last = 0
        self.began = 0.0

    def text(self, what: str, done: int, total: int) -> str:
        """Such as `1.8/s, 3 min left`; empty while nothing is known."""
        if (what, total) != self.series or done < self.last:
            self.series, self.first, self.began = (what, total), done, self.clock()
        self.last = done
        seconds = self.clock() - self.began
        if done <= self.first or seconds <= 0:
            return ""
        rate = (done - self.first) / seconds
        speed = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        left = f", {duration((total - done) / rate)} left" if total > done else ""
        return speed + left


class Lines:
    """A listener for logs: plain lines, the first at once, then at most one every ten seconds."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.write, self.clock, self.pace = write, clock, Pace(clock)
        self.due = -float("inf")

    def __call__(self, what: str, done: int, total: int, note: str) -> None:
        """Take one report."""
        pace = self.pace.text(what, done, total)
        if self.clock() < self.due:
            return
        self.due = self.clock() + EVERY
        count = f"{done}/{total}" if total else str(done)
        self.write(
            " ".join(part for part in (what, count, note) if part) + (f" ({pace})" if pace else "")
        )


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    pace, tasks = Pace(), {}
    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    ]
    # Without redirect_stdout=False rich would send what is printed to stdout to stderr.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:

        def listener(what: str, done: int, total: int, note: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None, pace="")
            bars.update(
                tasks[what],
                completed=done,
                total=total or None,
                description=f"{what} {note}".strip(),
                pace=pace.text(what, done, total),
            )

        yield listener


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
