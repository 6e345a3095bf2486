"""A merged pull request to a question about the change, answered by its own description."""

from __future__ import annotations

import re

from opslore.cards import Document
from opslore.config import Answers
from opslore.dataset import cut, noise, posts
from opslore.dataset.pairs import Pair, about, name
from opslore.dataset.split import share

FEWEST = 12
"""Words of prose that a description needs to tell what was changed, or why."""

_ASKED = (
    'In {about}, what does the change "{title}" do, and why?',
    'Why was "{title}" done in {about}, and what changed?',
    'What is behind the {about} change "{title}"?',
)
_LINK = re.compile(r"https?://\S+|\b[0-9a-f]{7,40}\b|#\d+")
_FIXES = re.compile(
    r"^\W*(?:fix(?:es|ed)?|clos(?:es|ed)?|resolv(?:es|ed)?|part of|addresses|relates? to|ref)"
    r":?\s+(?:issue )?(?:#\d+|https?://\S+)[\s.,]*$",
    re.I | re.M,
)


def pair(document: Document, settings: Answers, seed: int) -> Pair | str:
    """The pair of a pull request, or the reason why there is none."""
    first = next((turn for turn in document.turns if turn.kind == "body"), None)
    if document.state != "merged":
        return "not merged"
    if first is None or not first.text.strip():
        return "no description"
    if reason := noise.of_author(first):
        return reason
    if first.trust == "T3":
        return "not by a maintainer (T3)"
    text = _FIXES.sub("", posts.plain(first.text))
    text = posts.without_chatter(posts.filled(text))
    prose = "\n".join(block for block in cut.blocks(text) if not cut.is_code(block))
    if len(re.findall(r"[A-Za-z]{2,}", _LINK.sub(" ", prose))) < FEWEST:
        return "the description does not say what or why"
    if reason := noise.empty(text, settings.shortest) or noise.leans(text):
        return reason
    if noise.unsure(text):
        return "its author was not sure"
    text = cut.cut(text, settings.longest)
    if len(text) < settings.shortest:
        return "too long to cut at a border"
    title = re.sub(r"\s*\(?#\d+\)?$", "", document.title.strip()).strip(" .").replace('"', "'")
    if len(re.findall(r"\w+", title)) < 3:
        return "its title does not name the change"
    form = _ASKED[int(share(document.id, seed) * len(_ASKED))]
    return Pair(
        id=name("pull", document.id, "change"),
        family="pull",
        origin=document.origin,
        tier=first.trust,
        question=form.format(about=about(document), title=title),
        answer=text,
        group=document.id,
        part=document.id,
        span=document.span,
        url=document.url,
        updated=document.updated or first.created,
        author=first.author,
        merit=1.0,
        raw=first.text,
    )
