"""A thread as a document: its posts in the order of time, who wrote them, what is known of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

from opslore.cards import Document, Span, Trust, Turn

MAINTAINERS = ("OWNER", "MEMBER", "COLLABORATOR")
MINUTE = 60.0
"""Seconds around the closing of a thread in which its closer's comment is the closing one."""

_SOLVED = re.compile(
    r"\b(?:(?:that|this|it|which)(?:'s| has| did| does| indeed| also)* "
    r"(?:worked|works|fixed (?:it|the|my)|solved|did the trick|resolved|helped)"
    r"|works (?:now|like a charm|perfectly|fine now)|(?:is|all) working now"
    r"|problem solved|(?:issue|problem) (?:is |was |has been )?(?:solved|resolved|fixed))\b",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"\b(?:not|no longer|still|never|unfortunately|but|if|would)\b|n't\b", re.IGNORECASE
)
_FIXED = re.compile(
    r"\b(?:fix(?:ed|es)?|close[sd]?|resolve[sd]?|addressed|solved|implemented|merged)\b"
    r"[^.#\n]{0,30}?(?:#(\d{1,9})\b|(https://[^\s()<>]+/(?:pull/\d+|commit/[0-9a-f]{7,40})))",
    re.IGNORECASE,
)


def trust(association: str, bot: bool) -> Trust:
    """Maintainers are T2, bots and everybody else T3."""
    return "T2" if association in MAINTAINERS and not bot else "T3"


def document(
    repository: str,
    row: Sequence[Any],
    posts: Sequence[Sequence[Any]],
    fixes: Sequence[int],
    pulls: Collection[int],
) -> Document:
    """A thread with all its posts.

    Args:
        repository: `owner/name`.
        row: number, update, whether it is a pull request, facts, data, as they are kept.
        posts: number, kind, creation, update, data of its posts in time order.
        fixes: the merged pull requests that close it.
        pulls: the numbers of all pull requests.
    """
    number, updated, pull, facts, data = row
    said: dict[str, Any] = json.loads(data)
    body = _turn("body", said, said["created"], "")
    turns = [body, *(_turn(kind, json.loads(d), c, u) for _, kind, c, u, d in posts)]
    return Document(
        id=f"github:{repository}#{number}",
        kind="pull" if pull else "issue",
        title=said["title"],
        text=said["body"],
        url=said["url"],
        updated=updated,
        author=said["author"],
        trust=body.trust,
        span=Span(file=said["url"], first=1, last=1),
        origin=f"issues {repository}",
        turns=_marked(turns, said),
        tags=said["labels"],
        state=_state(said),
        links=_links(said["url"], turns, fixes, pulls, json.loads(facts)),
    )


def _turn(kind: str, said: Mapping[str, Any], created: str, updated: str) -> Turn:
    return Turn(
        kind=cast(Literal["body", "comment", "review", "review_comment"], kind),
        text=said["body"],
        author=said["author"],
        association=said["association"],
        trust=trust(said["association"], said["bot"]),
        bot=said["bot"],
        created=created,
        updated=updated,
        url=said["url"],
        reactions=said["reactions"],
        # When a thread itself was edited is not told: its update is any change to it.
        marks=["edited"] if kind != "body" and updated > created else [],
    )


def _marked(turns: list[Turn], said: Mapping[str, Any]) -> list[Turn]:
    """The turns with what their neighbours and the thread's end say of them."""
    more: dict[int, list[str]] = {}
    if said["closed"]:
        near = [
            at
            for at, turn in enumerate(turns)
            if turn.kind == "comment"
            and abs(_seconds(turn.created) - _seconds(said["closed"])) <= MINUTE
            and said["closer"] in ("", turn.author)
        ]
        if near:
            more.setdefault(near[-1], []).append("closing")
    for at, turn in enumerate(turns[1:], 1):
        if turn.author and turn.author == said["author"] and _says_solved(turn.text):
            before = [i for i in range(at) if turns[i].author != turn.author and not turns[i].bot]
            if before and "accepted" not in more.setdefault(before[-1], []):
                more[before[-1]].append("accepted")
    return [
        turn.model_copy(update={"marks": [*more.get(at, []), *turn.marks]})
        for at, turn in enumerate(turns)
    ]


def _says_solved(text: str) -> bool:
    """Whether the reporter says that what was answered has helped; one sentence decides."""
    plain = "\n".join(line for line in text.split("\n") if not line.startswith(">"))
    sentences = re.split(r"(?<=[.!?])\s|\n", plain[:600])
    return any(_SOLVED.search(each) and not _NOT.search(each) for each in sentences)


def _state(said: Mapping[str, Any]) -> str:
    if said["merged"]:
        return "merged"
    if said["state"] != "closed":
        return "open"
    return said["reason"] if said["reason"] in ("completed", "not_planned") else "closed"


def _links(
    url: str,
    turns: Sequence[Turn],
    fixes: Sequence[int],
    pulls: Collection[int],
    facts: Mapping[str, Any],
) -> list[str]:
    """Addresses of what fixed it: its own merge, pull requests that close it, what was named so."""
    home = url.rpartition("/")[0].rpartition("/")[0]
    found = [facts["commit"]] if facts.get("commit") else []
    found += [f"{home}/pull/{number}" for number in fixes]
    for turn in turns[1:]:
        if turn.trust == "T2":
            for number, address in _FIXED.findall(turn.text):
                if address or int(number) in pulls:
                    found.append(address or f"{home}/pull/{int(number)}")
    return [each for each in dict.fromkeys(found) if each != url]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
