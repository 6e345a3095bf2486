"""Wait for a call that hears no signal, or has no limit of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Call in a thread of its own, so that Ctrl-C and SIGTERM end the wait at once.

    Args:
        seconds: how long to wait; None is until it is done. The thread is then left alone.
        call: what to do; what it raises is raised here.

    Raises:
        TimeoutError: it takes longer.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(seconds)
