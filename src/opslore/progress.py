"""How far a step is: the library reports, whoever listens shows it (the CLI draws a bar)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int, str], None]
"""Called with (what, done, total, note); total 0 means unknown."""

_listener: ContextVar[Listener | None] = ContextVar("opslore_progress", default=None)


def report(what: str, done: int, total: int, note: str = "") -> None:
    """Tell the listener, if there is one."""
    if (listener := _listener.get()) is not None:
        listener(what, done, total, note)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every report inside the block to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
