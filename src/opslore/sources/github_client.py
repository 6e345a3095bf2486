"""The connection to GitHub's API: one page at a time, whole or not at all.

Only requests that read are made, so each may be repeated: after a broken connection, a torn body
or a 5xx a few times, after a rate limit as long as `Patience` allows. The token goes to the host of
the configured address and nowhere else: a redirect or a Link to another host is an error.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from opslore.errors import ConfigError, SourceError
from opslore.sources import github_limits
from opslore.sources.github_limits import Patience
from opslore.sources.github_links import host, links, origin, page_number
from opslore.sources.github_refusals import Torn, given_up, no_listing, page_of_html, refused

TRIES = 4
"""Times that a page is asked for when the connection or the server breaks."""
WAIT = 1.0
"""Seconds before the second try; each further one waits four times as long."""
TIMEOUT = httpx.Timeout(connect=10, read=30, write=30, pool=60)
"""Seconds: to connect, between two pieces of an answer, for the question, for a free connection."""
SECONDS = 120.0
"""Seconds for one whole answer, however slowly it trickles."""
MAX_BYTES = 64 << 20
"""Largest answer; a page of 100 comments of the longest kind is 26 MB."""
REDIRECTS = 3

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Page:
    """An answer to a listing."""

    items: list[dict[str, Any]]
    next: str = ""
    """Address of the page behind it; empty on the last one."""
    more: int = 0
    """Pages behind it as far as the server tells; for progress only."""
    etag: str = ""
    unchanged: bool = False
    """304: what was read with this ETag still holds."""


class Client:
    """GitHub's REST and GraphQL under one address, for several threads."""

    def __init__(
        self, url: str, token: str, patience: Patience, allow: Collection[str] = ()
    ) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: REST endpoint.
            token: GITHUB_TOKEN, or nothing.
            patience: the waiting of this run.
            allow: `host:port` pairs that may be plain http; loopback may be anyway.

        Raises:
            ConfigError: not such an address, or a token that cannot be sent.
        """
        parts = urlsplit(url)
        plain = parts.hostname in _LOOPBACK or f"{parts.hostname}:{parts.port}" in allow
        allowed = ("https", "http") if plain else ("https",)
        if not parts.hostname or parts.scheme not in allowed:
            raise ConfigError(
                f"{url}: is not the https address of a GitHub API",
                hint="write https://api.github.com, or https://HOST/api/v3 of your Enterprise",
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                f"the address of GitHub on {parts.hostname} has more than a host and a path in it",
                hint="put the token into GITHUB_TOKEN, never into the agent file",
            )
        if token and not re.fullmatch(r"[!-~]+", token):
            raise ConfigError(
                "GITHUB_TOKEN has characters that no token has", hint="set it again, without quotes"
            )
        self.url = url.rstrip("/")
        self.token = token
        self.requests = 0
        self._origin = origin(self.url)
        self._patience = patience
        # A company's proxy is used, except for a server on this machine.
        local = parts.hostname in _LOOPBACK
        self._http = httpx.Client(timeout=TIMEOUT, trust_env=not local, follow_redirects=False)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    @property
    def graphql(self) -> str:
        """Address of the GraphQL endpoint: beside the REST one."""
        base = self.url.removesuffix("/api/v3")
        return f"{base}/graphql" if base == self.url else f"{base}/api/graphql"

    def page(self, url: str, etag: str = "") -> Page:
        """One page of a listing.

        Args:
            url: its whole address.
            etag: of what is known of it already.

        Raises:
            SourceError: it cannot be read, or not now (retryable).
        """
        answer, found = self._asked("GET", url, {"If-None-Match": etag} if etag else {}, None)
        if answer.status_code == 304:
            return Page([], etag=etag, unchanged=True)
        if not isinstance(found, list) or any(not isinstance(item, dict) for item in found):
            raise no_listing(url, found)
        beside = links(answer.headers.get("link", ""))
        behind = urljoin(url, beside["next"]) if "next" in beside else ""
        if behind and origin(behind) != self._origin:
            raise SourceError(
                f"{url}: its next page is said to be on {host(behind)}; not asked there",
                hint="check the url of this source; a proxy may rewrite what GitHub says",
            )
        last, here = (page_number(beside.get("last", "")), page_number(url) or 1)
        return Page(
            found, behind, max(last - here, 1 if behind else 0), answer.headers.get("etag", "")
        )

    def query(self, text: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query that only reads; {} when there is no such endpoint.

        Raises:
            SourceError: it cannot be read, or not now (retryable).
        """
        body = {"query": text, "variables": dict(variables)}
        answer, found = self._asked("POST", self.graphql, {}, body)
        if answer.status_code == 404:
            return {}
        data = found.get("data") if isinstance(found, dict) else None
        if not isinstance(data, dict):
            raise no_listing(self.graphql, found)
        return data

    def _asked(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[httpx.Response, Any]:
        """The answer with its JSON, after as many tries as it may take."""
        tries = limits = 0
        while True:
            self._patience.pause()
            try:
                answer, raw = self._once(method, url, headers, body)
                text = raw.decode("utf-8", "replace")
                said = text[:2000] if answer.status_code != 200 or method == "POST" else ""
                seconds, why = github_limits.asked(answer.headers, answer.status_code, said, limits)
                if seconds:
                    limits += 1
                    self._patience.hold(seconds, url, why)
                    continue
                if answer.status_code in (408, 425) or answer.status_code >= 500:
                    raise Torn(f"the server answered {answer.status_code}", answer.status_code)
                return answer, self._judged(method, url, answer, raw)
            except Torn as error:
                tries += 1
                if tries >= TRIES:
                    raise given_up(url, error, TRIES) from error
                self._patience.pause(WAIT * 4 ** (tries - 1))

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[httpx.Response, bytes]:
        """One request, with redirects on the same host."""
        current = url
        for _ in range(REDIRECTS + 1):
            answer, raw = self._sent(method, current, headers, body)
            if not answer.has_redirect_location:
                return answer, raw
            current = urljoin(current, answer.headers.get("location", ""))
            if origin(current) != self._origin:
                raise SourceError(
                    f"{url}: redirects to {host(current)}, another host; not asked there",
                    hint="check the url of this source, and whether the network asks for a login",
                )
            if answer.status_code in (301, 308) and "/repositories/" in current:
                raise SourceError(
                    f"{url}: the repository was renamed or given to somebody else ({current})",
                    hint="open it in a browser to see its new name, put that into the agent file",
                )
        raise SourceError(f"{url}: more than {REDIRECTS} redirects", hint="check the url")

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[httpx.Response, bytes]:
        given = {
            "Accept": "application/vnd.github+json",
            "Accept-Encoding": "gzip",
            "User-Agent": "opslore",
            "X-GitHub-Api-Version": "2022-11-28",
            **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            **headers,
        }
        self.requests += 1
        until = time.monotonic() + SECONDS
        parts: list[bytes] = []
        size = 0
        try:
            with self._http.stream(method, url, headers=given, json=body) as answer:
                for part in answer.iter_bytes():
                    size += len(part)
                    if size > MAX_BYTES:
                        raise SourceError(
                            f"{url}: more than {MAX_BYTES >> 20} MiB", hint="no page is that large"
                        )
                    if time.monotonic() > until:
                        raise Torn(f"no whole answer within {SECONDS:.0f} s")
                    parts.append(part)
        except httpx.TimeoutException as error:
            raise Torn(f"no answer in time ({type(error).__name__})") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Torn(self._clean(str(error) or type(error).__name__)) from error
        except httpx.InvalidURL as error:
            raise SourceError(f"{url}: {error}", hint="check the url of this source") from error
        return answer, b"".join(parts)

    def _judged(self, method: str, url: str, answer: httpx.Response, raw: bytes) -> Any:
        """The JSON of an answer that is one."""
        status = answer.status_code
        if status == 304 or (status == 404 and method == "POST"):
            return None
        kind = answer.headers.get("content-type", "")
        if raw.lstrip()[:1] == b"<" or "html" in kind:
            raise page_of_html(url, status, raw)
        try:
            found = json.loads(raw)
        except ValueError as error:
            if status == 200:
                raise Torn("the answer ends in the middle, or is no JSON") from error
            found = {}
        if status != 200:
            message = found.get("message", "") if isinstance(found, dict) else ""
            raise refused(url, status, self._clean(str(message)), bool(self.token))
        return found

    def _clean(self, text: str) -> str:
        return text.replace(self.token, "<GITHUB_TOKEN>") if self.token else text
