"""The report's part for answers in prose: each question with both models' answers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opslore import store
from opslore.cards import Example, Finding, Result

SHOWN = 40
"""Test prompts on the page, the unsafe and the least like their reference first."""

_NAMES = {
    "rouge": "ROUGE-L",
    "recall_commands": "commands",
    "recall_flags": "flags",
    "recall_ports": "ports",
    "recall_identifiers": "identifiers",
}


@dataclass(frozen=True)
class Reply:
    """What one model said."""

    column: str
    text: str
    scores: str
    """Its scores in words."""
    reason: str
    findings: list[Finding]


@dataclass(frozen=True)
class Pair:
    """A question with the replies of both models; `reference` is empty where nobody knows one."""

    id: str
    question: str
    reference: str
    source: str
    replies: list[Reply]
    judge: str
    """The judge's verdict, if one was asked."""


def pairs(folders: Mapping[str, Path]) -> tuple[list[Pair], list[Pair], int]:
    """The fixed questions, test prompts, and how many test prompts there are in all.

    Raises:
        IntegrityError: a file is torn or edited.
    """
    if not {"evaluation", "dataset"} <= folders.keys():
        return [], [], 0
    rows = store.read_rows(folders["evaluation"] / "results.jsonl", Result)
    results = {(row.column, row.example): row for row in rows}
    known = _pairs(folders["evaluation"] / "known.jsonl", results)
    tests = _pairs(folders["dataset"] / "test.jsonl", results)
    tests.sort(key=lambda pair: _worst(results["tuned", pair.id]))
    return known, tests[:SHOWN], len(tests)


def _worst(result: Result) -> tuple[float, float, str]:
    unsafe = result.scores.get("unsafe", 0.0)
    return -unsafe, result.scores.get("rouge", 0.0), result.example


def _pairs(path: Path, results: Mapping[tuple[str, str], Result]) -> list[Pair]:
    if not path.is_file():
        return []
    return [
        _pair(example, results)
        for example in store.read_rows(path, Example)
        if ("tuned", example.id) in results
    ]


def _pair(example: Example, results: Mapping[tuple[str, str], Result]) -> Pair:
    found = [results.get((column, example.id)) for column in ("tuned", "base")]
    span = example.source
    place = example.labels.get("url") or f"{span.file}:{span.first}-{span.last}"
    return Pair(
        id=example.id,
        question=example.question,
        reference=example.target,
        source="" if example.family == "known" else place,
        replies=[_reply(one) for one in found if one is not None],
        judge=_verdict(results.get(("judge", example.id))),
    )


def _reply(result: Result) -> Reply:
    told = [
        f"{title} {result.scores[name]:.2f}"
        for name, title in _NAMES.items()
        if name in result.scores
    ]
    if result.scores.get("stopped") == 0.0:
        told.append("cut off")
    return Reply(
        column=result.column,
        text=result.reply,
        scores=", ".join(told),
        reason=result.reason,
        findings=list(result.findings),
    )


def _verdict(result: Result | None) -> str:
    if result is None:
        return ""
    names: Sequence[str] = ("won", "lost", "tied")
    said = {"won": "prefers tuned", "lost": "prefers base", "tied": "undecided"}
    return next(said[name] for name in names if result.scores.get(name) == 1.0)
