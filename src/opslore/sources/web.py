"""Fetch over https, from the public internet only: one text, or an answer to look at.

A runbook address comes from a file somebody may have sent you: it must not make this machine read
the cloud's metadata service or a neighbour's admin page. So a name is resolved once, every address
must be public, the connection goes to that very address, and each redirect is judged again.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from opslore.errors import SourceError

MAX_BYTES = 10 << 20
"""Largest answer that is read."""

SECONDS = 30.0
"""Longest time for the whole fetch, redirects included."""

REDIRECTS = 5


@dataclass(frozen=True)
class Answer:
    """What a server said, redirects followed."""

    url: str
    """The address that answered in the end."""
    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes
    """Empty unless the status is 200."""


def fetch(url: str, allow: Collection[str] = (), trust: ssl.SSLContext | None = None) -> bytes:
    """Read a URL.

    Args:
        url: where the text is.
        allow: `host:port` pairs that may be plain http and on a private address; for tests.
        trust: certificate authorities; the system's by default.

    Raises:
        SourceError: not https, a private address, too large, too slow, or refused by the server.
    """
    with client(trust) as opened:
        answer = ask(opened, url, allow)
    _check(answer, url)
    return answer.body


def client(trust: ssl.SSLContext | None = None) -> httpx.Client:
    """What `ask` sends with; one may serve several threads."""
    context = trust or ssl.create_default_context()
    return httpx.Client(verify=context, trust_env=False, timeout=SECONDS)


def ask(
    opened: httpx.Client,
    url: str,
    allow: Collection[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask for an address, each redirect judged again; any status is an answer.

    Raises:
        SourceError: not https, a private address, too large, or no whole answer in time.
    """
    deadline = time.monotonic() + SECONDS
    current = url
    for _ in range(REDIRECTS + 1):
        target, address = judge(current, url, allow)
        try:
            answer = _get(opened, target, address, url, deadline, headers or {})
        except httpx.TimeoutException as error:
            raise _slow(url) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise SourceError(
                f"{url}: {error}", hint="check the address, then try again", retryable=True
            ) from error
        if isinstance(answer, Answer):
            return answer
        current = urljoin(current, answer)
    raise SourceError(
        f"{url}: more than {REDIRECTS} redirects", hint=f"use the last address itself: {current}"
    )


def judge(current: str, url: str, allow: Collection[str]) -> tuple[SplitResult, str]:
    """The parts of an address that may be fetched, and the one IP address to fetch it from.

    Args:
        current: the address.
        url: the one somebody wrote, which redirected here.
        allow: `host:port` pairs that may be plain http and on a private address.

    Raises:
        SourceError: it may not be fetched, or its name is not known.
    """
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
    opened: httpx.Client,
    target: SplitResult,
    address: str,
    url: str,
    deadline: float,
    headers: Mapping[str, str],
) -> Answer | str:
    """What the server says, or the address that a redirect names."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise _slow(url)
    request = opened.build_request(
        "GET",
        pinned(target, address),
        headers={
            "Host": target.netloc,
            "Accept-Encoding": "identity",
            "User-Agent": "opslore",
            **headers,
        },
        extensions={"sni_hostname": target.hostname or ""},
        timeout=left,
    )
    response = opened.send(request, stream=True)
    try:
        if response.has_redirect_location:
            return response.headers["location"]
        body = _body(response, url, deadline) if response.status_code == 200 else b""
        return Answer(target.geturl(), response.status_code, response.headers, body)
    finally:
        response.close()


def pinned(target: SplitResult, address: str) -> str:
    """The address with the host's name replaced by the IP address that was judged."""
    host = f"[{address}]" if ":" in address else address
    port = f":{target.port}" if target.port else ""
    return target._replace(netloc=host + port, fragment="").geturl()


def _check(answer: Answer, url: str) -> None:
    status = answer.status
    if status in (408, 425, 429) or status >= 500:
        wait = answer.headers.get("retry-after", "")
        raise SourceError(
            f"{url}: the server answered {status}",
            hint=f"try again in {wait} s" if wait.isdigit() else "try again later",
            retryable=True,
        )
    if status != 200:
        raise SourceError(f"{url}: the server answered {status}", hint="check the address")
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise SourceError(
            f"{url}: an HTML page, not Markdown",
            hint="use the address of the raw file (on GitHub: the Raw button)",
        )


def _body(response: httpx.Response, url: str, deadline: float) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise SourceError(f"{url}: compressed though plain text was asked for", hint="use a file")
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
