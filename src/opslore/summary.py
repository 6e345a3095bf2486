"""Cards in words: one line each, and the tables that `collect`, `prepare` and `evaluate` print."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich import box
from rich.table import Table

from opslore import store
from opslore.cards import (
    Adapter,
    Bundle,
    Card,
    Corpus,
    Dataset,
    Deployment,
    Dropped,
    Evaluation,
    Gate,
    Release,
)
from opslore.dataset.approved import Waiting
from opslore.evaluation.scores import find
from opslore.sources.coverage import Coverage

SHOWN = 10
"""Rows of a list that the terminal shows; the file beside the card has all of them."""


def line(card: Card) -> str:
    """What a card says, in one line."""
    match card:
        case Corpus():
            commit = f", commit {card.commit[:12]}" if card.commit else ""
            return f"{card.documents} documents, {card.dropped} dropped{commit}"
        case Dataset():
            counts = ", ".join(f"{count} {name}" for name, count in card.splits.items())
            return f"{counts}; {card.dropped} dropped"
        case Adapter():
            valid = "" if card.valid_loss is None else f", validation {card.valid_loss:.3f}"
            return f"{card.steps} steps on {card.base_model}, loss {card.loss:.3f}{valid}"
        case Bundle():
            return f"{card.quantization}, {card.commands} commands, gguf {card.gguf_sha256[:12]}"
        case Evaluation():
            return f"{verdict(card)}{_scores(card)}"
        case Release():
            return f"{card.version} in {card.registry}"
        case Deployment():
            return (
                f"{card.version}: {', '.join(card.targets) or 'no targets, it stays in the store'}"
            )
    return card.uri


def verdict(card: Evaluation) -> str:
    """Whether the gate let it pass, and if not, who refused."""
    let = {one.gate: one.person for one in card.overrides}
    refused = [gate.name for gate in card.gates if not gate.passed and gate.name not in let]
    if refused:
        return f"refused by {', '.join(refused)}"
    told = ", ".join(f"{gate} overridden by {person}" for gate, person in let.items())
    return f"passed, {told}" if let else "passed every gate"


def _scores(card: Evaluation) -> str:
    """The headline numbers of the shipped model."""
    named = {
        "S1": ("s1", "equivalent"),
        "S2": ("s2", "equivalent"),
        "S3 error": ("s3", "answered"),
        "S4 unsafe": ("s4", "unsafe"),
        "S6": ("s6", "equivalent"),
    }
    found = {title: find(card, "tuned", *where) for title, where in named.items()}
    told = [f"{title} {s.value:.2f} of {s.n}" for title, s in found.items() if s is not None]
    for title, name in (("loss", "loss"), ("ROUGE-L", "rouge")):
        pair = [find(card, column, "test", name) for column in ("tuned", "base")]
        if pair[0] is not None and pair[1] is not None:
            told.append(f"{title} {pair[0].value:.3f}, base {pair[1].value:.3f} of {pair[0].n}")
    return f"; {', '.join(told)}" if told else ""


def gate_line(gate: Gate) -> str:
    """A gate as one line: its answer, what was measured, what was asked."""
    word = "pass" if gate.passed else "FAIL"
    return f"{word}  {gate.name}  {gate.title}: {gate.measured}; needs {gate.threshold}"


def coverage(folder: Path) -> list[Table | str]:
    """The coverage report of a corpus folder, as tables and lines."""
    found = Coverage.model_validate_json((folder / "coverage.json").read_bytes())
    if not found.alerts:
        return [sources(found), f"all of it: {folder / 'coverage.json'}"]
    counts = _table("Coverage")
    for name, count in (
        ("files read", found.files or len(found.per_file)),
        ("alerts", found.alerts),
        ("with a resolution command", found.with_resolution),
        ("with investigation commands only", found.only_investigation),
        ("without commands (teach to escalate)", found.without_commands),
        ("commands", found.commands),
        ("alerts of the same name", len(found.duplicates)),
        ("alerts with the same commands", len(found.same_commands)),
        ("conflicting: same alert, different resolutions", len(found.conflicting)),
        ("destructive commands", len(found.destructive)),
        *((f"skipped: {reason}", count) for reason, count in found.skipped.items()),
    ):
        counts.add_row(name, str(count))
    out: list[Table | str] = [counts, *([sources(found)] if len(found.sources) > 1 else [])]
    out += _some("conflicting", [f"{g.what}: {', '.join(g.alerts)}" for g in found.conflicting])
    out += _some("same name", [f"{g.what}: {', '.join(g.alerts)}" for g in found.duplicates])
    out += _some("destructive", [f"{d.place} {d.alert}: {d.command}" for d in found.destructive])
    return [*out, f"all of it: {folder / 'coverage.json'}"]


def sources(found: Coverage) -> Table:
    """What each source gave, and why the rest was left out."""
    table = Table("source", "kept", "left out", box=box.SIMPLE, title="Sources")
    table.title_justify = "left"
    for row in found.sources:
        kept = ", ".join(f"{count} {kind}s" for kind, count in row.kinds.items())
        first, *others = [f"{count} {reason}" for reason, count in sorted(
            row.dropped.items(), key=lambda item: -item[1]
        )] or [""]  # fmt: skip
        table.add_row(row.source, kept or "0", first)
        for reason in others:
            table.add_row("", "", reason)
    return table


def dataset(card: Dataset, folder: Path) -> list[Table | str]:
    """Examples per split, and why others were dropped."""
    if card.sources:
        return _answers(card, folder)
    counts = _table("Examples")
    meaning = {
        "train": "trained",
        "valid": "validation loss, alerts never trained",
        "s1": "test: trained alerts, new phrasings",
        "s2": "test: alerts never trained",
        "s3": "test: unknown alerts, to be escalated",
        "s4": "test: attacks and traps",
        "s6": "test: questions that people wrote",
    }
    for name, count in card.splits.items():
        counts.add_row(f"{name}  {meaning.get(name, '')}", str(count))
    reasons = Counter(row.reason for row in store.read_rows(folder / "dropped.jsonl", Dropped))
    for reason, count in reasons.most_common():
        counts.add_row(f"dropped: {reason}", str(count))
    return [counts]


def _answers(card: Dataset, folder: Path) -> list[Table | str]:
    """Answers in prose: per source what was read, kept, and dropped for which reason."""
    splits = _table("Pairs")
    for name, meaning in (
        ("train", "trained"),
        ("valid", "validation loss, threads and pages never trained"),
        ("test", "test, threads and pages never trained"),
    ):
        splits.add_row(f"{name}  {meaning}", str(card.splits.get(name, 0)))
    out: list[Table | str] = [splits]
    for found in card.sources:
        rows = _table(found.source)
        rows.add_row("documents read", str(found.documents))
        rows.add_row("candidates (threads, questions to sections)", str(found.candidates))
        rows.add_row("kept", str(found.kept))
        for title, counts in (
            ("dropped", found.dropped),
            ("posts passed over", found.posts),
            ("masked", found.masked),
        ):
            for reason, count in sorted(counts.items(), key=lambda row: (-row[1], row[0])):
                rows.add_row(f"{title}: {reason}", str(count))
        out.append(rows)
    waits = sum(1 for _ in store.read_rows(folder / "waiting.jsonl", Waiting))
    if waits:
        out.append(f"{waits} answers wait for a person: opslore review AGENT.yaml")
    return [*out, f"all of it: {folder / 'sources.json'}"]


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, title=title, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    return table


def _some(what: str, rows: list[str]) -> list[Table | str]:
    shown: list[Table | str] = [f"{what}: {' '.join(row.split())}" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        shown.append(f"{what}: and {len(rows) - SHOWN} more")
    return shown
