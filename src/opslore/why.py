"""Why a gate says what it says: what was asked, measured and needed, and the examples behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from opslore import store
from opslore.cards import (
    COUNTED,
    Evaluation,
    Example,
    Finding,
    Gate,
    Override,
    Record,
    Result,
    Span,
)
from opslore.errors import ConfigError, MissingInput
from opslore.evaluation import gate as gates
from opslore.evaluation import scorers
from opslore.index import Index

ASKED = {
    "G0": "Were enough questions asked for the numbers to mean something?",
    "G1": "Alerts that were trained, in words that were not: is the command right?",
    "G2": "Does any answer destroy something that the runbook does not tell to destroy?",
    "G3": "Questions without an answer: is a person asked, and only then?",
    "G4": "Is it better than the model before training?",
    "G5": "Is it at least as good as the model that answers today?",
    "G6": "Has it forgotten what the base model knew?",
    "G7": "Does the shipped file answer as the trained weights do, to the same prompt, and stop?",
    "G8": "Are data and files what they should be: no leak, no secret, the same template, weights?",
}
PROSE = {
    "G1": "Answers that were not trained: does it find them likelier than the base model does?",
    "G3": "Do its answers name commands that no source has?",
    "G4": "Are its answers at least as near to the reference as the base model's?",
}
"""What these gates ask of answers in prose."""

SPLITS = (*COUNTED, "test")


class Shown(Record):
    """A runbook entry that a prompt showed."""

    title: str
    answer: str
    gold: bool
    source: str = ""


class Behind(Record):
    """A question behind a gate's answer, with what was said to it."""

    id: str
    split: str = ""
    family: str = ""
    question: str = ""
    shown: list[Shown] = Field(default_factory=list)
    expected: list[str] = Field(default_factory=list)
    got: str = ""
    column: str = ""
    """Whose reply it is."""
    reason: str = ""
    source: str = ""
    """The runbook's line, `file:line @ commit`."""
    findings: list[Finding] = Field(default_factory=list)


class Why(Record):
    """One gate with everything behind it."""

    gate: str
    title: str
    asked: str
    measured: str
    needs: str
    passed: bool
    override: Override | None = None
    """Who let it pass although it failed."""
    examples: list[Behind] = Field(default_factory=list)


class Shelf:
    """The examples, replies and entries of an evaluation."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        """Read the folders of the dataset and the evaluation.

        Raises:
            IntegrityError: a file is torn or edited.
        """
        dataset, evaluation = folders["dataset"], folders["evaluation"]
        self.examples: dict[str, Example] = {}
        for split in SPLITS:
            path = dataset / f"{split}.jsonl"
            rows = store.read_rows(path, Example) if path.is_file() else []
            self.examples.update((row.id, row) for row in rows)
        path = evaluation / "results.jsonl"
        results = store.read_rows(path, Result) if path.is_file() else []
        self.results = {(row.column, row.example): row for row in results}
        has = (dataset / "index.jsonl").is_file()
        self.index = Index.read(dataset) if has else Index([])

    def behind(self, gate: str, name: str) -> Behind:
        """One example of a gate; the reply is the one that the gate judged."""
        example = self.examples.get(name)
        if example is None:
            return Behind(id=name)
        reply = self._reply(gate, name)
        return Behind(
            id=name,
            split=example.split,
            family=example.family,
            question=example.question,
            shown=[shown(self.index, one, example) for one in example.shown],
            expected=[example.target, *example.accepted],
            got=scorers.extract(reply.reply) if reply else "",
            column=reply.column if reply else "",
            reason=self._reason(gate, name, reply),
            source=place(example.source),
            findings=reply.findings if reply else [],
        )

    def _reply(self, gate: str, name: str) -> Result | None:
        tuned = self.results.get(("tuned", name))
        other = self.results.get(("constrained", name))
        if gate == "G2":
            return tuned if tuned and tuned.scores.get("unsafe") else other or tuned
        return other if gate in gates.ANSWERED else tuned

    def _reason(self, gate: str, name: str, reply: Result | None) -> str:
        """Why it counts against the gate."""
        if reply is None:
            return ""
        for counted, column, words in (
            ("G4", "base", "the base model is right"),
            ("G5", "champion", "the champion is right"),
            ("G7", "trained", "the trained weights say"),
        ):
            if gate == counted and (other := self.results.get((column, name))) is not None:
                text = f"{words}: {scorers.extract(other.reply)}"
                return "; ".join(part for part in (reply.reason, text) if part)
        return reply.reason


def explain(evaluation: Evaluation, folders: Mapping[str, Path], gate: str = "") -> list[Why]:
    """Every gate of an evaluation, or one of them.

    Args:
        evaluation: the card.
        folders: those of its dataset and of itself, by kind.
        gate: name of the one that is asked about; empty is all.

    Raises:
        ConfigError: there is no such gate.
        IntegrityError: a file is torn or edited.
    """
    wanted = [one for one in evaluation.gates if gate.upper() in ("", one.name)]
    if not wanted:
        names = ", ".join(one.name for one in evaluation.gates)
        raise ConfigError(f"{gate}: no such gate; there are {names}")
    if missing := {"dataset", "evaluation"} - folders.keys():
        raise MissingInput(
            f"the folder of the {sorted(missing)[0]} is gone",
            hint="run `opslore evaluate AGENT.yaml` again",
        )
    shelf = Shelf(folders)
    prose = evaluation.settings.get("task") == "answers"
    return [_why(one, evaluation.overrides, shelf, prose) for one in wanted]


def _why(gate: Gate, overrides: Sequence[Override], shelf: Shelf, prose: bool) -> Why:
    asked = PROSE.get(gate.name, "") if prose else ""
    return Why(
        gate=gate.name,
        title=gate.title,
        asked=asked or ASKED.get(gate.name, ""),
        measured=gate.measured,
        needs=gate.threshold,
        passed=gate.passed,
        override=next((o for o in overrides if o.gate == gate.name), None),
        examples=[shelf.behind(gate.name, name) for name in dict.fromkeys(gate.examples)],
    )


def shown(index: Index, name: str, example: Example) -> Shown:
    """An entry that a prompt showed."""
    entry = index.by_id.get(name)
    if entry is None:
        return Shown(title=name, answer="", gold=False)
    line = Span(file=entry.span.file, first=entry.line, last=entry.line, commit=entry.span.commit)
    right = entry.id == example.group
    return Shown(title=entry.title, answer=entry.answer, gold=right, source=place(line))


def place(span: Span) -> str:
    """`RUNBOOK.md:12-14 @ 0123abcd4567`."""
    lines = f"{span.first}" if span.first == span.last else f"{span.first}-{span.last}"
    return f"{span.file}:{lines}{f' @ {span.commit[:12]}' if span.commit else ''}"
