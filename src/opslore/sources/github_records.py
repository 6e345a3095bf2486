"""What is kept of an item that GitHub's API gives: its facts as plain fields, checked once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_MOMENT = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ")
"""As GitHub writes it; anything else is read by the calendar."""
_BOT = re.compile(r"(\[bot\]|[-_]bot)$", re.IGNORECASE)
_CLOSES = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+(?:(https?://\S+?/)issues/|#)(\d{1,9})\b",
    re.IGNORECASE,
)
_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
_CONTENT = dict(
    zip(
        ("THUMBS_UP", "THUMBS_DOWN", "LAUGH", "HOORAY", "CONFUSED", "HEART", "ROCKET", "EYES"),
        _REACTIONS,
        strict=True,
    )
)


class NoItem(Exception):
    """An item lacks what every item has; the message says what."""


@dataclass(frozen=True)
class Thread:
    """An issue or a pull request without its comments."""

    number: int
    updated: str
    """ISO 8601, UTC, whole seconds: sorts as text."""
    comments: int
    pull: bool
    node: str
    data: str
    """Everything else, as JSON with sorted keys."""


@dataclass(frozen=True)
class Post:
    """A comment, a review, or a comment of a review."""

    kind: str
    id: int
    number: int
    """Of its thread."""
    created: str
    updated: str
    data: str


def thread(item: Mapping[str, Any]) -> Thread:
    """An item of `/issues`.

    Raises:
        NoItem: it is none.
    """
    pull = item.get("pull_request")
    merged = pull.get("merged_at") if isinstance(pull, dict) else None
    labels = [
        label if isinstance(label, str) else label.get("name") for label in _list(item, "labels")
    ]
    data = {
        **_written(item),
        "title": _text(item, "title"),
        "state": _text(item, "state"),
        "reason": _text(item, "state_reason"),
        "created": stamp(item, "created_at"),
        "closed": stamp(item, "closed_at", ""),
        "closer": _login(item.get("closed_by")),
        "merged": bool(merged),
        **({"closes": closes(_text(item, "body"), _text(item, "html_url"))} if pull else {}),
        "labels": sorted(label for label in labels if isinstance(label, str) and label),
    }
    return Thread(
        number=_number(item, "number"),
        updated=stamp(item, "updated_at"),
        comments=_number(item, "comments"),
        pull=isinstance(pull, dict),
        node=_text(item, "node_id"),
        data=_packed(data),
    )


def comment(item: Mapping[str, Any]) -> Post:
    """An item of `/issues/comments`."""
    return _post("comment", item, _thread_of(item, "issue_url"))


def review_comment(item: Mapping[str, Any]) -> Post:
    """An item of `/pulls/comments`."""
    return _post("review_comment", item, _thread_of(item, "pull_request_url"))


def review(item: Mapping[str, Any], number: int) -> Post | None:
    """An item of `/pulls/N/reviews`; None for one that says nothing or was not sent off yet."""
    if not _text(item, "body").strip() or not item.get("submitted_at"):
        return None
    times = {"created_at": item["submitted_at"], "updated_at": item["submitted_at"]}
    return _post("review", {**item, **times}, number)


def review_node(node: Mapping[str, Any], number: int) -> Post | None:
    """The same as GraphQL tells it."""
    author = node.get("author") or {}
    groups = node.get("reactionGroups") or []
    found = {
        "id": node.get("databaseId"),
        "body": node.get("body"),
        "user": {"login": author.get("login"), "type": author.get("__typename")},
        "author_association": node.get("authorAssociation"),
        "html_url": node.get("url"),
        "submitted_at": node.get("submittedAt"),
        "reactions": {
            _CONTENT.get(group.get("content"), ""): (group.get("reactors") or {}).get("totalCount")
            for group in groups
        },
    }
    return review(found, number)


def closes(text: str, url: str) -> list[int]:
    """The issues of the same repository that a pull request's text says it closes.

    Args:
        text: of the pull request.
        url: `https://github.com/OWNER/NAME/pull/12`.
    """
    home = url.rpartition("/")[0].rpartition("/")[0] + "/"
    found = {int(number) for place, number in _CLOSES.findall(text) if place in ("", home)}
    return sorted(found)


def stamp(item: Mapping[str, Any], key: str, missing: str | None = None) -> str:
    """A moment as `2026-11-22T11:20:06Z`.

    Raises:
        NoItem: there is none, and none was expected to be missing.
    """
    value = item.get(key)
    if value is None and missing is not None:
        return missing
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return value
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise NoItem(f"{key} is {value!r}, which is no moment") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def shifted(moment: str, seconds: int) -> str:
    """A moment so many seconds later."""
    found = datetime.fromisoformat(moment) + timedelta(seconds=seconds)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def _post(kind: str, item: Mapping[str, Any], number: int) -> Post:
    return Post(
        kind=kind,
        id=_number(item, "id"),
        number=number,
        created=stamp(item, "created_at"),
        updated=stamp(item, "updated_at"),
        data=_packed(_written(item)),
    )


def _written(item: Mapping[str, Any]) -> dict[str, Any]:
    """Who wrote what, and what others made of it."""
    login = _login(item.get("user"))
    user = item.get("user")
    bot = isinstance(user, dict) and user.get("type") == "Bot"
    reactions = item.get("reactions")
    counted = reactions if isinstance(reactions, dict) else {}
    return {
        "body": _text(item, "body").replace("\r\n", "\n"),
        "author": login,
        "bot": bot or bool(_BOT.search(login)),
        "association": _text(item, "author_association") or "NONE",
        "url": _text(item, "html_url"),
        "reactions": {name: n for name in _REACTIONS if (n := counted.get(name)) and n > 0},
    }


def _thread_of(item: Mapping[str, Any], key: str) -> int:
    tail = _text(item, key).rstrip("/").rpartition("/")[2]
    if not tail.isdigit():
        raise NoItem(f"{key} is {item.get(key)!r}, which names no thread")
    return int(tail)


def _login(user: Any) -> str:
    login = user.get("login") if isinstance(user, dict) else None
    return login if isinstance(login, str) else ""


def _number(item: Mapping[str, Any], key: str) -> int:
    value = item.get(key)
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise NoItem(f"{key} is {value!r}, which is no number")
    return value


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if value is not None and not isinstance(value, str):
        raise NoItem(f"{key} is {str(value)[:40]!r}, which is no text")
    if not value or value.isascii():
        return value or ""
    # A lone surrogate is legal in JSON and cannot be written as UTF-8.
    return value.encode("utf-8", "replace").decode()


def _list(item: Mapping[str, Any], key: str) -> list[Any]:
    value = item.get(key)
    return (
        [each for each in value if isinstance(each, str | dict)] if isinstance(value, list) else []
    )


def _packed(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
