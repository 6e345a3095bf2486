"""Reading issues from a GitHub that we did not write: npm `emulate`.

It takes the address of a repository's comments for an issue called "comments" and says 404, so the
comments come thread by thread here, as they do when a count is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from real.emulate import REPOSITORY, GitHub

from opslore.cards import Document
from opslore.config_sources import IssuesSource
from opslore.sources import Ground, issues
from opslore.sources.github_client import Client
from opslore.sources.github_limits import Patience
from opslore.sources.github_listing import LISTINGS, follow
from opslore.sources.github_missing import mend
from opslore.sources.github_store import Kept

pytest_plugins = ["real.fixtures"]


class Person:
    """Somebody with a token who writes."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=f"{url}/repos/{REPOSITORY}", headers=headers)

    def does(self, method: str, path: str, **fields: Any) -> Any:
        answer = self.http.request(method, path, json=fields or None)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None


def read(github: GitHub, keep: Path) -> dict[str, Document]:
    """Bring what is kept up to date; the documents by title."""
    source = IssuesSource(repositories=[REPOSITORY], url=github.url, pulls=False)
    ground = Ground(keep, keep, offline=True)
    kept = Kept(issues._path(source, ground, REPOSITORY))
    client = Client(github.url, github.owner_token, Patience(lambda note: None))
    base = f"{github.url}/repos/{REPOSITORY}"
    follow(client, kept, LISTINGS["issues"], base, "", lambda done, more: None)
    mend(client, kept, base, None, lambda done, more: None)
    client.close()
    kept.close()
    rows = issues.collect(source, ground).rows()
    return {row.title: row for row in rows if isinstance(row, Document)}


def test_issues_comments_and_what_changes(github_server: GitHub, tmp_path: Path) -> None:
    owner = Person(github_server.url, github_server.owner_token)
    assert read(github_server, tmp_path) == {}
    said = {}
    for n in range(1, 131):
        number = owner.does("POST", "/issues", title=f"Issue {n}", body=f"Body {n}")["number"]
        for k in range(n % 3):
            path = f"/issues/{number}/comments"
            said[n, k] = owner.does("POST", path, body=f"Comment {k} on {n}")["id"]
    rows = read(github_server, tmp_path)
    assert list(rows) == [f"Issue {n}" for n in range(1, 131)]
    for n in range(1, 131):
        turns = rows[f"Issue {n}"].turns
        assert [turn.text for turn in turns] == [
            f"Body {n}",
            *(f"Comment {k} on {n}" for k in range(n % 3)),
        ]
        assert {(t.author, t.association, t.trust) for t in turns} == {("octo", "OWNER", "T2")}
    owner.does("POST", "/labels", name="bug", color="ff0000")
    owner.does("PATCH", "/issues/7", state="closed", state_reason="not_planned", labels=["bug"])
    owner.does("DELETE", f"/issues/comments/{said[11, 0]}")
    owner.does("PATCH", "/issues/11", title="Issue 11 again")
    after = read(github_server, tmp_path)
    assert (after["Issue 7"].state, after["Issue 7"].tags) == ("not_planned", ["bug"])
    assert [t.text for t in after["Issue 11 again"].turns] == ["Body 11", "Comment 1 on 11"]
    assert len(after) == 130
    assert read(github_server, tmp_path) == after
