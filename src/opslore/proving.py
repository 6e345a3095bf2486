"""The proof after a release: what changed was learned, and nothing else got worse.

Both releases' evaluations hold a scored reply to every test prompt, as shipped (the column
`constrained`). Of an alert that changed they are often one or two, so the new release is asked more
questions about it, in the phrasings that no training question has. All other alerts are compared on
the prompts that both evaluations asked (exact McNemar, docs/decisions/0032 and 0034).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from opslore import commands, proof_prompts, steps, store
from opslore.bundle.catalogue import Catalogue
from opslore.cards import ESCALATE, TESTS, Bundle, Dataset, Evaluation, Example, Release, Result
from opslore.changes import Change, Changes, canonical
from opslore.config import Agent
from opslore.errors import IntegrityError, MissingInput
from opslore.evaluation import statistics
from opslore.evaluation.gate import ANSWERS
from opslore.evaluation.gate_forgetting import CHANCE
from opslore.evaluation.scorers import named
from opslore.index import Entry
from opslore.record import Record
from opslore.store import Store


class Asked(Record):
    """One question about a changed alert, and what the new release answers."""

    question: str
    expected: str
    answer: str
    right: bool
    old: bool
    """It answers with a command that the alert no longer has."""
    by: str
    """`evaluation`, or `proof`: asked for this proof alone."""


class Learned(Record):
    """Whether a changed or new alert was learned."""

    alert: str
    id: str
    what: str
    right: int
    asked: int
    old: int
    """Answers with a command that the alert no longer has."""
    learned: bool
    """More than half of the answers are right, and none is an old command."""
    reason: str = ""
    """Why nothing was asked, when nothing was."""
    answers: list[Asked] = Field(default_factory=list)


class Gone(Record):
    """A command or an alert that the runbook no longer has."""

    alert: str
    offered: list[str]
    """What the new release could still answer: commands in its catalogue, or the alert's name when
    its index still has it; empty is as it should be."""


class Fallen(Record):
    """A prompt that was answered right before, and is not now."""

    alert: str
    question: str
    expected: str
    before: str
    now: str


class Others(Record):
    """The alerts that did not change, on the prompts of both evaluations."""

    prompts: int
    won: int
    lost: int
    p: float
    """Exact McNemar, one-sided: how often chance alone loses so many; 1 when none was lost."""
    worse: bool
    fallen: list[Fallen] = Field(default_factory=list)


class Proof(Record):
    """What came of a change."""

    version: str
    before: str
    """Version of the release it is compared with."""
    changed: list[Learned]
    removed: list[Gone]
    others: Others
    holds: bool
    """Everything that changed was learned, nothing that went is offered, the rest is no worse."""
    kept: str = ""
    """Where this stands in the store."""


def prove(
    agent: Agent,
    home: Store,
    changes: Changes,
    before: Release,
    release: Release,
    evaluation: Evaluation,
) -> Proof:
    """The proof of a release, kept in the store; one that stands there already is read.

    Args:
        agent: the agent file.
        home: its store.
        changes: what changed between the two releases.
        before: the release that was the newest.
        release: the new one.
        evaluation: its evaluation.

    Raises:
        MissingInput: what one of the releases was made from is gone.
        IntegrityError: an evaluation's replies are damaged.
        ServerError: the model gave up.
    """
    key = f"{home.agent}/proofs/{release.version}-after-{before.version}.json"
    try:
        found = Proof.model_validate_json(home.fetch(key).read_bytes())
        return found.model_copy(update={"kept": home.uri(key)})
    except MissingInput:
        pass
    bundle = steps.parent(home, release, Bundle)
    rows = _rows(home, evaluation)
    extra = proof_prompts.ask(agent, home, changes, bundle, evaluation, [e for e, _ in rows])
    learned = _learned(home, changes, bundle, [*rows, *extra])
    removed = _removed(home, changes, bundle)
    old = steps.parent(home, before, Evaluation)
    others = _others(changes, _rows(home, old), rows, _names(home, bundle))
    proof = Proof(
        version=release.version,
        before=before.version,
        changed=learned,
        removed=removed,
        others=others,
        holds=all(one.learned or one.reason for one in learned)
        and not any(one.offered for one in removed)
        and not others.worse,
    )
    room = proof_prompts.room(home, bundle)
    store.write(room / "proof.json", proof.model_dump_json(indent=2) + "\n")
    home.upload(room / "proof.json", key)
    proof_prompts.discard(room)
    return proof.model_copy(update={"kept": home.uri(key)})


def _rows(home: Store, evaluation: Evaluation) -> list[tuple[Example, Result]]:
    """An evaluation's prompts with the replies as shipped."""
    dataset = home.path(steps.parent(home, evaluation, Dataset))
    found = store.read_rows(home.path(evaluation) / "results.jsonl", Result)
    replies = {row.example: row for row in found if row.column == ANSWERS}
    files = [dataset / f"{split}.jsonl" for split in TESTS]
    return [
        (example, replies[example.id])
        for file in files
        if file.is_file()
        for example in store.read_rows(file, Example)
        if example.id in replies
    ]


def _learned(
    home: Store, changes: Changes, bundle: Bundle, rows: Sequence[tuple[Example, Result]]
) -> list[Learned]:
    """Every changed or new alert with the answers to its prompts."""
    known = _names(home, bundle)
    found = []
    for change in changes.alerts:
        if change.what == "removed":
            continue
        answers = [_asked(change, *row) for row in rows if proof_prompts.about(row[0], change.id)]
        right = sum(one.right for one in answers)
        old = sum(one.old for one in answers)
        reason = ""
        if change.id not in known:
            reason = "not in the index: another alert of its name has a command"
        found.append(
            Learned(
                alert=change.alert,
                id=change.id,
                what=change.what,
                right=right,
                asked=len(answers),
                old=old,
                learned=2 * right > len(answers) and not old,
                reason=reason,
                answers=answers,
            )
        )
    return found


def _asked(change: Change, example: Example, result: Result) -> Asked:
    right = result.scores.get("equivalent") == 1.0
    gone = [text for text in change.old if text not in change.new]
    said = result.reply
    old = not right and any(
        commands.equivalent(said, text, example.labels, named(example)).equal for text in gone
    )
    return Asked(
        question=example.question,
        expected=example.target,
        answer=said,
        right=right,
        old=old,
        by="proof" if proof_prompts.own(example) else "evaluation",
    )


def _removed(home: Store, changes: Changes, bundle: Bundle) -> list[Gone]:
    """What no alert has any more, and whether the new release could still answer it."""
    folder = home.path(bundle)
    entries = list(store.read_rows(folder / "index.jsonl", Entry))
    said = {canonical(text) for one in entries for text in one.commands}
    offers = {canonical(text) for text in _catalogue(folder / "catalogue.json").templates}
    ids = {one.id for one in entries}
    found = []
    for change in changes.alerts:
        gone = [text for text in change.old if text not in said]
        if change.what != "removed" and not gone:
            continue
        offered = [text for text in gone if text in offers]
        if change.what == "removed" and change.id in ids:
            offered.append(change.alert)
        found.append(Gone(alert=change.alert, offered=offered))
    return found


def _catalogue(path: Path) -> Catalogue:
    try:
        return Catalogue.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: {error}", hint="run `opslore export AGENT.yaml`") from error


def _others(
    changes: Changes,
    before: Sequence[tuple[Example, Result]],
    now: Sequence[tuple[Example, Result]],
    known: dict[str, str],
) -> Others:
    """The prompts that both were asked about alerts that stayed as they were."""
    touched = changes.ids()
    then = {_key(e): r for e, r in before if e.group not in touched}
    pairs = [(e, then[_key(e)], r) for e, r in now if e.group not in touched and _key(e) in then]
    old = [r.scores.get("equivalent", 0.0) for _, r, _ in pairs]
    new = [r.scores.get("equivalent", 0.0) for _, _, r in pairs]
    won = sum(b > a for a, b in zip(old, new, strict=True))
    lost = sum(b < a for a, b in zip(old, new, strict=True))
    # As for what a model forgets: greedy replies of a small model change both ways.
    p = statistics.mcnemar(new, old) / 2 if lost > won else 1.0
    fallen = [
        Fallen(
            alert=known.get(e.group, e.group),
            question=e.question,
            expected=e.target,
            before=was.reply,
            now=is_.reply,
        )
        for e, was, is_ in pairs
        if was.scores.get("equivalent", 0.0) > is_.scores.get("equivalent", 0.0)
    ]
    return Others(prompts=len(pairs), won=won, lost=lost, p=p, worse=p <= CHANCE, fallen=fallen)


def _key(example: Example) -> str:
    """A prompt is the same when it asks the same of the same alert, whatever entries it shows."""
    expected = example.target if example.target == ESCALATE else canonical(example.target)
    return json.dumps([example.split, example.group, example.question, expected])


def _names(home: Store, bundle: Bundle) -> dict[str, str]:
    """The alerts of a release's index: id -> name."""
    return {e.id: e.title for e in store.read_rows(home.path(bundle) / "index.jsonl", Entry)}
