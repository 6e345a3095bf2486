"""A person lets a model pass although a gate failed: who and why is recorded, and signed with it.

The evaluation that said no stays as it is. The override is a new card beside it, with the same
replies and scores, and `publish` ships that one.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslore.cards import Bundle, Card, Dataset, Evaluation, Override
from opslore.cards_scores import FINAL
from opslore.errors import ConfigError
from opslore.evaluation import gate as gates
from opslore.store import Store

LONGEST = 1000
"""Characters of a reason; what needs more is a document, and the reason names it."""


def override(
    home: Store, evaluation: Evaluation, gate: str, person: str, reason: str
) -> Evaluation:
    """Let a failed gate pass in a person's name; the same words again give the same card.

    Raises:
        ConfigError: no person, no reason, no such gate, a gate that holds, or one that nobody can
            override.
    """
    person, reason = " ".join(person.split()), " ".join(reason.split())
    _refuse(evaluation, gate, person, reason)
    parents = _parents(home, evaluation)
    said = {"gate": gate, "person": person, "reason": reason}

    def make(work: Path) -> dict[str, Any]:
        for path in home.path(evaluation).iterdir():
            if path.is_file() and path.name != "card.json":
                shutil.copy2(path, work / path.name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        let = [*evaluation.overrides, Override(**said, at=now)]
        kept = evaluation.model_dump(exclude=set(Card.model_fields))
        passed = not gates.refusing(evaluation.gates, let)
        return {**kept, "overrides": let, "passed": passed}

    return home.made(Evaluation, {"override": said}, [*parents, evaluation], make)


def newest(home: Store, evaluation: Evaluation) -> Evaluation:
    """The evaluation with the overrides that persons added to it since."""
    if evaluation.passed:
        return evaluation
    after = [card for card in home.cards(Evaluation) if evaluation.id in card.parents]
    return newest(home, after[-1]) if after else evaluation


def _refuse(evaluation: Evaluation, gate: str, person: str, reason: str) -> None:
    if not person or not reason:
        missing = " and ".join(
            name for name, text in (("--person", person), ("--reason", reason)) if not text
        )
        raise ConfigError(
            f"an override of {gate} needs {missing}",
            hint=f'opslore evaluate AGENT.yaml --override {gate} --person "NAME" --reason "WHY"',
        )
    if max(len(person), len(reason)) > LONGEST or not (person + reason).isprintable():
        raise ConfigError(f"--person and --reason: plain text of at most {LONGEST} characters")
    found = next((one for one in evaluation.gates if one.name == gate), None)
    if found is None:
        names = ", ".join(one.name for one in evaluation.gates)
        raise ConfigError(f"--override {gate}: no such gate; there are {names}")
    if gate in FINAL:
        raise ConfigError(
            f"--override {gate}: nobody can override {' or '.join(FINAL)}",
            hint=f"`opslore why AGENT.yaml {gate}` shows what has to be mended",
        )
    if not gates.refusing([found], evaluation.overrides):
        raise ConfigError(f"--override {gate}: it does not refuse, there is nothing to override")


def _parents(home: Store, evaluation: Evaluation) -> list[Card]:
    """The dataset and the bundle that were evaluated."""
    return [c for c in (home.parent(evaluation, Dataset), home.parent(evaluation, Bundle)) if c]
