"""Wikis: DeepWiki's pages of a repository, or a wiki's own repository or folder."""

from __future__ import annotations

from opslore.cards import Dropped
from opslore.config_sources import WikiSource
from opslore.errors import ConfigError, DataError
from opslore.files import alone
from opslore.sources import Ground, Stream
from opslore.sources.docs import is_repository, place
from opslore.sources.pages_parse import SUFFIXES, About
from opslore.sources.pages_site import Kept, Listing, file_of, forget, listed, put, rows

WIKI_SUFFIXES = (*SUFFIXES, ".mediawiki", ".wiki")


def collect(source: WikiSource, ground: Ground) -> Stream:
    """Read every page; each document's `road` label says how it came.

    Args:
        source: whose wiki, and where.
        ground: where relative paths start, and where fetched pages are kept.

    Raises:
        ConfigError: neither `repository` nor `path`.
        SourceError: nothing there, or no road to it is open; what was kept stays.
        MissingExtra: the pages need a browser, or a package, that is not installed.
        DataError: no page in it.
    """
    if bool(source.repository) == bool(source.path):
        raise ConfigError(
            "collect: a wiki has either `repository: owner/name` (DeepWiki) or `path:`",
            hint="give one of them",
        )
    about = About(
        prefix=f"wiki:{source.repository or place(source.path)}",
        road="folder",
        product=source.product,
        version=source.version,
        trust=source.trust,
    )
    found = _kept(source, about, ground) if source.path else _deepwiki(source, about, ground)
    if not found.files:
        raise DataError(
            f"{source.repository or source.path}: no page in it",
            hint="check the name; see https://deepwiki.com for the wikis there are",
        )
    return found


def _kept(source: WikiSource, about: About, ground: Ground) -> Stream:
    """A wiki whose files somebody keeps: a repository or a folder."""
    if "://" in source.path and is_repository(source.path):
        from opslore.sources.pages_repository import read_repository

        about = about.model_copy(update={"road": "git"})
        return read_repository(source.path, "", [], [], about, ground, WIKI_SUFFIXES)
    if "://" in source.path:
        raise ConfigError(
            f"collect.path {source.path}: not a git address",
            hint="a wiki's repository ends in .wiki.git; a website is a source of kind docs",
        )
    from opslore.sources.pages_folder import read_folder

    return read_folder(source.path, [], [], about, ground, WIKI_SUFFIXES)


def _deepwiki(source: WikiSource, about: About, ground: Ground) -> Stream:
    listing = ground.keep / "site.json"
    if not ground.offline:
        from opslore.sources import pages_deepwiki

        with alone(ground.keep.with_name(ground.keep.name + ".lock")):
            wiki = pages_deepwiki.read(source.repository, source.url, source.pages, ground)
            urls = [url for url, _ in wiki.pages]
            for url, page in wiki.pages:
                put(file_of(ground.keep, url), Kept(url=url, page=page))
            passed = [
                Dropped(what=said, reason="the MCP endpoint did not answer, the website was read")
                for said in wiki.passed
            ]
            put(listing, Listing(pages=urls, dropped=passed, road=wiki.road))
            forget(ground.keep, urls)
    site = listed(listing, source.repository)
    name = source.repository.rpartition("/")[2]
    product = about.product or name[:1].upper() + name[1:]
    about = about.model_copy(update={"product": product, "road": site.road})
    return Stream(lambda: rows(site, ground.keep, about), files=len(site.pages))
