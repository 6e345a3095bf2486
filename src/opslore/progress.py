"""How far a step is: the library reports, whoever listens shows it (the CLI draws a bar)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int, str], None]
"""Called with (what, done, total, note); total 0 means unknown."""

Reader = Callable[[str], None]
"""Called with a line that is to stay."""

_listener: ContextVar[Listener | None] = ContextVar("opslore_progress", default=None)
_reader: ContextVar[Reader | None] = ContextVar("opslore_reader", default=None)


def report(what: str, done: int, total: int, note: str = "") -> None:
    """Tell the listener, if there is one."""
    if (listener := _listener.get()) is not None:
        listener(what, done, total, note)


def heard() -> bool:
    """Whether anybody reads notes: what is said to nobody need not be found out."""
    return _reader.get() is not None


def note(text: str) -> None:
    """Tell the reader, if there is one, a line that stays."""
    if (reader := _reader.get()) is not None:
        reader(text)


@contextmanager
def listening(listener: Listener, reader: Reader | None = None) -> Iterator[None]:
    """Send every report inside the block to a listener, and every note to a reader."""
    tokens = _listener.set(listener), _reader.set(reader)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _reader.reset(tokens[1])
