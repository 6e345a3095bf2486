"""A repository of GitHub in memory, in the shapes of its REST API: made, edited, deleted from."""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def moment(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def user(login: str, kind: str = "User") -> dict[str, Any] | None:
    if not login:
        return None
    home = f"https://api.github.com/users/{login}"
    return {
        "login": login,
        "id": sum(login.encode()),
        "node_id": "MDQ6VXNlcjE=",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{login}?v=4",
        "url": home,
        "html_url": f"https://github.com/{login}",
        "followers_url": f"{home}/followers",
        "events_url": f"{home}/events{{/privacy}}",
        "type": kind,
        "site_admin": False,
    }


def reactions(**counts: int) -> dict[str, Any]:
    names = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
    return {"url": "", "total_count": sum(counts.values()), **{n: counts.get(n, 0) for n in names}}


@dataclass
class Shelf:
    """The items of one listing, with what is sent of them, in the order of their update."""

    items: dict[int, dict[str, Any]] = field(default_factory=dict)
    order: list[tuple[str, int]] = field(default_factory=list)
    sent: dict[int, bytes] = field(default_factory=dict)

    def put(self, key: int, item: dict[str, Any]) -> None:
        self.remove(key)
        self.items[key] = item
        bisect.insort(self.order, (item["updated_at"], key))

    def remove(self, key: int) -> dict[str, Any] | None:
        old = self.items.pop(key, None)
        self.sent.pop(key, None)
        if old is not None:
            del self.order[bisect.bisect_left(self.order, (old["updated_at"], key))]
        return old

    def wire(self, key: int) -> bytes:
        if key not in self.sent:
            self.sent[key] = json.dumps(self.items[key]).encode()
        return self.sent[key]

    def since(self, moment: str) -> list[int]:
        start = bisect.bisect_left(self.order, (moment, 0)) if moment else 0
        return [key for _, key in self.order[start:]]


class Repository:
    """Issues, pull requests and what was said in them; every change gets a moment of its own."""

    def __init__(self, name: str, clock: float = 0.0) -> None:
        self.name = name
        self.issues, self.comments, self.review_comments = Shelf(), Shelf(), Shelf()
        self.reviews: dict[int, list[dict[str, Any]]] = {}
        self.closes: dict[int, list[int]] = {}
        self.clock = clock
        self.lock = threading.RLock()
        self._ids = 1000

    @property
    def home(self) -> str:
        return f"https://github.com/{self.name}"

    @property
    def api(self) -> str:
        return f"https://api.github.com/repos/{self.name}"

    def now(self, step: float = 60.0) -> str:
        self.clock += step
        return moment(self.clock)

    def thread(self, title: str, body: str, author: str = "ann", **more: Any) -> int:
        """A new issue, or a pull request when `pull` is true; other fields as the API has them."""
        with self.lock:
            number = more.pop("number", 0) or max(self.issues.items, default=0) + 1
            pull, merged = more.pop("pull", False), more.pop("merged_at", None)
            at = more.pop("created_at", None) or self.now()
            kind = "pull" if pull else "issues"
            item = {
                "url": f"{self.api}/issues/{number}",
                "repository_url": self.api,
                "html_url": f"{self.home}/{kind}/{number}",
                "id": 10_000_000 + number,
                "node_id": f"PR_{self.name}_{number}" if pull else f"I_{number}",
                "number": number,
                "title": title,
                "user": user(author, more.pop("kind", "User")),
                "labels": [],
                "state": "open",
                "state_reason": None,
                "locked": False,
                "assignees": [],
                "comments": 0,
                "created_at": at,
                "updated_at": at,
                "closed_at": None,
                "closed_by": None,
                "author_association": "NONE",
                "body": body,
                "reactions": reactions(),
                "timeline_url": f"{self.api}/issues/{number}/timeline",
                **more,
            }
            if pull:
                item["pull_request"] = {"url": f"{self.api}/pulls/{number}", "merged_at": merged}
            self.issues.put(number, item)
            return int(number)

    def comment(self, number: int, body: str, author: str = "bob", **more: Any) -> int:
        with self.lock:
            key = self._said(self.comments, number, "issue_url", "issues", body, author, more)
            self._touch(number, +1)
            return key

    def review_comment(self, number: int, body: str, author: str = "bob", **more: Any) -> int:
        with self.lock:
            shelf = self.review_comments
            key = self._said(shelf, number, "pull_request_url", "pulls", body, author, more)
            self._touch(number)
            return key

    def review(self, number: int, body: str, author: str = "bob", **more: Any) -> int:
        with self.lock:
            self._ids += 1
            self.reviews.setdefault(number, []).append(
                {
                    "id": self._ids,
                    "user": user(author),
                    "body": body,
                    "state": "COMMENTED",
                    "html_url": f"{self.home}/pull/{number}#pullrequestreview-{self._ids}",
                    "author_association": "NONE",
                    "submitted_at": self.now(),
                    **more,
                }
            )
            self._touch(number)
            return self._ids

    def edit(self, number: int, **fields: Any) -> None:
        with self.lock:
            item = {**self.issues.items[number], "updated_at": self.now(), **fields}
            self.issues.put(number, item)

    def edit_comment(self, key: int, body: str) -> None:
        with self.lock:
            item = self.comments.items[key]
            self.comments.put(key, {**item, "body": body, "updated_at": self.now()})

    def delete_comment(self, key: int) -> None:
        """The count goes down; that GitHub also touches the thread is not documented."""
        with self.lock:
            item = self.comments.remove(key)
            assert item is not None
            number = int(item["issue_url"].rpartition("/")[2])
            thread = self.issues.items[number]
            self.issues.put(number, {**thread, "comments": thread["comments"] - 1})

    def delete(self, number: int) -> None:
        """An issue that is deleted, or transferred to another repository, takes all along."""
        with self.lock:
            self.issues.remove(number)
            for shelf, url in (
                (self.comments, "issue_url"),
                (self.review_comments, "pull_request_url"),
            ):
                for key, item in list(shelf.items.items()):
                    if item[url].endswith(f"/{number}"):
                        shelf.remove(key)
            self.reviews.pop(number, None)

    def _said(
        self,
        shelf: Shelf,
        number: int,
        link: str,
        folder: str,
        body: str,
        author: str,
        more: dict[str, Any],
    ) -> int:
        self._ids += 1
        at = more.pop("created_at", None) or self.now()
        shelf.put(
            self._ids,
            {
                "url": f"{self.api}/{folder}/comments/{self._ids}",
                "html_url": f"{self.home}/issues/{number}#issuecomment-{self._ids}",
                link: f"{self.api}/{folder}/{number}",
                "id": self._ids,
                "node_id": f"IC_{self._ids}",
                "user": user(author, more.pop("kind", "User")),
                "created_at": at,
                "updated_at": at,
                "author_association": "NONE",
                "body": body,
                "reactions": reactions(),
                **more,
            },
        )
        return self._ids

    def _touch(self, number: int, comments: int = 0) -> None:
        item = self.issues.items[number]
        self.issues.put(
            number,
            {**item, "comments": item["comments"] + comments, "updated_at": moment(self.clock)},
        )


def from_archive(found: Mapping[str, Any], name: str = "") -> Repository:
    """The repository of an archive in the form of i-d-template."""
    repository = Repository(name or found["repo"], clock=4e8)
    for item in [*found["issues"], *found["pulls"]]:
        fields = {
            "number": item["number"],
            "pull": "reviews" in item,
            "merged_at": item.get("mergedAt"),
            "created_at": item["createdAt"],
            "closed_at": item["closedAt"],
            "state": "open" if item["state"] == "OPEN" else "closed",
            "author_association": item["authorAssociation"],
            "labels": [{"name": label} for label in item["labels"]],
        }
        repository.thread(item["title"], item["body"], item["author"], **fields)
    for item in [*found["issues"], *found["pulls"]]:
        number = item["number"]
        for said in item["comments"]:
            repository.comment(
                number,
                said["body"],
                said["author"],
                created_at=said["createdAt"],
                updated_at=said["updatedAt"],
                author_association=said["authorAssociation"],
            )
        for review in item.get("reviews", []):
            given = {
                "submitted_at": review["createdAt"],
                "author_association": review["authorAssociation"],
            }
            repository.review(number, review["body"], review["author"], **given)
            for said in review.get("comments", []):
                repository.review_comment(
                    number,
                    said["body"],
                    review["author"],
                    created_at=said["createdAt"],
                    updated_at=said["updatedAt"],
                    author_association=review["authorAssociation"],
                )
        repository.edit(number, updated_at=item["updatedAt"])
    return repository


def generated(issues: int, comments: int, texts: list[str], name: str = "made/large") -> Repository:
    """A large repository whose texts are given; a third are pull requests, as in real ones.

    Of the comments one in six is a comment of a review, and every fifth pull request has a review.
    """
    repository = Repository(name)
    say = texts.__getitem__
    for n in range(issues):
        pull = n % 3 == 2
        text = say(n % len(texts))
        closed = moment(repository.clock + 90_000) if n % 2 else None
        repository.thread(
            f"{text.strip().splitlines()[0][:80] if text.strip() else 'Untitled'} ({n})",
            f"{text}\n\nSeen {n} times.",
            f"user{n % 997}",
            pull=pull,
            state="closed" if closed else "open",
            closed_at=closed,
            merged_at=closed if pull else None,
        )
    for n in range(comments):
        number = n * 7919 % issues + 1
        text = f"{say(n * 31 % len(texts))}\n\n({n})"
        who = f"user{n % 83}"
        more = {"author_association": "MEMBER" if n % 3 == 0 else "NONE"}
        if n % 6 == 5 and "pull_request" in repository.issues.items[number]:
            repository.review_comment(number, text, who, **more)
        else:
            repository.comment(number, text, who, **more)
    for number in range(3, issues + 1, 15):
        repository.review(number, f"Reviewed {number}.", "user1", author_association="MEMBER")
    return repository
