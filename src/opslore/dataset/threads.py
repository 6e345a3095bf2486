"""An issue to one question and its best answer: who wrote it and what it did decide, not length.

The reporter is the user. Maintainers (T1, T2) are the assistant; nobody else ever is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from opslore.cards import Document, Turn
from opslore.config import Answers
from opslore.dataset import cut, noise, posts
from opslore.dataset.pairs import Pair, about, name

WORDS = 4
"""Fewest words of a title that is asked alone."""

UNSETTLED = 0.4
"""Least merit of an answer in a thread that nobody closed: somebody must have stood by it."""

_PULL = re.compile(r"(?:#|/pull/|\bPR ?#?|pull request #?|\bGH-)(\d+)\b", re.I)
_PLUS = ("+1", "heart", "hooray", "rocket", "laugh")
_MINUS = ("-1", "confused")


def pair(
    document: Document,
    settings: Answers,
    merged: Mapping[str, str],
    passed: Counter[str] | None = None,
) -> Pair | str:
    """The pair of an issue, or the reason why there is none.

    Args:
        document: an issue with its turns.
        settings: lengths of an answer.
        merged: titles of merged pull requests by document id, for "fixed by #25".
        passed: counts the posts that were passed over, by reason.
    """
    counts: Counter[str] = Counter() if passed is None else passed
    asked = question(document, settings.longest)
    if not asked:
        return "the question does not stand on its own"
    found: list[tuple[float, int, Turn, str]] = []
    reasons: Counter[str] = Counter()
    for place, turn in enumerate(document.turns):
        if turn.kind == "body":
            continue
        text, reason = answer(document, turn, settings, merged)
        if reason:
            reasons[reason] += 1
            counts[reason] += 1
        else:
            found.append((merit(document, turn, text), place, turn, text))
    if not found:
        return _why(reasons)
    if _settled_alone(document):
        return "the reporter, a maintainer, settled it alone"
    best = max(found, key=lambda row: (row[2].trust == "T1", row[0], -row[1]))
    score, _, turn, text = best
    doubtful = score < UNSETTLED or noise.unsure(text) > 1
    if document.state in ("open", "") and doubtful:
        return "nobody settled it"
    text = cut.cut(text, settings.longest)
    if len(text) < settings.shortest:
        return "too long to cut at a border"
    return Pair(
        id=name("issue", document.id, "answer"),
        family="issue",
        origin=document.origin,
        tier=turn.trust,
        question=asked,
        answer=text,
        group=document.id,
        part=document.id,
        span=document.span,
        url=turn.url or document.url,
        updated=turn.updated or turn.created,
        author=turn.author,
        merit=score,
        raw=f"{_first(document)}\n\n{turn.text}",
    )


def _settled_alone(document: Document) -> bool:
    """Whether a maintainer's own thread ends with that maintainer saying that it is done."""
    said = [turn for turn in document.turns if turn.kind != "body" and turn.trust != "T3"]
    last = said[-1] if said else None
    mine = last is not None and last.author == document.author
    return bool(last and mine and document.state != "open" and noise.is_done(last.text))


def _why(reasons: Counter[str]) -> str:
    """The reason of a thread: what was wrong with most of its maintainers' posts."""
    for general in ("a bot wrote it", "the reporter's own post", "not by a maintainer (T3)"):
        if set(reasons) - {general}:
            reasons = Counter({r: n for r, n in reasons.items() if r != general})
    if not reasons:
        return "no answer"
    top = max(reasons.values())
    return "no answer: " + min(reason for reason, n in reasons.items() if n == top)


def question(document: Document, longest: int) -> str:
    """Title and substance of the first post, with the product; "" when it says too little."""
    text = posts.plain(_first(document))
    body = posts.without_chatter(posts.filled(text))
    body = cut.cut(body, longest)
    title = document.title.strip()
    if len(re.findall(r"[^\W\d_]+", re.sub(r"https?://\S+", " ", body))) < 5:
        body = ""
    if not body and len(re.findall(r"\w+", title)) < WORDS:
        return ""
    what = about(document)
    head = title if not what or _says(title, what) else f"{what}: {title}"
    return f"{head}\n\n{body}".strip()


def _first(document: Document) -> str:
    """The first post as it came."""
    return next((turn.text for turn in document.turns if turn.kind == "body"), document.text)


def _says(text: str, what: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(what)}(?!\w)", text, re.I) is not None


def answer(
    document: Document, turn: Turn, settings: Answers, merged: Mapping[str, str]
) -> tuple[str, str]:
    """A post as an answer, or "" and the reason why it is none."""
    reason = noise.of_author(turn)
    if not reason and turn.trust == "T3":
        reason = "not by a maintainer (T3)"
    if not reason and turn.author and turn.author == document.author:
        reason = "the reporter's own post"
    if reason:
        return "", reason
    others = [one.text for one in document.turns if one is not turn and one.kind != "body"]
    text, reason = posts.unquoted(posts.plain(turn.text), _first(document), others)
    text = posts.without_chatter(text)
    closed = document.state not in ("open", "")
    if not reason and closed and noise.is_done(text) and (fixed := _fix(document, text, merged)):
        return fixed, ""
    return text, reason or noise.empty(text, settings.shortest) or noise.leans(text)


def _fix(document: Document, text: str, merged: Mapping[str, str]) -> str:
    """A bare `Addressed by pull #25`, completed with what that merged pull request is called."""
    if len(text) > 160:
        return ""
    repository = document.id.rpartition("#")[0]
    for number in _PULL.findall(text):
        title = merged.get(f"{repository}#{number}", "")
        if len(re.findall(r"\w+", title)) >= WORDS:
            return f'This was fixed by pull request #{number}, "{title.strip(" .")}".'
    return ""


def merit(document: Document, turn: Turn, text: str) -> float:
    """What speaks for a post: accepted, closing, a fix, rank of its author, reactions.

    Length counts only up to a short paragraph, so a long guess never beats an accepted line.
    """
    score = 4.0 * ("accepted" in turn.marks) + 2.5 * ("closing" in turn.marks)
    score += {"OWNER": 1.0, "MEMBER": 1.0, "COLLABORATOR": 0.5}.get(turn.association, 0.0)
    plus = sum(turn.reactions.get(kind, 0) for kind in _PLUS)
    minus = sum(turn.reactions.get(kind, 0) for kind in _MINUS)
    score += math.log2(1 + plus) - 1.5 * math.log2(1 + minus)
    if any(link and link in turn.text for link in document.links) or noise.is_done(text):
        score += 1.0
    score += min(len(text), 400) / 400
    # One "perhaps" in a page of facts says less than in a line.
    return score - 0.8 * noise.unsure(text) * min(1.0, 400 / max(len(text), 1))
