"""Asking a tool of an MCP server (streamable HTTP), from the public internet only.

Every request of the client goes to the one address that was judged, as in `web`; what the server
said is remembered, because the client's own errors do not tell 429 from 500 from a login page.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from typing import Any

from opslore.errors import MissingExtra, SourceError
from opslore.sources.pages_retry import retried

SECONDS = 300.0
"""Longest time for one conversation."""
SILENCE = 120.0
"""Longest time without a byte; a wiki of hundreds of pages takes half a minute to come."""


def ask(url: str, calls: list[tuple[str, dict[str, Any]]], allow: Collection[str]) -> list[str]:
    """Call tools one after the other in one session; the text that each gives.

    Args:
        url: the endpoint.
        calls: names and arguments, of tools that only read.
        allow: `host:port` pairs that may be plain http and on a private address; for tests.

    Raises:
        SourceError: not reachable, no MCP server, or a tool says that it failed.
        MissingExtra: the `mcp` package is not installed.
    """
    try:
        import anyio
        import mcp  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "the mcp package is not installed", hint="pip install 'opslore[wiki]'"
        ) from error
    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it prints what we raise
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return retried(lambda: anyio.run(functools.partial(_converse, url, calls, allow)))


async def _converse(
    url: str, calls: list[tuple[str, dict[str, Any]]], allow: Collection[str]
) -> list[str]:
    import anyio
    import httpx2
    from mcp import Client, MCPError
    from mcp.client.streamable_http import StreamableHTTPError, streamable_http_client

    from opslore.sources.pages_mcp_wire import MAX_BYTES, Judging

    judged = Judging(url, allow)
    timeout = httpx2.Timeout(30.0, read=SILENCE)
    try:
        with anyio.fail_after(SECONDS):
            async with httpx2.AsyncClient(
                transport=judged, timeout=timeout, follow_redirects=False, trust_env=False
            ) as http:
                wire = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_BYTES)
                async with Client(wire, read_timeout_seconds=SILENCE, cache=None) as client:
                    found = []
                    for name, arguments in calls:
                        result = await client.call_tool(name, arguments)
                        found.append(_text(url, name, result))
                    return found
    except (
        MCPError, StreamableHTTPError, httpx2.HTTPError, httpx2.StreamError, SourceError,
        OSError, ValueError, RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError,
        ExceptionGroup,
    ) as error:  # fmt: skip
        raise _explained(url, error, judged.said) from error


def _text(url: str, name: str, result: Any) -> str:
    parts = [part.text for part in result.content if getattr(part, "type", "") == "text"]
    text = "\n".join(parts)
    if result.is_error:
        raise SourceError(f"{url}: {name}: {' '.join(text.split())[:300] or 'failed'}")
    return text


def _explained(url: str, error: BaseException, said: SourceError | None) -> SourceError:
    """The reason a person can use: what the server said, or what broke."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup) and leaf.exceptions:
        leaf = leaf.exceptions[0]
    if said is not None:
        return said
    if isinstance(leaf, SourceError):
        return leaf
    if isinstance(leaf, TimeoutError) or "timed out" in str(leaf).lower():
        return SourceError(f"{url}: no whole answer in time", hint="try again", retryable=True)
    text = " ".join(str(leaf).split())[:300] or type(leaf).__name__
    return SourceError(f"{url}: {text}", hint="try again later", retryable=True)
