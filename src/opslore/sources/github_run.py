"""One run over all repositories: what is read beside what, how far it is, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

from opslore import progress
from opslore.sources import github_listing, github_missing, github_reviews
from opslore.sources.github_client import Client
from opslore.sources.github_crew import Job, beside
from opslore.sources.github_limits import Patience
from opslore.sources.github_listing import LISTINGS
from opslore.sources.github_store import Kept

SWEEP = 30
"""Days after which everything is read again, to see what was deleted long after its last change."""


class Run:
    """One run of a source."""

    def __init__(self, url: str, token: str, allow: Sequence[str]) -> None:
        """Prepare it; nothing is sent yet.

        Raises:
            ConfigError: the address or the token cannot be used.
        """
        self._pages: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._patience = Patience(lambda note: self._report(note))
        self.client = Client(url, token, self._patience, allow)

    def fetch(self, repositories: Mapping[str, Kept], since: str, pulls: bool) -> None:
        """Bring what is kept of the repositories up to date.

        Args:
            repositories: `owner/name` -> its file.
            since: moment before which nothing is asked for; empty for no such moment.
            pulls: whether pull requests are read, too.

        Raises:
            SourceError: something cannot be read, or not now (retryable).
        """
        names = [name for name in LISTINGS if pulls or name != "review_comments"]
        for repository, kept in repositories.items():
            self._begin(repository, kept, since, names)
        try:
            beside(
                [
                    self._listing(repository, kept, since, name)
                    for repository, kept in repositories.items()
                    for name in names
                ],
                self._patience.stop,
            )
            beside(
                [
                    self._rest(repository, kept, since, pulls)
                    for repository, kept in repositories.items()
                ],
                self._patience.stop,
            )
        finally:
            self.client.close()

    def _base(self, repository: str) -> str:
        return f"{self.client.url}/repos/{repository}"

    def _begin(self, repository: str, kept: Kept, since: str, names: Sequence[str]) -> None:
        """See where each listing starts, and whether it is time to read everything again."""
        places = {name: kept.place(name) for name in names}
        today = date.fromtimestamp(time.time())
        whole = kept.note("whole")
        done = all(place is not None and place.done for place in places.values())
        # The clock may have been wrong then or be wrong now: both ways count.
        old = whole and abs(today - date.fromisoformat(whole)) > timedelta(days=SWEEP)
        if not whole or (done and old) or since < kept.note("since"):
            base = self._base(repository)
            kept.begin(
                {name: LISTINGS[name].start(base, since) for name in names},
                {"whole": today.isoformat(), "since": since},
            )

    def _listing(self, repository: str, kept: Kept, since: str, name: str) -> Job:
        def job() -> None:
            github_listing.follow(
                self.client,
                kept,
                LISTINGS[name],
                self._base(repository),
                since,
                self._told(f"{repository} {name}"),
            )

        return job

    def _rest(self, repository: str, kept: Kept, since: str, pulls: bool) -> Job:
        """What the listings do not tell."""

        def whole() -> None:
            kept.begin({"comments": LISTINGS["comments"].start(self._base(repository), "")}, {})
            self._listing(repository, kept, "", "comments")()

        def job() -> None:
            base, told = self._base(repository), self._told
            again = None if since else whole
            github_missing.mend(self.client, kept, base, again, told(f"{repository} missing"))
            if pulls:
                github_reviews.follow(
                    self.client, kept, base, repository, told(f"{repository} reviews")
                )

        return job

    def _told(self, what: str) -> Callable[[int, int], None]:
        def told(done: int, more: int) -> None:
            with self._lock:
                self._pages[what] = (done, more)
            self._report(f"pages, now {what}")

        return told

    def _report(self, note: str) -> None:
        with self._lock:
            done = sum(read for read, _ in self._pages.values())
            total = done + sum(more for _, more in self._pages.values())
            progress.report("collect", done, total, note)
