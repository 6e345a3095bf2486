"""The connection to an Ollama: time limits, second tries, and its failures in our own words.

Calls that only read are tried again when the server is busy or breaks; a call that changes
something is made once. After the first byte Ollama reports an error as a line `{"error": ...}`
inside HTTP 200.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from opslore import retry_after
from opslore.errors import ConfigError, IntegrityError, MissingInput, OpsloreError, ServerError

T = TypeVar("T")

TRIES = 3
"""Times that a call which only reads is made before its error counts."""

WAIT = 0.5
"""Seconds before the second try; the third waits four times as long."""

LONGEST_WAIT = 30.0
"""Seconds; a server that asks for more patience (`Retry-After`) is reported instead."""

TIMEOUT = httpx.Timeout(connect=5, read=60, write=60, pool=5)
"""Seconds: to connect, between two pieces of an answer, for one piece of an upload."""

SLOW = httpx.Timeout(connect=5, read=600, write=60, pool=5)
"""The same where Ollama may be loading or rewriting a model before it says a word."""

_FULL = re.compile(r"no space left|disk quota exceeded|not enough space", re.IGNORECASE)
_BUSY = (429, 500, 502, 503, 504)


class Wire:
    """One Ollama server, question by question."""

    def __init__(self, url: str) -> None:
        """Check the address; nothing is sent yet.

        Raises:
            ConfigError: not an http or https address, or one with a password in it.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{url!r} is not the address of an Ollama", hint="write http://127.0.0.1:11434"
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"the address of the Ollama on {parts.hostname} has a name or password in it",
                hint="an agent file holds no secrets: reach Ollama through a proxy of your own",
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        # A proxy of the company has no business between two programs of one machine; and without
        # https nobody's certificate is checked, so their whole list need not be read.
        self.http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT,
            trust_env=not _is_loopback(parts.hostname),
            verify=parts.scheme == "https",
        )

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self.http.close()

    def stream(self, path: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of an answer as they come.

        Raises:
            ServerError: a line says so, is no JSON, or the connection breaks.
            MissingInput: there is no such model.
        """
        what = str(request.get("model", ""))
        with (
            self.explained(),
            self.http.stream("POST", path, json=dict(request), timeout=SLOW) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise self.refused(answer, what)
            for text in answer.iter_lines():
                if text.strip():
                    line = self._object(text)
                    if "error" in line:
                        raise self._said(str(line["error"]), 500, what)
                    yield line

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> dict[str, Any]:
        """The answer to a question that changes nothing; asked again when the server is busy."""
        return self.again(lambda: self.once(method, path, body, timeout))

    def once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> dict[str, Any]:
        """The answer to one call; nothing said is an empty answer."""
        with self.explained():
            answer = self.http.request(method, path, json=body, timeout=timeout)
        if answer.status_code != 200:
            asked = body or {}
            raise self.refused(answer, str(asked.get("model") or asked.get("source") or ""))
        return self._object(answer.text) if answer.content else {}

    def again(self, call: Callable[[], T]) -> T:
        """Make a call that may be repeated up to `TRIES` times, as long as waiting may help."""
        tried = 1
        while True:
            try:
                with self.explained():
                    return call()
            except _Busy as error:
                wait = error.after or WAIT * 4 ** (tried - 1)
                if tried == TRIES or wait > LONGEST_WAIT:
                    raise
            tried += 1
            time.sleep(wait)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Failures of the connection in our own words."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._busy(
                f"cannot be reached: {error or 'no answer'}",
                "start it with `ollama serve`, or correct the url of deploy in the agent file",
            ) from error
        except httpx.TimeoutException as error:
            raise self._busy("stopped answering", "look at its log, then run again") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise self._busy(
                f"broke the connection: {error}",
                "look at its log and at the space on its disk, then run again",
            ) from error

    def refused(self, answer: httpx.Response, what: str) -> OpsloreError:
        """An answer that is not 200, as an error.

        Args:
            answer: it.
            what: the model that was asked for.
        """
        if answer.is_redirect:
            to = answer.headers.get("location", "")
            return self.error(f"sends us on to {to}", "name that address in the agent file")
        if answer.status_code in (401, 403):
            return self.error("asks for a login", "reach it from where it asks for none")
        try:
            said = str(self._object(answer.text).get("error", ""))
        except ServerError:
            said = ""
        error = self._said(said, answer.status_code, what)
        if isinstance(error, _Busy):
            error.after = retry_after.seconds(answer.headers.get("retry-after", "")) or 0.0
        return error

    def error(self, text: str, hint: str) -> ServerError:
        """An error of this server that trying again at once does not mend."""
        return ServerError(f"Ollama {self.url} {text}", hint=hint)

    def _said(self, text: str, status: int, what: str) -> OpsloreError:
        """What Ollama said, as an error that says what to do."""
        if _FULL.search(text):
            return self.error(
                f"has no space left: {text}",
                "make room in its models folder (OLLAMA_MODELS), run again; nothing was deleted",
            )
        if "digest mismatch" in text:
            return IntegrityError(
                f"Ollama {self.url}: what arrived is not the file that was sent: {text}",
                hint="run again; if it stays, the file changes while it is read",
            )
        if status == 404 and "not found" in text:
            return MissingInput(
                f"Ollama {self.url} has no model {what}",
                hint="run `opslore deploy AGENT.yaml`, or name one that `ollama list` shows",
            )
        said, hint = f"says: {text or f'HTTP {status}'}", "look at its log, then run again"
        return self._busy(said, hint) if status in _BUSY else self.error(said, hint)

    def _busy(self, text: str, hint: str) -> _Busy:
        return _Busy(f"Ollama {self.url} {text}", hint=hint, retryable=True)

    def _object(self, text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            said = text.strip()[:60]
            raise self.error(f"answers {said!r}, which is no JSON object", "is it an Ollama?")
        return found


class _Busy(ServerError):
    """An error that waiting may mend; `after` are the seconds that the server asks for, or 0."""

    after: float = 0.0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
