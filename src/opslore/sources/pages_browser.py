"""Pages that scripts make, opened in a real Chromium that reaches the network only through us.

The browser itself has no network: every name resolves to nothing, and each of its requests is
answered from our own client, which judges addresses and redirects and bounds size and time.
"""

from __future__ import annotations

import os
import shutil
from types import TracebackType
from typing import Any

from opslore.errors import MissingExtra, SourceError
from opslore.sources import web
from opslore.sources.pages_http import Getter

SECONDS = 30.0
"""Longest time for one page."""
MAX_REQUESTS = 300
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_WANTED = ("document", "script", "xhr", "fetch")
"""What a page needs to write its text; pictures, fonts and styles are not fetched."""


def executable() -> str:
    """The browser's program: OPSLORE_CHROMIUM, or one found by name.

    Raises:
        MissingExtra: there is none.
    """
    named = os.environ.get("OPSLORE_CHROMIUM", "")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        what = f"OPSLORE_CHROMIUM={named} is not there" if named else "no Chromium is installed"
        raise MissingExtra(
            f"a page is made by scripts, and {what}",
            hint="apt-get install chromium, or set OPSLORE_CHROMIUM to a Chromium or Chrome",
        )
    return found


class Browser:
    """One browser for several pages."""

    def __init__(self, getter: Getter) -> None:
        """Start it when the first page is asked for."""
        self._getter = getter
        self._playwright: Any = None
        self._browser: Any = None

    def __enter__(self) -> Browser:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def html(self, url: str) -> str:
        """A page's HTML when its scripts have run.

        Raises:
            SourceError: it cannot be fetched, or is not ready in time.
            MissingExtra: playwright or a browser is not installed.
        """
        self._start()
        from playwright.sync_api import Error

        visit = _Visit(self._getter, url)
        try:
            context = self._browser.new_context(service_workers="block", accept_downloads=False)
            try:
                page = context.new_page()
                page.route("**/*", visit.answer)
                page.route_web_socket("**/*", lambda socket: socket.close())
                page.goto(url, wait_until="load", timeout=SECONDS * 1000)
                page.wait_for_load_state("networkidle", timeout=SECONDS * 1000)
                return str(page.content())
            finally:
                context.close()
        except Error as error:
            if visit.error is not None:
                raise visit.error from error
            said = str(error).split("\n")[0][:200]
            raise SourceError(
                f"{url}: the browser says: {said}", hint="try again", retryable=True
            ) from error

    def _start(self) -> None:
        if self._browser is not None:
            return
        program = executable()
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError as error:
            raise MissingExtra(
                "a page is made by scripts, and playwright is not installed",
                hint="pip install 'opslore[wiki]'",
            ) from error
        self._playwright = self._playwright or sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=program,
                chromium_sandbox=os.geteuid() != 0,  # Chromium has none for root
                args=["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-gpu"],
                timeout=SECONDS * 1000,
            )
        except Error as error:
            said = str(error).split("\n")[0][:200]
            raise SourceError(
                f"{program} does not start: {said}", hint="run it by hand to see why"
            ) from error


class _Visit:
    """Answers the requests of one page."""

    def __init__(self, getter: Getter, url: str) -> None:
        self._getter = getter
        self._url = url
        self._count = 0
        self.error: SourceError | None = None
        """Why the page itself could not be fetched."""

    def answer(self, route: Any) -> None:
        request = route.request
        self._count += 1
        wanted = request.method == "GET" and request.resource_type in _WANTED
        if not wanted or self._count > MAX_REQUESTS:
            route.abort()
            return
        try:
            found = self._getter.get(request.url)
        except SourceError as error:
            if request.is_navigation_request():
                self.error = error
            route.abort()
            return
        route.fulfill(status=found.status, headers=_headers(found), body=found.body)


def _headers(answer: web.Answer) -> dict[str, str]:
    kept = ("content-type", "access-control-allow-origin", "access-control-allow-credentials")
    return {name: answer.headers[name] for name in kept if name in answer.headers}
