"""The pages of a website: listed by its sitemap, kept one file each, asked for only if changed.

A page is written whole when it has arrived, and the list of pages last: what a run that was
stopped has brought is there for the next one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from pydantic import Field, ValidationError

from opslore import progress
from opslore.cards import Document, Dropped, Record, Span
from opslore.errors import SourceError
from opslore.files import alone, write
from opslore.sources import Ground, Stream, pages_front, pages_html, pages_noise, pages_robots
from opslore.sources.pages_choice import left_out
from opslore.sources.pages_http import Getter
from opslore.sources.pages_parse import FORM, About, Page, document
from opslore.sources.pages_sitemap import addresses, same_site
from opslore.sources.read import printable
from opslore.sources.web import Answer

AT_ONCE = 4
"""Requests at the same time."""
ENOUGH = 5
"""Failures after which no more pages are asked for."""


class Kept(Record):
    """A page as it was read, with what the server needs to say that it has not changed."""

    form: int = FORM
    url: str
    etag: str = ""
    modified: str = ""
    page: Page


class Listing(Record):
    """What the last whole run found."""

    pages: list[str]
    """Addresses in the order of the sitemap."""
    dropped: list[Dropped] = Field(default_factory=list)
    road: str = "sitemap"


def read_site(
    start: str, include: Sequence[str], exclude: Sequence[str], about: About, ground: Ground
) -> Stream:
    """Bring the kept pages up to date, and read them.

    Raises:
        SourceError: a page or the sitemap cannot be read now; what was read is kept.
    """
    listing = ground.keep / "site.json"
    if not ground.offline:
        with alone(ground.keep.with_name(ground.keep.name + ".lock")), Getter(ground.allow) as get:
            _Refresh(start, include, exclude, ground.keep, get).run(listing)
    site = listed(listing, start)
    host = urlsplit(start).hostname or ""
    product = about.product or host.removeprefix("www.").removeprefix("docs.").partition(".")[0]
    about = about.model_copy(update={"product": product, "prefix": f"docs:{host}"})
    return Stream(lambda: rows(site, ground.keep, about), files=len(site.pages))


def listed(listing: Path, start: str) -> Listing:
    """What the last whole run found.

    Raises:
        SourceError: there was none yet.
    """
    try:
        return Listing.model_validate_json(listing.read_bytes())
    except (OSError, ValidationError) as error:
        raise SourceError(
            f"{start}: nothing was read of it yet", hint="run `opslore collect AGENT.yaml`"
        ) from error


def rows(site: Listing, keep: Path, about: About) -> Iterator[Document | Dropped]:
    """The kept pages one by one, after what was left out."""
    yield from site.dropped
    for url in site.pages:
        kept = read_kept(file_of(keep, url))
        if kept is None:
            yield Dropped(what=url, reason="the kept page is torn; run `opslore collect` again")
        elif kept.page.reason:
            yield Dropped(what=url, reason=kept.page.reason)
        else:
            span = Span(file=url, first=1, last=max(1, kept.page.text.count("\n")))
            yield document(kept.page, about, span, url)


@dataclass
class _Refresh:
    start: str
    include: Sequence[str]
    exclude: Sequence[str]
    keep: Path
    getter: Getter
    failures: list[SourceError] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, listing: Path) -> None:
        """Ask for every page, then write the list of those that are there."""
        robots = site_robots(self.start, self.getter)
        found = addresses(self.start, robots, self.getter)
        dropped = [Dropped(what=url, reason="on another site") for url in found.other]
        wanted: list[str] = []
        for url in found.pages:
            reason = self._why_not(url, robots)
            if reason:
                dropped.append(Dropped(what=url, reason=reason))
            else:
                wanted.append(url)
        self.getter.delay = robots.delay
        with ThreadPoolExecutor(1 if robots.delay else AT_ONCE) as pool:
            reasons = []
            for reason in pool.map(self._fetch, wanted):
                reasons.append(reason)
                progress.report("collect", len(reasons), len(wanted), "pages")
        if self.failures:
            raise self._failed(len(wanted))
        there = [url for url, reason in zip(wanted, reasons, strict=True) if not reason]
        dropped += [
            Dropped(what=url, reason=reason)
            for url, reason in zip(wanted, reasons, strict=True)
            if reason
        ]
        put(listing, Listing(pages=there, dropped=dropped))
        forget(self.keep, there)

    def _why_not(self, url: str, robots: pages_robots.Robots) -> str:
        parts = urlsplit(url)
        base = urlsplit(self.start).path
        if not base.endswith((".xml", ".xml.gz")) and not _below(parts.path, base):
            return f"not below {base}"
        if not robots.allows(parts.path + (f"?{parts.query}" if parts.query else "")):
            return "robots.txt asks not to read it"
        return left_out(url, self.include, self.exclude)

    def _fetch(self, url: str) -> str:
        """Keep one page; why it is left out, or empty."""
        if self.stop.is_set():
            return ""
        try:
            return fetch(url, self.keep, self.getter)
        except SourceError as error:
            self.failures.append(error)
            if len(self.failures) >= ENOUGH:
                self.stop.set()
            return ""

    def _failed(self, pages: int) -> SourceError:
        first = self.failures[0]
        later = all(error.retryable for error in self.failures)
        return SourceError(
            f"{len(self.failures)} of {pages} pages could not be read; {first.message}",
            hint="run again to go on, pages that were read are kept; "
            "a page that stays broken is left out with collect.exclude",
            retryable=later,
        )


def forget(keep: Path, there: list[str]) -> None:
    """Delete what is kept of pages that are gone."""
    names = {file_of(keep, url).name for url in there}
    folder = keep / "pages"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in names:
            path.unlink(missing_ok=True)


def site_robots(start: str, getter: Getter) -> pages_robots.Robots:
    """What a site's robots.txt says.

    Raises:
        SourceError: the server is broken or not reachable, so nobody knows.
    """
    answer = getter.get(urljoin(start, "/robots.txt"))
    if answer.status in (401, 403):
        return pages_robots.Robots([(False, "/")])
    if answer.status != 200 or "html" in answer.headers.get("content-type", ""):
        return pages_robots.Robots()
    return pages_robots.parse(answer.body.decode("utf-8", "replace"))


def fetch(url: str, keep: Path, getter: Getter) -> str:
    """Bring one kept page up to date; why there is none, or empty.

    Raises:
        SourceError: it cannot be read now, and what is kept stays.
    """
    path = file_of(keep, url)
    kept = read_kept(path)
    headers = {}
    if kept and kept.etag:
        headers["If-None-Match"] = kept.etag
    if kept and kept.modified:
        headers["If-Modified-Since"] = kept.modified
    answer = getter.get(url, headers)
    if answer.status == 304 and kept:
        return ""
    if answer.status in (404, 410):
        return f"gone: the server answered {answer.status}"
    page, reason = _read(url, answer)
    if page is None:
        if kept:  # it was a page once: something is wrong with the site, not with the page
            raise SourceError(f"{url}: {reason}", hint="try again later", retryable=True)
        return reason
    etag, modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    put(path, Kept(url=url, etag=etag, modified=modified, page=page))
    return ""


def _read(url: str, answer: Answer) -> tuple[Page | None, str]:
    """The page in an answer, or why there is none."""
    if answer.status != 200:
        return None, f"the server answered {answer.status}"
    if not same_site(answer.url, url):
        return None, f"redirects to another site: {answer.url}"
    kind = answer.headers.get("content-type", "text/html").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml"):
        return None, f"not a page: {kind}"
    found = pages_html.extract(answer.body, answer.url)
    reasons = {
        "login": "a login page",
        "scripts": "made by scripts in a browser",
        "empty": "no text in it",
    }
    if found.kind != "page":
        return None, reasons[found.kind]
    return as_page(url, found.title, found.text, answer.headers.get("last-modified", "")), ""


def as_page(url: str, title: str, text: str, updated: str = "") -> Page:
    """A page of a site, named by its address."""
    parts = urlsplit(url)
    path = printable(unquote(parts.path)).strip("/") or "index"
    if parts.query:
        path += f"?{parts.query}"
    return Page(
        path=path,
        title=title or path.rpartition("/")[2],
        text=text,
        section=" / ".join(path.split("/")[:-1]),
        version=pages_front.version_of({}, path + "/"),
        updated=updated,
        nature=pages_noise.nature(path),
        reason=pages_noise.why_not(path, title, text),
    )


def _below(path: str, base: str) -> bool:
    folder = base if base.endswith("/") else base.rpartition("/")[0] + "/"
    return path == base or path.startswith((folder, base.rstrip("/") + "/"))


def file_of(keep: Path, url: str) -> Path:
    """Where a page is kept."""
    return keep / "pages" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def read_kept(path: Path) -> Kept | None:
    """A kept page; None when there is none, or it is torn or of another form."""
    try:
        kept = Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if kept.form == FORM else None


def put(path: Path, record: Record) -> None:
    """Write a record, unless it is there already."""
    text = record.model_dump_json() + "\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeError):
        pass
    write(path, text)
