"""What an MCP client sends through: judged addresses, bounded bodies, a memory for refusals."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection

import anyio
import httpx2

from opslore import retry_after
from opslore.errors import SourceError
from opslore.sources import web
from opslore.sources.pages_retry import Busy

MAX_BYTES = 128 << 20
"""Largest answer; Linkerd's wiki has about 1 MB."""


class Bounded(httpx2.AsyncByteStream):
    """A body that stops when it is too large."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        """Wrap the body that comes."""
        self.inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self.inner:
            size += len(part)
            if size > MAX_BYTES:
                raise httpx2.ReadError(f"more than {MAX_BYTES >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        """Close it."""
        await self.inner.aclose()


class Judging(httpx2.AsyncBaseTransport):
    """Goes to judged addresses only, and remembers what went wrong."""

    def __init__(self, url: str, allow: Collection[str]) -> None:
        """For one endpoint.

        Args:
            url: the endpoint.
            allow: `host:port` pairs that may be plain http and on a private address.
        """
        self.url, self.allow = url, allow
        self.inner = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context())
        self.said: SourceError | None = None
        """What the server said last, when that was no answer."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the address that was judged."""
        try:
            target, address = await anyio.to_thread.run_sync(
                web.judge, str(request.url), self.url, self.allow
            )
        except SourceError as error:
            self.said = error
            raise httpx2.ConnectError(str(error)) from error
        sent = httpx2.Request(
            request.method,
            web.pinned(target, address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.hostname or ""},
        )
        try:
            response = await self.inner.handle_async_request(sent)
        except httpx2.TransportError as error:
            text = str(error) or type(error).__name__
            self.said = SourceError(f"{self.url}: {text}", hint="try again later", retryable=True)
            raise
        self.said = _status(self.url, request.method, response) or self.said
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        """Close it."""
        await self.inner.aclose()


def _status(url: str, method: str, response: httpx2.Response) -> SourceError | None:
    """What a status or a kind of body means; only answers to what was asked count."""
    status = int(response.status_code)
    if method != "POST":
        return None
    if status in (408, 425, 429) or status >= 500:
        after = retry_after.seconds(response.headers.get("retry-after", "")) or 0.0
        return Busy(f"{url}: the server answered {status}", after)
    if 300 <= status < 400:
        where = response.headers.get("location", "")
        return SourceError(f"{url}: redirects to {where[:200]}", hint="give that address")
    if status in (401, 403):
        return SourceError(f"{url}: the server answered {status}", hint="it asks for a login")
    if response.headers.get("content-type", "").startswith("text/html"):
        return SourceError(f"{url}: an HTML page, no MCP server", hint="check collect.url")
    return None
