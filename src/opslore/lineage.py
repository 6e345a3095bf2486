"""The way back: from an answer to the runbook's line, from a release to what it was made from."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from opslore import answer, commands, overriding, steps, store
from opslore.answer import Answer, Shipped
from opslore.cards import (
    COUNTED,
    ESCALATE,
    Adapter,
    Bundle,
    Card,
    Corpus,
    Dataset,
    Deployment,
    Document,
    Evaluation,
    Example,
    Record,
    Release,
    Result,
)
from opslore.config import Agent
from opslore.errors import DataError, IntegrityError, MissingInput
from opslore.index import Entry, Index, one_line
from opslore.store import Store

KINDS: list[type[Card]] = [Corpus, Dataset, Adapter, Bundle, Evaluation, Release, Deployment]
"""Every kind of card, in the order of the steps."""


class Trace(Record):
    """One answer with everything it rests on."""

    asked: Answer | None = None
    """The model's answer, when a question was traced."""
    alert: str
    command: str
    source: str
    """`file:line@commit` of the command."""
    examples: dict[str, int]
    """Examples about this alert by split."""
    example_ids: list[str] = Field(default_factory=list)
    """The first of them that were trained."""
    tests: dict[str, int]
    """Test prompts about this alert: how many were asked, how many answered right."""
    corpus: str
    dataset: str
    adapter: str
    training: str
    """What the training run was, in words."""
    bundle: str
    gguf_sha256: str
    """Computed again from the file, and equal to the card's."""
    evaluation: str = ""
    release: str = ""
    registry_run: str = ""


def newest(home: Store) -> list[Card]:
    """The cards of the newest run, in the order of the steps, as far as it came.

    It begins at the newest bundle (or what there is before one) and follows the parents, so that
    cards of different runs are never mixed.
    """
    for kind in (Bundle, Adapter, Dataset, Corpus):
        try:
            card: Card = home.latest(kind)
        except MissingInput:
            continue
        chain = [card]
        if isinstance(card, Bundle) and len(card.parents) > 1:
            chain = [steps.dataset_of(home, card), steps.parent(home, card, Adapter), card]
        while (before := _before(home, chain[0])) is not None:
            chain.insert(0, before)
        if isinstance(card, Bundle):
            chain += after(home, card)
        return chain
    raise MissingInput(
        f"nothing of {home.agent} in {home.place}", hint="run `opslore run AGENT.yaml` first"
    )


def _before(home: Store, card: Card) -> Card | None:
    return next(filter(None, (home.parent(card, kind) for kind in KINDS)), None)


def after(home: Store, bundle: Bundle) -> list[Card]:
    """What was made from a bundle: evaluation, release, deployment, the newest of each."""
    out: list[Card] = []
    before: Card = bundle
    for kind in (Evaluation, Release, Deployment):
        among = [card for card in home.cards(kind) if before.id in card.parents]
        if not among:
            break
        before = among[-1]
        if isinstance(before, Evaluation):
            before = overriding.newest(home, before)
        out.append(before)
    return out


def evaluation_of(home: Store, bundle: Bundle) -> Evaluation:
    """The newest evaluation of a bundle, with what persons let pass.

    Raises:
        MissingInput: it was never evaluated.
    """
    found = [card for card in home.cards(Evaluation) if bundle.id in card.parents]
    if not found:
        raise MissingInput(
            f"the bundle {bundle.id[:12]} was never evaluated",
            hint="run `opslore evaluate AGENT.yaml` first",
        )
    latest = home.latest(Evaluation)
    return overriding.newest(home, latest if latest in found else found[-1])


def trace(agent: Agent, what: str) -> Trace:
    """Follow an alert's name, a command's text, or the answer to a question.

    Raises:
        MissingInput: nothing was exported yet, or a card on the way is gone.
        DataError: the model has no answer to follow.
        IntegrityError: the GGUF on disk is not the one of the card.
    """
    home = steps.store_of(agent)
    found = answer.shipped(home)
    index = Index.read(found.folder)
    entry, command, asked = _resolve(agent, index, what)
    adapter = steps.parent(home, found.bundle, Adapter)
    dataset = steps.dataset_of(home, found.bundle)
    corpus = steps.parent(home, dataset, Corpus)
    digest = checked_gguf(found)
    rows = _examples(home, dataset, entry)
    # A refreshed bundle's dataset has examples that nobody trained.
    trained = _examples(home, steps.parent(home, adapter, Dataset), entry)
    trained = [row for row in trained if row.split == "train"]
    rows = [*trained, *(row for row in rows if row.split != "train")]
    made = {card.kind: card for card in after(home, found.bundle)}
    evaluation, release = made.get("evaluation"), made.get("release")
    return Trace(
        asked=asked,
        alert=entry.title,
        command=command,
        source=_place(home, dataset, entry, command),
        examples=dict(Counter(row.split for row in rows)),
        example_ids=[row.id for row in trained[:5]],
        tests=_tests(home, evaluation, rows) if isinstance(evaluation, Evaluation) else {},
        corpus=corpus.id,
        dataset=dataset.id,
        adapter=adapter.id,
        training=training(adapter),
        bundle=found.bundle.id,
        gguf_sha256=digest,
        evaluation=evaluation.id if evaluation else "",
        release=release.version if isinstance(release, Release) else "",
        registry_run=release.run_id if isinstance(release, Release) else "",
    )


def checked_gguf(found: Shipped) -> str:
    """SHA-256 of a shipped GGUF, computed anew.

    Raises:
        IntegrityError: it is not the one of the card.
    """
    digest = store.sha256(found.folder / "model.gguf")
    if digest != found.bundle.gguf_sha256:
        raise IntegrityError(
            f"{found.folder / 'model.gguf'} has sha256 {digest}, its card says"
            f" {found.bundle.gguf_sha256}",
            hint=f"delete {found.folder} and run `opslore export AGENT.yaml` again",
        )
    return digest


def training(adapter: Adapter) -> str:
    """What a training run was, in words."""
    return (
        f"{adapter.steps} steps on {adapter.base_model} ({adapter.base_digest[:12]}),"
        f" loss {adapter.loss:.3f}, {adapter.seconds:.0f} s, {adapter.created}"
    )


def _resolve(agent: Agent, index: Index, what: str) -> tuple[Entry, str, Answer | None]:
    """The entry that is meant, its command, and the model's answer if it had to be asked."""
    for entry in index.entries:
        if what.strip().lower() in (entry.title.lower(), entry.id.lower()):
            return entry, entry.answer, None
    if commands.looks_like_command(what):
        for entry in index.entries:
            if command := _among([entry.answer, *entry.commands], what):
                return entry, command, None
        raise DataError(
            f"no alert of the runbook has the command {what!r}",
            hint="copy it from the runbook, or give the alert's name",
        )
    asked = answer.ask(agent, what)
    if asked.escalate:
        nearest = ", ".join(asked.shown[:3])
        raise DataError(
            f"the model escalates, so there is no command to follow: {asked.why}",
            hint=f"give the alert's name; nearest in the runbook: {nearest}",
        )
    return next(e for e in index.entries if answer.place(e) == asked.source), asked.command, asked


def _among(known: Sequence[str], what: str) -> str:
    """The command of a runbook that this text is, holes filled or not."""
    said = answer.spoken(what)
    same = (c for c in known if c != ESCALATE and commands.equivalent(what, c, {}, said).equal)
    return next(same, "")


def _place(home: Store, dataset: Dataset, entry: Entry, command: str) -> str:
    """Where the command itself stands; an alert has others than its answer."""
    for document in store.read_rows(home.path(dataset) / "documents.jsonl", Document):
        if document.id == entry.id:
            for known in document.commands:
                if one_line(known.text) == command:
                    return answer.place(entry.model_copy(update={"line": known.first}))
    return answer.place(entry)


def _examples(home: Store, dataset: Dataset, entry: Entry) -> list[Example]:
    folder = home.path(dataset)
    return [
        row
        for split in COUNTED
        for row in store.read_rows(folder / f"{split}.jsonl", Example)
        if row.group == entry.id
    ]


def _tests(home: Store, evaluation: Evaluation, rows: Sequence[Example]) -> dict[str, int]:
    mine = {row.id for row in rows}
    results = store.read_rows(home.path(evaluation) / "results.jsonl", Result)
    scores = [
        r.scores.get("equivalent") for r in results if r.column == "tuned" and r.example in mine
    ]
    return {"asked": len(scores), "right": sum(score == 1.0 for score in scores)}


def lookup(agent: Agent, what: str) -> Card | Document:
    """A card by version, kind or beginning of its id, or an alert by name, or beginning of its id.

    Raises:
        DataError: nothing, or more than one thing, is meant.
    """
    home = steps.store_of(agent)
    cards: list[Card] = [card for kind in KINDS for card in home.cards(kind)]
    for kind in KINDS:
        if what == kind.kind:
            return home.latest(kind)
    for card in cards:
        if isinstance(card, Release) and card.version == what:
            return card
    documents = _documents(home)
    named = [d for d in documents if d.title.lower() == what.strip().lower()]
    if named:
        return named[0]
    found: list[Card | Document] = [card for card in cards if card.id.startswith(what)]
    found += [d for d in documents if d.id.startswith(what)]
    if len(found) == 1:
        return found[0]
    if found:
        meant = ", ".join(f"{one.kind} {one.id[:16]}" for one in found[:8])
        raise DataError(
            f"{what!r} is the beginning of {len(found)} ids: {meant}", hint="give more of it"
        )
    near = difflib.get_close_matches(what, [d.title for d in documents], n=3)
    raise DataError(
        f"{what!r} is no version, card, alert, page or thread of {agent.name}",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else "`opslore ls AGENT.yaml` lists the cards",
    )


def _documents(home: Store) -> list[Document]:
    try:
        corpus = home.latest(Corpus)
    except MissingInput:
        return []
    return list(store.read_rows(home.path(corpus) / "documents.jsonl", Document))
