"""The addresses of a site's pages, from its sitemap: an index of sitemaps too, packed or not."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from opslore.errors import SourceError
from opslore.sources.pages_http import Getter
from opslore.sources.pages_robots import Robots

MAX_BYTES = 50 << 20
"""Largest sitemap, unpacked; the protocol's own limit."""
MAX_MAPS = 500
MAX_PAGES = 50_000


@dataclass
class Addresses:
    """What the sitemaps name."""

    pages: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    """Addresses on other hosts."""


def addresses(start: str, robots: Robots, getter: Getter) -> Addresses:
    """Every page that the sitemaps of a site name, each once, in their order.

    Args:
        start: the sitemap, or an address of the site.
        robots: what the site's robots.txt says, which may name sitemaps.
        getter: asks.

    Raises:
        SourceError: there is none, one cannot be read, or they are too large.
    """
    named = urlsplit(start).path.endswith((".xml", ".xml.gz"))
    waiting = [start] if named else robots.sitemaps or [urljoin(start, "/sitemap.xml")]
    seen: set[str] = set()
    found: dict[str, None] = {}
    while waiting:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.add(url)
        if len(seen) > MAX_MAPS:
            raise SourceError(f"{start}: more than {MAX_MAPS} sitemaps", hint="name one of them")
        maps, pages = read(url, _fetched(url, getter))
        # A sitemap names sitemaps of its own site only.
        waiting += [inner for inner in maps if same_site(inner, start)]
        found.update(dict.fromkeys(pages))
        if len(found) > MAX_PAGES:
            raise SourceError(
                f"{start}: more than {MAX_PAGES} pages", hint="name the sitemap of a part of it"
            )
    inside = [url for url in found if same_site(url, start)]
    return Addresses(inside, [url for url in found if not same_site(url, start)])


def same_site(url: str, other: str) -> bool:
    """Whether two addresses are on one host; `www.` makes no difference."""
    try:
        one, two = urlsplit(url), urlsplit(other)
        same = (one.port or 443) == (two.port or 443)
    except ValueError:
        return False
    names = [(parts.hostname or "").removeprefix("www.") for parts in (one, two)]
    return same and names[0] == names[1] and one.scheme == two.scheme


def _fetched(url: str, getter: Getter) -> bytes:
    answer = getter.get(url)
    if answer.status != 200:
        raise SourceError(
            f"{url}: the server answered {answer.status}",
            hint="give the address of the site's sitemap, or of its git repository",
        )
    return answer.body


def read(url: str, data: bytes) -> tuple[list[str], list[str]]:
    """The sitemaps and the pages that one sitemap names.

    Raises:
        SourceError: it is none, or not whole.
    """
    data = _unpacked(url, data)
    if b"<!DOCTYPE" in data[:4096].upper() or b"<!ENTITY" in data.upper():
        what = "an HTML page" if b"<html" in data[:4096].lower() else "a document type"
        raise SourceError(f"{url}: {what} where a sitemap was expected", hint="check the address")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SourceError(
            f"{url}: not a whole sitemap: {error}", hint="try again later", retryable=True
        ) from error
    kind = root.tag.rpartition("}")[2]
    found = [
        (node.text or "").strip()
        for entry in root
        for node in entry
        if node.tag.rpartition("}")[2] == "loc"
    ]
    found = [urljoin(url, where).partition("#")[0] for where in found if where]
    if kind == "sitemapindex":
        return found, []
    if kind == "urlset":
        return [], found
    raise SourceError(f"{url}: <{kind[:40]}> is no sitemap", hint="check the address")


def _unpacked(url: str, data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        opened = zlib.decompressobj(wbits=31)
        out = opened.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise SourceError(f"{url}: {error}", hint="try again later", retryable=True) from error
    if len(out) > MAX_BYTES:
        raise SourceError(f"{url}: more than {MAX_BYTES >> 20} MiB unpacked", hint="name a part")
    if not opened.eof:
        raise SourceError(f"{url}: it breaks off", hint="try again later", retryable=True)
    return out
