"""The terminal's side of agents that answer in prose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opslore import console

if TYPE_CHECKING:
    from opslore.answer_prose import Prose
    from opslore.cards import Document
    from opslore.lineage_prose import Origin

EXCERPT = 1200
"""Characters of a document that `show` prints; the store has all of it."""


def show_answer(found: Prose) -> None:
    """Print an answer as Markdown, and below it what is known of its commands."""
    from rich.markdown import Markdown

    from opslore.answer_prose import warnings

    for one in warnings(found.commands):
        why = "; ".join(finding.why for finding in one.findings) or one.risk
        console.say(f"WARNING: the answer has a {one.risk} command: {one.text}")
        console.say(f"         {why}. Confirm with a second person before it is run.")
    # A link shows where it leads, and no character may repaint the terminal.
    console.show(Markdown(console.clean(found.reply), hyperlinks=False))
    if not found.stopped:
        console.say("(cut: evaluate.max_tokens was reached)")
    for one in found.commands:
        where = "in the sources" if one.known else "NOT in the sources"
        text = " ".join(one.text.split())
        console.say(f"  command     {text}  [{one.risk}, {where}]")
    console.say(f"  model       {found.model}")


def show_document(document: Document) -> None:
    """Print a page, a thread or a correction."""
    about = ", ".join(part for part in (document.product, document.version) if part)
    kind = " ".join(part for part in (document.state, document.kind) if part)
    console.say(f"{document.title}  ({kind}, {document.trust}{f', {about}' if about else ''})")
    span = document.span
    commit = f"@{span.commit[:12]}" if span.commit else ""
    place = document.url or f"{span.file}:{span.first}-{span.last}{commit}"
    console.say(f"{place}  id {document.id}")
    if not document.turns:
        console.say(_short(document.text))
    for turn in document.turns:
        console.say(f"{turn.created[:10]} {turn.author or 'somebody'} ({turn.kind}, {turn.trust})")
        for line in _short(turn.text).splitlines():
            console.say(f"    {line}")


def show_origin(found: Origin) -> None:
    """Print what a model that answers in prose learned about a question."""
    rows = [("question", found.question)]
    for one in found.learned:
        rows.append(
            ("learned", f"{one.id} ({one.family}, {one.tier or 'no tier'}): {one.question}")
        )
        rows.append(("source", one.place))
    if not found.learned:
        rows.append(("learned", "no training example is about this"))
    rows += [
        ("corpus", found.corpus[:12]),
        ("dataset", found.dataset[:12]),
        ("training", f"{found.adapter[:12]}  {found.training}"),
        ("bundle", f"{found.bundle[:12]}  gguf sha256 {found.gguf_sha256}"),
        ("evaluation", found.evaluation[:12] or "not evaluated"),
        ("release", found.release or "not released"),
    ]
    for name, value in rows:
        console.say(f"{name:<10}  {' '.join(value.split())}")


def _short(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]} ... ({len(text)} characters)"
