"""Reviews of pull requests, which have no repository-wide listing.

With a token they come by GraphQL, a hundred pull requests in one request, together with what a
merge closed; only pull requests that changed since are asked for. REST would need one request each.
Without a token, or on a server without GraphQL, REST is asked about those pull requests only that
have comments of a review; reviews that consist of one text alone are then not known.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opslore.errors import SourceError
from opslore.sources import github_records
from opslore.sources.github_client import Client
from opslore.sources.github_listing import PAGE, records
from opslore.sources.github_records import NoItem, Post
from opslore.sources.github_refusals import Broken
from opslore.sources.github_store import Kept, Renewed

BATCH = 100
"""Pull requests of one GraphQL query; GitHub takes up to 100 ids."""
LEAST = 10
"""A query that takes the server too long is halved, but not below this."""
REVIEWS = 50
"""Reviews of one pull request in the query; those that have more are read by REST."""

QUERY = """
query($ids: [ID!]!, $reviews: Int!) {
  nodes(ids: $ids) {
    ... on PullRequest {
      number
      mergeCommit { url }
      closingIssuesReferences(first: 10) { nodes { number repository { nameWithOwner } } }
      reviews(first: $reviews) {
        pageInfo { hasNextPage }
        nodes {
          databaseId body submittedAt url authorAssociation
          author { login __typename }
          reactionGroups { content reactors { totalCount } }
        }
      }
    }
  }
}
"""


def follow(
    client: Client, kept: Kept, base: str, repository: str, told: Callable[[int, int], None]
) -> None:
    """Read the reviews of every pull request that changed since they were read.

    Args:
        client: the connection.
        kept: the repository's file.
        base: address of the repository.
        repository: `owner/name`.
        told: is given the requests made and those to come.

    Raises:
        SourceError: it cannot be read, or not now (retryable); what was read before is kept.
    """
    size, done = BATCH, 0
    graph = bool(client.token)
    while waiting := kept.unreviewed(size if graph else PAGE):
        if graph:
            try:
                found = client.query(
                    QUERY, {"ids": [node for _, node, _, _ in waiting], "reviews": REVIEWS}
                )
            except Broken as error:
                if error.status < 500 or size <= LEAST:
                    raise
                size = max(LEAST, size // 2)
                continue
            graph = bool(found)
            if graph:
                _keep(client, kept, base, repository, waiting, found)
        else:
            _one_by_one(client, kept, base, waiting)
        done += 1
        told(done, -(-kept.number_of("unreviewed") // size))


def _one_by_one(client: Client, kept: Kept, base: str, waiting: list[tuple[Any, ...]]) -> None:
    """Ask REST about those that have comments of a review."""
    silent = [row for row in waiting if not row[3]]
    if silent:
        kept.renew("review", [(number, [], {"reviewed": at}) for number, _, at, _ in silent])
    for number, _, updated, commented in waiting:
        if commented:
            posts = _by_rest(client, base, number)
            kept.renew("review", [(number, posts, {"reviewed": updated})])


def _keep(
    client: Client,
    kept: Kept,
    base: str,
    repository: str,
    waiting: list[tuple[Any, ...]],
    found: dict[str, Any],
) -> None:
    """Keep an answer: all its pull requests, or none."""
    renewed: list[Renewed] = []
    nodes = {
        node["number"]: node
        for node in found.get("nodes") or []
        if isinstance(node, dict) and isinstance(node.get("number"), int)
    }
    for number, _, updated, _ in waiting:
        # A pull request that is gone since has no node; the listing will tell.
        node = nodes.get(number, {})
        reviews = node.get("reviews") or {}
        if (reviews.get("pageInfo") or {}).get("hasNextPage"):
            posts = _by_rest(client, base, number)
        else:
            posts = _posts(client.graphql, number, reviews.get("nodes") or [])
        facts = _facts(node, repository)
        renewed.append((number, posts, {"reviewed": updated, "facts": facts}))
    kept.renew("review", renewed)


def _posts(where: str, number: int, nodes: list[Any]) -> list[Post]:
    try:
        found = [github_records.review_node(each, number) for each in nodes if each]
    except NoItem as error:
        raise SourceError(
            f"{where}: a review of pull request {number} is none: {error}",
            hint="run the same command again; if it stays, check the url of this source",
            retryable=True,
        ) from error
    return [post for post in found if post]


def _facts(node: dict[str, Any], repository: str) -> str:
    """Merge commit, and the issues of this repository that it closes."""
    closed = (node.get("closingIssuesReferences") or {}).get("nodes") or []
    same = [
        each["number"]
        for each in closed
        if each["repository"]["nameWithOwner"].lower() == repository.lower()
    ]
    commit = (node.get("mergeCommit") or {}).get("url") or ""
    facts = {"closes": sorted(same), **({"commit": commit} if commit else {})}
    return json.dumps(facts, sort_keys=True) if node else "{}"


def _by_rest(client: Client, base: str, number: int) -> list[Post]:
    """All reviews of one pull request."""
    url = f"{base}/pulls/{number}/reviews?per_page={PAGE}"
    posts: list[Post] = []
    while url:
        page = client.page(url)
        found = records(lambda item: github_records.review(item, number), page, url)
        posts += [post for post in found if post]
        url = page.next
    return posts
