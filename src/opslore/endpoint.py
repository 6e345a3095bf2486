"""Any OpenAI-compatible chat endpoint: asked once, asked again when it is busy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from opslore import retry_after
from opslore.errors import ServerError

TIMEOUT = 60.0
"""Seconds for one reply."""
TRIES = 5
LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever Retry-After says."""


class Chat:
    """An endpoint with its connections; the key is read from OPENAI_API_KEY."""

    def __init__(
        self, url: str, what: str, key: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: base URL up to and including `/v1`.
            what: what errors call it, such as `paraphraser`.
            key: where the agent file names it, such as `prepare.paraphraser`.
            sleep: waits so many seconds.
        """
        self.url = f"{url.rstrip('/')}/chat/completions"
        self.what, self.key, self.sleep = what, key, sleep
        self.wait = 1.0
        secret = os.environ.get("OPENAI_API_KEY", "")
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self.client = httpx.Client(timeout=TIMEOUT, headers=headers)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def ask(self, request: dict[str, Any]) -> str:
        """The text of one chat completion.

        Raises:
            ServerError: the endpoint refuses, does not answer, or answers no chat completion.
        """
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self.sleep(self.wait)
            self.wait = min(2.0**attempt, LONGEST_WAIT)
            try:
                answer = self.client.post(self.url, json=request)
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
                continue
            if answer.status_code == 429 or answer.status_code >= 500:
                problem = _said(answer)
                asked = retry_after.seconds(answer.headers.get("Retry-After", ""))
                self.wait = self.wait if asked is None else min(asked, LONGEST_WAIT)
                continue
            if answer.is_error:
                raise self._failed(_said(answer), retryable=False)
            if (reply := _reply(answer)) is not None:
                return reply
            problem = f"no chat completion: {_said(answer)}"
        raise self._failed(f"{problem} ({TRIES} tries)", retryable=True)

    def _failed(self, problem: str, retryable: bool) -> ServerError:
        return ServerError(
            f"{self.what} {self.url}: {problem}",
            hint=f"check {self.key} (url up to /v1, model) and OPENAI_API_KEY; what was"
            " answered is kept, so the next run goes on from here",
            retryable=retryable,
        )


def _reply(answer: httpx.Response) -> str | None:
    try:
        content = answer.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return content if isinstance(content, str) else None


def _said(answer: httpx.Response) -> str:
    return f"HTTP {answer.status_code} {' '.join(answer.text.split())[:200]}".strip()
