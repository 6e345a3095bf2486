"""Comments that were deleted, and comments that are missing.

GitHub lists nothing that was deleted. A thread says how many comments it has; where another number
is kept, its comments are read again, by themselves: one request a thread. When more threads are
wrong than the whole listing has pages, the whole listing is read again instead.
"""

from __future__ import annotations

from collections.abc import Callable

from opslore.sources import github_records
from opslore.sources.github_client import Client
from opslore.sources.github_listing import LISTINGS, PAGE, records
from opslore.sources.github_store import Kept

FEW = 10
"""Threads that are always read by themselves."""


def mend(
    client: Client,
    kept: Kept,
    base: str,
    whole: Callable[[], None] | None,
    told: Callable[[int, int], None],
) -> None:
    """Read the comments again of threads that say another number than is kept.

    Args:
        client: the connection.
        kept: the repository's file.
        base: address of the repository.
        whole: reads the whole listing again; None when older comments were never asked for.
        told: is given the threads read and those to come.

    Raises:
        SourceError: it cannot be read, or not now (retryable).
    """
    most = FEW + kept.number_of("comments") // PAGE
    total, wrong = kept.miscounted(most + 1)
    if total > most and whole is not None:
        whole()
        # What is still wrong is mended thread by thread: this many now, the others next time.
        total, wrong = kept.miscounted(most)
    elif total > most:
        total, wrong = kept.miscounted(total)
    comment = LISTINGS["comments"].record
    for done, (number, counted) in enumerate(wrong, 1):
        url = f"{base}/issues/{number}/comments?per_page={PAGE}"
        posts: list[github_records.Post] = []
        while url:
            page = client.page(url)
            posts += records(comment, page, url)
            url = page.next
        kept.renew("comment", [(number, posts, {"counted": counted})])
        told(done, len(wrong) - done)
