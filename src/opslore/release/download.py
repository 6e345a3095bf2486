"""Files of a web server, as whoever runs the command named them: https, no redirect, a limit.

Unlike the addresses that stand in a runbook (sources/web.py) this one is an argument, so that a
private address is as good as any other; a server inside the cluster has no other.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from opslore.errors import ConfigError, IntegrityError, MissingInput, ServerError

SECONDS = 30
"""How long a server may take to connect, and between two pieces of an answer."""


def pieces(url: str, limit: int) -> Iterator[bytes]:
    """A file piece by piece.

    Args:
        url: `https://...`.
        limit: bytes it has at most.

    Raises:
        ConfigError: no such URL, or the server sends us elsewhere.
        MissingInput: there is no such file.
        IntegrityError: it has more bytes.
        ServerError: the server does not answer, or refuses (retryable).
    """
    if not url.startswith("https://"):
        raise ConfigError(f"{url!r} is not https://", hint="name the archive by s3:// or https://")
    size = 0
    try:
        with (
            httpx.Client(timeout=SECONDS) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            _refuse(answer, url)
            for part in answer.iter_raw():
                size += len(part)
                if size > limit:
                    raise IntegrityError(f"{url}: over {limit} bytes; not a file of a release")
                yield part
    except httpx.InvalidURL as error:
        raise ConfigError(f"{url!r}: {error}") from error
    except (httpx.HTTPError, OSError) as error:
        raise ServerError(
            f"{url}: {error or type(error).__name__}",
            hint=f"curl --fail --head {url}",
            retryable=True,
        ) from error


def _refuse(answer: httpx.Response, url: str) -> None:
    if answer.status_code in (404, 410):
        raise MissingInput(f"{url} is not there", hint="run `opslore publish AGENT.yaml` first")
    if answer.is_redirect:
        raise ConfigError(
            f"{url} sends us to {answer.headers.get('location', '?')[:200]}",
            hint="name that address itself, if you trust it",
        )
    if answer.status_code != 200:
        raise ServerError(
            f"{url}: answer {answer.status_code}", hint=f"curl --fail --head {url}", retryable=True
        )
