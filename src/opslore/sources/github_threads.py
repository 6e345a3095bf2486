"""A thread as a document: its posts in the order of time, who wrote them, what is known of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, cast

from opslore.cards import Document, Span, Trust, Turn
from opslore.sources.github_records import shifted

MAINTAINERS = ("OWNER", "MEMBER", "COLLABORATOR")
MINUTE = 60
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
    about: Mapping[str, str],
) -> Document:
    """A thread with all its posts.

    Args:
        repository: `owner/name`.
        row: number, update, whether it is a pull request, facts, data, as they are kept.
        posts: number, kind, creation, update, data of its posts in time order.
        fixes: the merged pull requests that close it.
        pulls: the numbers of all pull requests.
        about: `product` and `version`.
    """
    number, updated, pull, facts, data = row
    said: dict[str, Any] = json.loads(data)
    parts = [{**said, "kind": "body", "updated": ""}]
    for _, kind, created, changed, text in posts:
        parts.append({**json.loads(text), "kind": kind, "created": created, "updated": changed})
    marks = _marks(parts, said)
    turns = [_turn(part, marks.get(at, [])) for at, part in enumerate(parts)]
    return Document(
        id=f"github:{repository}#{number}",
        kind="pull" if pull else "issue",
        title=said["title"],
        text=said["body"],
        url=said["url"],
        updated=updated,
        author=said["author"],
        trust=turns[0].trust,
        span=Span(file=said["url"], first=1, last=1),
        origin=f"issues {repository}",
        product=about["product"],
        version=about["version"],
        turns=turns,
        tags=said["labels"],
        state=_state(said),
        links=_links(said["url"], turns, fixes, pulls, json.loads(facts)),
    )


def _turn(part: Mapping[str, Any], marks: list[str]) -> Turn:
    return Turn(
        kind=cast(Literal["body", "comment", "review", "review_comment"], part["kind"]),
        text=part["body"],
        author=part["author"],
        association=part["association"],
        trust=trust(part["association"], part["bot"]),
        bot=part["bot"],
        created=part["created"],
        updated=part["updated"],
        url=part["url"],
        reactions=part["reactions"],
        marks=marks,
    )


def _marks(parts: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> dict[int, list[str]]:
    """What the neighbours of a post and the end of its thread say of it."""
    found: dict[int, list[str]] = {}
    if said["closed"]:
        first, last = shifted(said["closed"], -MINUTE), shifted(said["closed"], MINUTE)
        near = [
            at
            for at, part in enumerate(parts)
            if part["kind"] == "comment"
            and first <= part["created"] <= last
            and said["closer"] in ("", part["author"])
        ]
        if near:
            found[near[-1]] = ["closing"]
    for at, part in enumerate(parts[1:], 1):
        # When a thread itself was edited is not told: its update is any change to it.
        if part["updated"] > part["created"]:
            found.setdefault(at, []).append("edited")
        if part["author"] and part["author"] == said["author"] and _says_solved(part["body"]):
            before = [
                i
                for i, other in enumerate(parts[:at])
                if other["author"] != part["author"] and not other["bot"]
            ]
            if before and "accepted" not in found.setdefault(before[-1], []):
                found[before[-1]].append("accepted")
    return found


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
