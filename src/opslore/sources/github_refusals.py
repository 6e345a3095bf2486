"""What an answer that is no page means: what was found, on which page, what mends it."""

from __future__ import annotations

import re
from typing import Any

from opslore.errors import SourceError


class Broken(SourceError):
    """The server or the connection broke each time that was tried."""

    status: int = 0
    """What it answered last; 0 when no whole answer came."""


class Torn(Exception):
    """The answer did not come whole, or is a 5xx; asking again may help."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


def given_up(url: str, error: Torn, tries: int) -> Broken:
    """The error of a page that could not be had."""
    found = Broken(
        f"{url}: {error} ({tries} times)",
        hint="what was read so far is kept: run the same command again later",
        retryable=True,
    )
    found.status = error.status
    return found


def refused(url: str, status: int, message: str, token: bool) -> SourceError:
    """The error of a status that asking again does not mend."""
    hints = {
        401: "GITHUB_TOKEN is not valid (any more): set another one",
        403: "give GITHUB_TOKEN the right to read issues and pull requests of this repository",
        404: "check its spelling"
        + ("" if token else ", and set GITHUB_TOKEN if it is private")
        + ("; the token may lack the right to see it" if token else ""),
        410: "its issues are switched off: take it out of the agent file",
        451: "it was taken down: take it out of the agent file",
    }
    found = f": {message}" if message else ""
    what = "there is no such repository" if status == 404 else f"the server answered {status}"
    return SourceError(f"{url}: {what}{found}", hint=hints.get(status, "check the url"))


def no_listing(url: str, found: Any) -> SourceError:
    """The error of a 200 that says something else than what was asked for."""
    said = found
    if isinstance(found, dict):
        errors = found.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else found
        said = first.get("message", "an object") if isinstance(first, dict) else first
    return SourceError(
        f"{url}: not what GitHub answers, though its status is 200: {str(said)[:200]}",
        hint="run the same command again; if it stays, check the url of this source",
        retryable=True,
    )


def page_of_html(url: str, status: int, raw: bytes) -> SourceError:
    """The error of a login page, or of another server."""
    return SourceError(
        f"{url}: an HTML page ({status}) and no JSON: {_title(raw)}",
        hint="the network may ask for a login, or the url of this source is no GitHub API",
    )


def _title(raw: bytes) -> str:
    found = re.search(rb"<title[^>]*>([^<]{1,200})", raw[:20_000], re.IGNORECASE)
    return repr(found[1].decode("utf-8", "replace").strip()) if found else "without a title"
