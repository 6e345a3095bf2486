"""One self-contained page for somebody who doubts the model: everything that was measured.

No script, no font, no image from elsewhere: the file can be mailed, archived and printed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opslore import report_calibration, report_prose, store, why
from opslore import report_charts as charts
from opslore.cards import (
    COUNTED,
    TESTS,
    Bundle,
    Card,
    Dropped,
    Evaluation,
    Example,
    Finding,
    Result,
)
from opslore.errors import IntegrityError
from opslore.evaluation import gate, scorers, scores, table
from opslore.index import Index
from opslore.sources.coverage import Coverage

MOST = 12
"""Examples behind a gate that the page shows; `opslore why` shows all."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer beside the right one."""

    id: str
    split: str
    family: str
    question: str
    shown: list[why.Shown]
    expected: list[str]
    got: str
    reason: str
    source: str
    others: list[tuple[str, str, bool]]
    """(column, its answer, whether it was right) of the other columns."""
    findings: list[Finding]


def page(agent: str, cards: Sequence[Card], folders: Mapping[str, Path]) -> str:
    """The report of one run as HTML.

    Args:
        agent: the agent's name.
        cards: every card of the run, in the order of the steps.
        folders: the folder of each card by its kind (`corpus`, `dataset`, `adapter`, `bundle`,
            `evaluation`); what is missing is said to be missing.

    Raises:
        IntegrityError: a file in one of the folders is torn or edited.
    """
    evaluation = next((card for card in cards if isinstance(card, Evaluation)), None)
    prose = evaluation is not None and table.is_prose(evaluation)
    known, pairs, asked = report_prose.pairs(folders) if prose else ([], [], 0)
    examples = {e.id: e for e in _examples(folders.get("dataset")) if e.split in TESTS}
    wrong = list(_mistakes(examples, folders)) if evaluation and not prose else []
    text: str = _template().render(
        agent=agent,
        evaluation=evaluation,
        failed=gate.reasons(evaluation.gates, evaluation.overrides) if evaluation else [],
        overrides=[one.told() for one in evaluation.overrides] if evaluation else [],
        whys=_whys(evaluation, folders),
        most=MOST,
        columns=table.present(evaluation) if evaluation else [],
        rows=table.cells(evaluation) if evaluation else [],
        caption=table.caption(evaluation) if evaluation else "",
        prose=prose,
        known_questions=known,
        pairs=pairs,
        asked=asked,
        **_sure(evaluation),
        families=charts.families(_bars(evaluation)) if evaluation else "",
        mistakes=wrong,
        known=frozenset(m.id for m in wrong) | frozenset(p.id for p in [*known, *pairs]),
        coverage=_coverage(folders.get("corpus")),
        dataset=_dataset(folders.get("dataset")),
        dropped=_dropped(folders.get("dataset")),
        loss=charts.losses(_losses(folders.get("adapter"))),
        bundle=next((card for card in cards if isinstance(card, Bundle)), None),
        cards=[(card.kind, _provenance(card)) for card in cards],
    )
    return text


def _whys(evaluation: Evaluation | None, folders: Mapping[str, Path]) -> list[why.Why]:
    if evaluation is None or not {"dataset", "evaluation"} <= folders.keys():
        return []
    return why.explain(evaluation, folders)


def _sure(evaluation: Evaluation | None) -> dict[str, Any]:
    """What the page says about abstention."""
    found = evaluation.calibration if evaluation else None
    return {
        "sure": report_calibration.told(found),
        "sure_curve": report_calibration.curve(found),
        "sure_table": report_calibration.table(found),
        "sure_signals": report_calibration.signals(found),
    }


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = files("opslore").joinpath("report.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _examples(folder: Path | None) -> Iterator[Example]:
    for split in COUNTED if folder else ():
        path = folder / f"{split}.jsonl"  # type: ignore[operator]
        if path.is_file():
            yield from store.read_rows(path, Example)


def _mistakes(examples: Mapping[str, Example], folders: Mapping[str, Path]) -> Iterator[Mistake]:
    """Every wrong answer of the shipped model, the dangerous ones first."""
    if "evaluation" not in folders or "dataset" not in folders:
        return
    rows = store.read_rows(folders["evaluation"] / "results.jsonl", Result)
    results = {(row.column, row.example): row for row in rows}
    index = Index.read(folders["dataset"])
    wrong = [
        row
        for (column, _), row in results.items()
        if column == "tuned" and row.example in examples and _wrong(row, examples[row.example])
    ]
    for row in sorted(wrong, key=lambda r: (-r.scores.get("unsafe", 0.0), r.example)):
        example = examples[row.example]
        others = [
            (column, scorers.extract(other.reply), other.scores.get("equivalent") == 1.0)
            for column in scores.COLUMNS
            if column != "tuned" and (other := results.get((column, row.example))) is not None
        ]
        yield Mistake(
            id=row.example,
            split=example.split,
            family=example.family,
            question=example.question,
            shown=[why.shown(index, name, example) for name in example.shown],
            expected=[example.target, *example.accepted],
            got=scorers.extract(row.reply),
            reason=row.reason,
            source=why.place(example.source),
            others=others,
            findings=row.findings,
        )


def _wrong(row: Result, example: Example) -> bool:
    """An attack is answered wrong when the answer is unsafe, or no command of the runbook."""
    if example.split == "s4":
        return bool(row.scores.get("unsafe") or row.scores.get("outside"))
    return row.scores.get("equivalent") != 1.0


def _bars(evaluation: Evaluation) -> list[charts.Bar]:
    """Families of S1 with the model and the first entry of the index beside each other."""
    found: dict[tuple[str, str], list[tuple[str, float, float, float, int]]] = {}
    for score in evaluation.scores:
        head, _, family = score.name.partition(":")
        if head == "equivalent" and family and score.split in TESTS:
            mark = (score.column, score.value, score.low, score.high, score.n)
            found.setdefault((score.split, family), []).append(mark)
    return [
        charts.Bar(f"{split.upper()} {family}", marks)
        for (split, family), marks in sorted(found.items())
    ]


def _coverage(folder: Path | None) -> Coverage | None:
    path = folder / "coverage.json" if folder else None
    if path is None or not path.is_file():
        return None
    try:
        return Coverage.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(
            f"{path}: not a coverage report: {error.errors()[0]['msg']}",
            hint="run `opslore collect AGENT.yaml` again",
        ) from error


def _dataset(folder: Path | None) -> list[tuple[str, list[int], int]]:
    """(family, examples per split, sum); the last row is the sum of all."""
    counts: dict[str, Counter[str]] = {}
    for example in _examples(folder):
        counts.setdefault(example.family, Counter())[example.split] += 1
    rows = [(name, [c[s] for s in COUNTED], c.total()) for name, c in sorted(counts.items())]
    if rows:
        sums = [sum(c[s] for c in counts.values()) for s in COUNTED]
        rows.append(("all", sums, sum(sums)))
    return rows


def _dropped(folder: Path | None) -> list[tuple[str, int]]:
    path = folder / "dropped.jsonl" if folder else None
    if path is None or not path.is_file():
        return []
    return Counter(row.reason for row in store.read_rows(path, Dropped)).most_common()


def _losses(folder: Path | None) -> list[charts.Loss]:
    path = folder / "loss.jsonl" if folder else None
    if path is None or not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [charts.Loss(int(r["step"]), float(r["loss"]), r["valid_loss"]) for r in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not a loss log: {error!r}") from error


def _provenance(card: Card) -> list[tuple[str, str]]:
    """A card's own short fields, as text."""
    skip = {"calibration", "scores", "gates", "settings", "headline", "overrides"}
    out = []
    for name, value in card.model_dump().items():
        if name in skip or value in ("", [], {}):
            continue
        if isinstance(value, float):
            text = f"{value:.4g}" if math.isfinite(value) else "unknown"
        elif isinstance(value, list):
            text = ", ".join(str(item) for item in value)
        elif isinstance(value, dict):
            text = ", ".join(f"{key} {item}" for key, item in value.items())
        else:
            text = str(value)
        out.append((name, text))
    return out
