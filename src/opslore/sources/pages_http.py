"""Asking a website for pages: politely, safely, and again when waiting may help."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Collection, Mapping
from types import TracebackType

from opslore import retry_after
from opslore.sources import web
from opslore.sources.pages_retry import Busy, retried

_BUSY = (408, 425, 429)


class Getter:
    """One connection pool for one source; several threads may ask."""

    def __init__(self, allow: Collection[str] = (), trust: ssl.SSLContext | None = None) -> None:
        """Nothing is sent yet.

        Args:
            allow: `host:port` pairs that may be plain http and on a private address; for tests.
            trust: certificate authorities; the system's by default.
        """
        self.allow = allow
        self.delay = 0.0
        """Seconds between two requests, when the site asks for it."""
        self._client = web.client(trust)
        self._turn = threading.Lock()

    def __enter__(self) -> Getter:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> web.Answer:
        """What the server says, whatever its status, unless it says that it is busy or broken.

        Raises:
            SourceError: not reachable, busy or broken after several tries; or not to be fetched.
        """
        return retried(lambda: self._once(url, headers or {}))

    def _once(self, url: str, headers: Mapping[str, str]) -> web.Answer:
        if self.delay:
            with self._turn:
                time.sleep(self.delay)
        answer = web.ask(self._client, url, self.allow, headers)
        if answer.status in _BUSY or answer.status >= 500:
            after = retry_after.seconds(answer.headers.get("retry-after", "")) or 0.0
            raise Busy(f"{url}: the server answered {answer.status}", after)
        return answer
