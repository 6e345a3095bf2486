"""Fetch one text over https, from the public internet only.

A runbook address comes from a file somebody may have sent you: it must not make this machine read
the cloud's metadata service or a neighbour's admin page. So a name is resolved once, every address
must be public, the connection goes to that very address, and each redirect is judged again.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from opslore.errors import SourceError

MAX_BYTES = 10 << 20
"""Largest answer that is read."""

SECONDS = 30.0
"""Longest time for the whole fetch, redirects included."""

REDIRECTS = 5


def fetch(url: str, allow: Collection[str] = (), trust: ssl.SSLContext | None = None) -> bytes:
    """Read a URL.

    Args:
        url: where the text is.
        allow: `host:port` pairs that may be plain http and on a private address; for tests.
        trust: certificate authorities; the system's by default.

    Raises:
        SourceError: not https, a private address, too large, too slow, or refused by the server.
    """
    deadline = time.monotonic() + SECONDS
    context = trust or ssl.create_default_context()
    current = url
    with httpx.Client(verify=context, trust_env=False, timeout=SECONDS) as client:
        for _ in range(REDIRECTS + 1):
            target, address = _judge(current, url, allow)
            try:
                answer = _get(client, target, address, url, deadline)
            except httpx.TimeoutException as error:
                raise _slow(url) from error
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise SourceError(
                    f"{url}: {error}", hint="check the address, then try again", retryable=True
                ) from error
            if isinstance(answer, bytes):
                return answer
            current = urljoin(current, answer)
    raise SourceError(
        f"{url}: more than {REDIRECTS} redirects", hint=f"use the last address itself: {current}"
    )


def _judge(current: str, url: str, allow: Collection[str]) -> tuple[SplitResult, str]:
    """The parts of an address that may be fetched, and the one IP address to fetch it from."""
    where = url if current == url else f"{url} redirects to {current}"
    try:
        parts = urlsplit(current)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as error:
        raise SourceError(f"{where}: {error}", hint="write https://host/path") from error
    allowed = f"{host}:{port}" in allow
    if parts.scheme != "https" and not (allowed and parts.scheme == "http"):
        raise SourceError(f"{where}: only https is read", hint="use https://, or a local file")
    if not host or parts.username or parts.password:
        raise SourceError(
            f"{where}: expected https://host/path without user and password",
            hint="a runbook that needs a login is read from a local checkout",
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceError(
            f"{where}: the name {host!r} was not found ({error})",
            hint="check the address and the network, then try again",
            retryable=True,
        ) from error
    addresses = [str(row[4][0]) for row in found]
    for address in addresses:
        if not allowed and not _public(address):
            raise SourceError(
                f"{where}: {host} is {address}, which is not a public address",
                hint="copy the runbook into a file and use its path",
            )
    return parts, addresses[0]


def _public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # Addresses that carry an IPv4 address inside reach that one.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


def _get(
    client: httpx.Client, target: SplitResult, address: str, url: str, deadline: float
) -> bytes | str:
    """The body, or the address that a redirect names."""
    host = f"[{address}]" if ":" in address else address
    port = f":{target.port}" if target.port else ""
    pinned = target._replace(netloc=host + port, fragment="").geturl()
    left = deadline - time.monotonic()
    if left <= 0:
        raise _slow(url)
    request = client.build_request(
        "GET",
        pinned,
        headers={"Host": target.netloc, "Accept-Encoding": "identity", "User-Agent": "opslore"},
        extensions={"sni_hostname": target.hostname or ""},
        timeout=left,
    )
    response = client.send(request, stream=True)
    try:
        if response.is_redirect:
            return response.headers["location"]
        _check(response, url)
        return _body(response, url, deadline)
    finally:
        response.close()


def _check(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        wait = response.headers.get("retry-after", "")
        raise SourceError(
            f"{url}: the server answered {status}",
            hint=f"try again in {wait} s" if wait.isdigit() else "try again later",
            retryable=True,
        )
    if status != 200:
        raise SourceError(f"{url}: the server answered {status}", hint="check the address")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise SourceError(f"{url}: compressed though plain text was asked for", hint="use a file")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise SourceError(
            f"{url}: an HTML page, not Markdown",
            hint="use the address of the raw file (on GitHub: the Raw button)",
        )


def _body(response: httpx.Response, url: str, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_raw():
        size += len(part)
        if size > MAX_BYTES:
            raise SourceError(
                f"{url}: more than {MAX_BYTES} bytes (10 MiB)", hint="split it, or use a folder"
            )
        if time.monotonic() > deadline:
            raise _slow(url)
        parts.append(part)
    return b"".join(parts)


def _slow(url: str) -> SourceError:
    return SourceError(
        f"{url}: no whole answer within {SECONDS:.0f} s", hint="try again", retryable=True
    )
