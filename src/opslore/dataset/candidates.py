"""A document to its questions and answers, or to the reason why there are none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from opslore.cards import Document, Dropped
from opslore.config import Prepare
from opslore.dataset import caps, chats, cut, pulls, questions, sections, threads, unfit
from opslore.dataset.pairs import Pair, about, dropped, name

_FORM = re.compile(
    r"(?:PULL_REQUEST_TEMPLATE|ISSUE_TEMPLATE|copilot-instructions|(?:^|/)(?:AGENTS|CLAUDE|GEMINI)\.md)",
    re.I,
)
"""Pages that are filled in, or that give orders to a model."""


def of(
    document: Document,
    settings: Prepare,
    merged: Mapping[str, str],
    passed: Counter[str] | None = None,
) -> Iterator[Pair | Dropped]:
    """Every candidate of a document.

    Args:
        document: a thread, page, conversation or correction.
        settings: the `prepare` section.
        merged: titles of merged pull requests by document id.
        passed: counts the posts that were passed over, by reason.
    """
    if document.kind == "page":
        yield from _page(document, settings)
        return
    found: Pair | str
    if document.kind == "issue":
        found = threads.pair(document, settings.answers, merged, passed)
    elif document.kind == "pull":
        found = pulls.pair(document, settings.answers, settings.seed)
    elif document.kind == "correction":
        found = chats.correction(document)
    elif document.kind == "chat":
        found = chats.conversation(document, settings.answers)
    else:
        found = "alerts are learned by task: commands"
    yield dropped(document, found) if isinstance(found, str) else found


def _page(page: Document, settings: Prepare) -> Iterator[Pair | Dropped]:
    if _FORM.search(page.id):
        yield dropped(page, "a form, or instructions to a tool")
        return
    if page.trust == "T3":
        yield dropped(page, "T3: context, never an answer")
        return
    lines = page.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    written = 0
    for number, section in enumerate(sections.sections(page)):
        part = "/".join([*section.above[1:], section.title, str(number)])
        what = f"{page.id}#{section.title}"
        if reason := unfit.unfit(section, settings.answers.shortest):
            yield dropped(page, reason, what)
            continue
        answer = cut.without_stub(cut.cut(section.text, settings.answers.longest))
        if len(answer) < settings.answers.shortest:
            yield dropped(page, "too long to cut at a border", what)
            continue
        asked = questions.questions(section, about(page), settings.seed, f"{page.id}#{part}")
        start = page.span.first - 1
        for place, question in enumerate(asked):
            if written == caps.PAGE:
                yield dropped(page, f"more than {caps.PAGE} pairs of one page", what)
                continue
            written += 1
            yield Pair(
                id=name("docs", page.id, part, place),
                family="wiki" if page.origin.startswith("wiki") else "docs",
                origin=page.origin,
                tier=page.trust,
                question=question,
                answer=answer,
                group=page.id,
                part=f"{page.id}#{part}",
                span=page.span.model_copy(
                    update={"first": start + section.first, "last": start + section.last}
                ),
                url=page.url,
                updated=page.updated,
                lead=asked[0],
                raw="\n".join(lines[section.first - 1 : section.last]),
            )
