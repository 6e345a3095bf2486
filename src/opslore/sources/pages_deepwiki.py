"""DeepWiki's pages about a repository: by its MCP endpoint first, by its website second.

The endpoint gives a table of contents and all pages as one text; what the table names and the text
lacks was cut off, and then nothing is kept of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from opslore.errors import MissingExtra, SourceError
from opslore.sources import Ground, pages_html, pages_markdown, pages_noise
from opslore.sources.pages_browser import Browser
from opslore.sources.pages_fences import Fences
from opslore.sources.pages_http import Getter
from opslore.sources.pages_includes import Includes
from opslore.sources.pages_mcp import ask
from opslore.sources.pages_parse import Page
from opslore.sources.pages_site import site_robots

MAX_PAGES = 500

_LISTED = re.compile(r"\s*[-*]\s+(?:(?P<number>\d+(?:\.\d+)*)\.?\s+)?(?P<title>.+?)\s*$")
_PAGE = re.compile(r"# Page:\s*(?P<title>.+?)\s*$")
_FILES = re.compile(
    r"<details>\s*<summary>\s*Relevant source files\s*</summary>.*?</details>", re.DOTALL
)
_SOURCES = re.compile(r"\**Sources?\**:\**\s.*\[.*\]\(.*\)\W*$")
_NO_TARGET = re.compile(r"\[([^\]\n]*)\]\(\s*\)")
_HREF = re.compile(r"href=[\"']([^\"'#?]+)")


@dataclass(frozen=True)
class Wiki:
    """What was read."""

    road: str
    """mcp, html or browser."""
    pages: list[tuple[str, Page]]
    """Address and page."""
    passed: list[str]
    """Roads that were tried before, each with what went wrong."""


def read(repository: str, endpoint: str, site: str, ground: Ground) -> Wiki:
    """Read every page, by the first road that is open.

    Args:
        repository: `owner/name`.
        endpoint: address of the MCP endpoint.
        site: address of the website.
        ground: which private addresses are allowed.

    Raises:
        SourceError: no road is open; the message has what each one said.
        MissingExtra: the pages need a browser and there is none.
    """
    try:
        return Wiki("mcp", _by_mcp(repository, endpoint, site, ground), [])
    except (SourceError, MissingExtra) as error:
        first = error
    try:
        road, pages = _by_site(repository, site, ground)
    except SourceError as error:
        raise SourceError(
            f"{first.message}; and its website: {error.message}",
            hint="run again later; what was kept before stays",
            retryable=first.retryable or error.retryable,
        ) from error
    except MissingExtra as error:
        message = f"{first.message}; and its website: {error.message}"
        raise MissingExtra(message, error.hint) from error
    return Wiki(road, pages, [first.message])


def _by_mcp(repository: str, url: str, site: str, ground: Ground) -> list[tuple[str, Page]]:
    arguments = {"repoName": repository}
    structure, contents = ask(
        url,
        [("read_wiki_structure", arguments), ("read_wiki_contents", arguments)],
        ground.allow,
    )
    listed = titles(structure)
    found = dict(parts(contents, {title for _, title in listed}))
    if not listed or not found:
        said = " ".join((contents if listed else structure).split())[:200]
        raise SourceError(
            f"{url}: no wiki of {repository}: {said}", hint=f"see {site}/{repository}"
        )
    missing = [title for _, title in listed if title not in found]
    if missing:
        raise SourceError(
            f"{url}: {len(missing)} of {len(listed)} pages are missing, {missing[0]!r} first",
            hint="try again later; nothing of this answer was kept",
            retryable=True,
        )
    numbers = {title: number for number, title in listed}
    return [
        (_address(site, repository, numbers.get(title, ""), title), page(title, text))
        for title, text in found.items()
    ]


def titles(structure: str) -> list[tuple[str, str]]:
    """Number and title of every page that the table of contents names."""
    rows = (_LISTED.match(line) for line in structure.split("\n"))
    return [(row["number"] or "", row["title"]) for row in rows if row]


def parts(contents: str, known: set[str]) -> list[tuple[str, str]]:
    """Title and text of each page in the one text.

    A `# Page:` line in a block of code counts only when the table of contents has that title: a
    page may show such a line, and may forget to close its code.
    """
    found: list[tuple[str, list[str]]] = []
    fences = Fences()
    for line in contents.replace("\r\n", "\n").split("\n"):
        inside = fences.inside(line)
        begins = _PAGE.match(line)
        if begins and (begins["title"] in known or not (inside or known)):
            found.append((begins["title"], []))
            fences = Fences()
        elif found:
            found[-1][1].append(line)
    return [(title, "\n".join(rows)) for title, rows in found]


def page(title: str, text: str) -> Page:
    """A page's text without the lists of source files that DeepWiki puts around it."""
    path = slug(title)
    fences = Fences()
    rows = _FILES.sub("", text).split("\n")
    rows = [row for row in rows if fences.inside(row) or not _SOURCES.match(row)]
    words = pages_markdown.clean("\n".join(rows), Includes(lambda _: None, path))
    words = _NO_TARGET.sub(r"\1", words)
    return Page(path=path, title=title, text=words, reason=pages_noise.why_not(path, title, words))


def slug(title: str) -> str:
    """A title as addresses have it."""
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-") or "page"


def _address(site: str, repository: str, number: str, title: str) -> str:
    name = f"{number}-{slug(title)}" if number else slug(title)
    return f"{site.rstrip('/')}/{repository}/{name}"


def _by_site(repository: str, site: str, ground: Ground) -> tuple[str, list[tuple[str, Page]]]:
    """The road that was taken, and the pages of the website."""
    start = f"{site.rstrip('/')}/{repository}"
    with Getter(ground.allow) as getter, Browser(getter) as browser:
        visitor = _Visitor(getter, browser)
        robots = site_robots(start, getter)
        waiting, seen = [start], {start}
        pages: dict[str, tuple[str, Page]] = {}
        while waiting:
            url = waiting.pop(0)
            if not robots.allows(urlsplit(url).path):
                raise SourceError(f"{url}: robots.txt asks not to read it", hint="use the endpoint")
            html, found = visitor.visit(url)
            words = re.sub(r"^\d+(?:\.\d+)*-", "", urlsplit(url).path.rpartition("/")[2])
            title = found.title or words.replace("-", " ").capitalize()
            name = slug(title) if url == start else slug(words)
            pages.setdefault(name, (url, page(title, found.text).model_copy(update={"path": name})))
            for link in _links(html, url, start):
                if link not in seen and len(seen) < MAX_PAGES:
                    seen.add(link)
                    waiting.append(link)
    return ("browser" if visitor.used_browser else "html"), list(pages.values())


@dataclass
class _Visitor:
    getter: Getter
    browser: Browser
    used_browser: bool = False

    def visit(self, url: str) -> tuple[str, pages_html.Extract]:
        """A page's HTML and what it says, in a browser when scripts make it."""
        answer = self.getter.get(url)
        if answer.status != 200:
            raise SourceError(f"{url}: the server answered {answer.status}", hint="check the name")
        html = answer.body.decode("utf-8", "replace")
        found = pages_html.extract(answer.body, answer.url)
        if found.kind in ("scripts", "empty"):
            html = self.browser.html(url)
            self.used_browser = True
            found = pages_html.extract(html, url)
        if found.kind == "login":
            raise SourceError(f"{url}: a login page", hint="check the address")
        if found.kind != "page" and not found.text.strip():
            raise SourceError(f"{url}: no text in it", hint="try again later", retryable=True)
        return html, found


def _links(html: str, url: str, start: str) -> list[str]:
    """Addresses of the wiki's other pages, in their order."""
    found = (urljoin(url, link).rstrip("/") for link in _HREF.findall(html))
    return list(dict.fromkeys(link for link in found if link.startswith(start + "/")))
