"""Conversations that somebody collected, and corrections: questions whose answers are given."""

from __future__ import annotations

from opslore.cards import Document, Message
from opslore.config import Answers
from opslore.dataset import cut, noise, posts
from opslore.dataset.pairs import Pair, name

LONGEST = 12
"""Messages of a conversation that are kept, the last ones; a prompt has no room for more."""


def correction(document: Document) -> Pair | str:
    """A correction as it stands: a person wrote it for this very question."""
    asked, answer = document.title.strip(), document.text.strip()
    if not asked or not answer:
        return "a correction without question or answer"
    return Pair(
        id=name("correction", document.id, "correction"),
        family="correction",
        origin=document.origin,
        tier=document.trust,
        question=asked,
        answer=answer,
        group=document.id,
        part=document.id,
        span=document.span,
        url=document.url,
        updated=document.updated,
        raw=f"{document.title}\n\n{document.text}",
    )


def conversation(document: Document, settings: Answers) -> Pair | str:
    """A conversation that begins with the user and ends with the last answer worth learning."""
    trust = {turn.trust for turn in document.turns if turn.author == "assistant"}
    if not trust:
        return "no answer"
    if "T3" in trust:
        return "not by a maintainer (T3)"
    turns = _turns(document)
    while turns and _ends_badly(turns[-1], settings.shortest):
        turns.pop()
    turns = turns[-LONGEST:]
    while turns and turns[0].role != "user":
        turns.pop(0)
    if len(turns) < 2:
        return "no answer"
    answer = cut.cut(turns[-1].content, settings.longest)
    if len(answer) < settings.shortest:
        return "too long to cut at a border"
    return Pair(
        id=name("archive", document.id, "conversation"),
        family="archive",
        origin=document.origin,
        tier=max(trust),
        question=turns[-2].content,
        answer=answer,
        before=turns[:-2],
        group=document.id,
        part=document.id,
        span=document.span,
        url=document.url,
        updated=document.updated,
        raw="\n\n".join(turn.text for turn in document.turns),
    )


def _turns(document: Document) -> list[Message]:
    """User and assistant in turn; two posts in a row are one, and nobody else speaks."""
    out: list[Message] = []
    for turn in document.turns:
        if turn.author not in ("user", "assistant") or not turn.text.strip():
            continue
        role = "user" if turn.author == "user" else "assistant"
        text = posts.tidy(turn.text.replace("\r\n", "\n"))
        if out and out[-1].role == role:
            text = f"{out.pop().content}\n\n{text}"
        out.append(Message(role="user" if role == "user" else "assistant", content=text))
    return out


def _ends_badly(last: Message, shortest: int) -> bool:
    if last.role == "user":
        return True
    return bool(noise.empty(last.content, shortest))
