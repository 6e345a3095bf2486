"""Documentation: Markdown, MDX and reStructuredText of a folder or a repository, or a website."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urlsplit

from opslore.cards import Dropped
from opslore.config_sources import DocsSource
from opslore.errors import DataError
from opslore.sources import Ground, Stream
from opslore.sources.pages_parse import About
from opslore.sources.read import printable

_CODE_HOST = re.compile(r"https://(?:github\.com|gitlab\.com)/[^/]+/[^/]+/?")


def collect(source: DocsSource, ground: Ground) -> Stream:
    """Read every page.

    Args:
        source: where the documentation is, and what it is about.
        ground: where relative paths start, and where fetched pages are kept.

    Raises:
        SourceError: nothing there, or it cannot be read now; what was fetched is kept.
        DataError: no page in it.
    """
    about = About(
        prefix=f"docs:{place(source.path)}",
        road="folder",
        product=source.product,
        version=source.version,
        trust=source.trust,
    )
    if "://" not in source.path:
        from opslore.sources.pages_folder import read_folder

        found = read_folder(source.path, source.include, source.exclude, about, ground)
    elif is_repository(source.path):
        from opslore.sources.pages_repository import read_repository

        url = source.path if source.path.endswith(".git") else source.path.rstrip("/")
        found = read_repository(
            url, source.ref, source.include, source.exclude,
            about.model_copy(update={"road": "git"}), ground,
        )  # fmt: skip
    else:
        from opslore.sources.pages_site import read_site

        found = read_site(
            source.path, source.include, source.exclude,
            about.model_copy(update={"road": "sitemap"}), ground,
        )  # fmt: skip
    if not found.files:
        raise nothing(source.path, found)
    return found


def nothing(path: str, found: Stream) -> DataError:
    """The error for a source without a page, with the reasons that came up most."""
    reasons = Counter(row.reason for row in found if isinstance(row, Dropped))
    passed = "".join(f"; {count} x {reason}" for reason, count in reasons.most_common(3))
    return DataError(
        f"{printable(path)}: no page in it{passed}",
        hint="give a folder or repository with .md, .mdx or .rst files, or the address of a site "
        "that has a sitemap.xml",
    )


def is_repository(path: str) -> bool:
    """Whether an address is a git repository and not a website."""
    bare = urlsplit(path).path
    return bare.endswith(".git") or path.startswith("file://") or bool(_CODE_HOST.fullmatch(path))


def place(path: str) -> str:
    """A source's name inside ids: an address without its scheme, a folder without `./`."""
    if "://" in path:
        parts = urlsplit(path)
        where = f"{parts.hostname or ''}{parts.path}".strip("/")
        where = where if parts.scheme != "file" else where.rpartition("/")[2]
        return re.sub(r"(?:\.git|/?sitemap[\w-]*\.xml(?:\.gz)?)$", "", where)
    relative = not path.startswith(("/", "~", ".."))
    bare = path.removeprefix("./").strip("/")
    return bare if relative else bare.rpartition("/")[2]
