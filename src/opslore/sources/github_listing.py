"""Reading a repository-wide listing to its end, from where the last run stopped.

A listing is read in the order of `updated_at`, and each page starts where the one before it ended:
`since` is its last moment less `OVERLAP`. Whether there is another page is told by the Link header.
Following its `rel=next` from the first page to the last would miss items: when something is edited
meanwhile it moves to the end, everything behind it moves up by one, and the first item of the next
page is never seen. The link itself is followed where a page is full of the items of one second, and
all the way on a server that does not know `since`.

The address of the last page is kept with its ETag. The next run asks for it again: 304, or the
items that came since.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from opslore.errors import SourceError
from opslore.sources import github_records
from opslore.sources.github_client import Client, Page
from opslore.sources.github_records import NoItem, shifted
from opslore.sources.github_store import Gone, Item, Kept, Place

OVERLAP = 1
"""Seconds: items of the second in which a page ends are read again with the next one."""

PAGE = 100
"""Items of a page; GitHub gives no more."""


@dataclass(frozen=True)
class Listing:
    """One of the listings that a repository has as a whole."""

    name: str
    path: str
    more: Mapping[str, str]
    record: Callable[[Mapping[str, Any]], Item]

    def start(self, base: str, since: str) -> Place:
        """The page that begins at a moment; empty for the very first.

        Args:
            base: `https://api.github.com/repos/OWNER/NAME`.
            since: as `2026-11-22T11:20:06Z`.
        """
        given = {**self.more, "sort": "updated", "direction": "asc", "per_page": str(PAGE)}
        if since:
            given["since"] = since
        return Place(f"{base}{self.path}?{urlencode(given, safe=':')}", since)


LISTINGS = {
    listing.name: listing
    for listing in (
        Listing("issues", "/issues", {"state": "all"}, github_records.thread),
        Listing("comments", "/issues/comments", {}, github_records.comment),
        Listing("review_comments", "/pulls/comments", {}, github_records.review_comment),
    )
}


def follow(
    client: Client,
    kept: Kept,
    listing: Listing,
    base: str,
    since: str,
    told: Callable[[int, int], None],
) -> None:
    """Read a listing to its end; each page is kept before the next one is asked for.

    Args:
        client: the connection.
        kept: the repository's file.
        listing: which.
        base: address of the repository.
        since: where to start when nothing is kept.
        told: is given the pages read and the pages to come, as far as that is known.

    Raises:
        SourceError: a page cannot be read, or not now (retryable); the pages before it are kept.
    """
    place = kept.place(listing.name) or listing.start(base, since)
    pages = 0
    while True:
        page = client.page(place.url, place.etag if place.done else "")
        pages += 1
        told(pages, page.more)
        if page.unchanged:
            return
        items = records(listing.record, page, place.url)
        then = _then(listing, base, place, page, items)
        kept.keep(listing.name, items, then, _gone(place, page, items))
        if then.done:
            return
        place = then


def records(record: Callable[[Mapping[str, Any]], Any], page: Page, url: str) -> list[Any]:
    """The items of a page as they are kept; one that is none spoils the page.

    Raises:
        SourceError: an item lacks what every item has.
    """
    try:
        return [record(item) for item in page.items]
    except NoItem as error:
        raise SourceError(
            f"{url}: an item of this page is none of GitHub's: {error}",
            hint="run the same command again; if it stays, check the url of this source",
            retryable=True,
        ) from error


def _then(listing: Listing, base: str, place: Place, page: Page, items: list[Item]) -> Place:
    """What to ask for after a page."""
    if not page.next:
        return replace(place, etag=page.etag, done=True)
    sorted_ = all(a.updated <= b.updated for a, b in itertools.pairwise(items))
    if place.by == "plain" or not items or not sorted_ or items[0].updated < place.since:
        return Place(page.next, place.since, "plain")
    anchor = shifted(items[-1].updated, -OVERLAP)
    if anchor > place.since:
        return listing.start(base, anchor)
    return Place(page.next, place.since, "link")


def _gone(place: Place, page: Page, items: list[Item]) -> Gone | None:
    """Between which moments a page says all there is.

    An item that is kept with a moment in between and is not on the page was deleted, moved to
    another repository, or changed since, and then it comes on a later page.
    """
    if place.by == "plain" or (place.by == "link" and not items):
        return None
    first = place.since if place.by == "since" else items[0].updated
    if not page.next:
        return Gone(first, "")
    if not items or items[-1].updated <= first:
        return None
    return Gone(first, items[-1].updated)
