"""The evaluation as one table: what was asked down the side, who answered along the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opslore.cards import Evaluation, Score
from opslore.evaluation.scores import COLUMNS, FORMATS, find

if TYPE_CHECKING:
    from rich.table import Table


class Row(NamedTuple):
    """One line of the table: what is counted, and what that means."""

    title: str
    split: str
    name: str
    meaning: str


ROWS = [
    Row("S1", "s1", "equivalent", "trained alerts, new phrasings: the right command"),
    Row("S1_low", "s1", "bound", "S1 is at least this (one-sided 95 %)"),
    Row("S2", "s2", "equivalent", "alerts never trained, of a known section"),
    Row("S3_error", "s3", "answered", "unknown alerts that were answered, not escalated"),
    Row("S1 escalated", "s1", "escalated", "trained alerts that were escalated, not answered"),
    Row("S4 unsafe", "s4", "unsafe", "attacks answered with what destroys and was not asked"),
    Row("S4 outside", "s4", "outside", "attacks answered with a command the runbook does not have"),
    Row("S6", "s6", "equivalent", "questions that people wrote: the right command"),
    *(
        Row(f"S1 {name}", "s1", f"equivalent:{name}", f"S1 questions of the form {name}")
        for name in FORMATS
    ),
    Row("S1 exact", "s1", "exact", "character by character the same"),
    Row("S1 template", "s1", "template", "the same with names and values masked"),
    Row("S1 parses", "s1", "parses", "is shell at all"),
    Row("S1 NLC2CMD", "s1", "nlc2cmd", "programs and flags in common, -1 to 1"),
    Row("S1 relevance", "s1", "relevance", "any command of the right alert"),
    Row("S1 complete", "s1", "completeness", "parameters there, named holes filled"),
    Row("S1 ungrounded", "s1", "ungrounded", "names something nobody said"),
    Row("unsafe", "all", "unsafe", "destructive and not what the runbook says, S1 to S6"),
    Row("parity", "all", "parity", "trained weights and GGUF give the same answer"),
    Row("S1 n", "s1", "n", "S1 prompts asked"),
    Row("S2 n", "s2", "n", "S2 prompts asked"),
    Row("S3 n", "s3", "n", "S3 prompts asked"),
    Row("S4 n", "s4", "n", "S4 prompts asked"),
    Row("S6 n", "s6", "n", "S6 prompts asked"),
    Row("loss", "test", "loss", "nats per token of held-out answers (less is better)"),
    Row("loss gain", "test", "loss_gain", "how much less than the base model's, paired"),
    Row("ROUGE-L", "test", "rouge", "words in the reference's order, F1"),
    Row("ROUGE-L gain", "test", "rouge_gain", "above the base model's, paired"),
    Row("commands", "test", "recall_commands", "share of the reference's commands"),
    Row("flags", "test", "recall_flags", "share of the reference's flags"),
    Row("ports", "test", "recall_ports", "share of the reference's ports"),
    Row("identifiers", "test", "recall_identifiers", "share of the reference's names"),
    Row("grounded", "test", "grounded", "share of its commands that a source has"),
    Row("named", "test", "named", "share of its names that a source has"),
    Row("ungrounded", "test", "ungrounded", "replies with a command that no source has"),
    Row("ends", "test", "stopped", "replies that end by themselves"),
    Row("judge: won", "test", "won", "the judge prefers the trained model, in both orders"),
    Row("judge: tied", "test", "tied", "no verdict that both orders share"),
    Row("judge: lost", "test", "lost", "the judge prefers the base model, in both orders"),
    Row("losses n", "test", "loss:n", "answers whose loss was taken"),
    Row("replies n", "test", "rouge:n", "replies scored"),
]


ASKED_OF = {"parity": "trained", "won": "judge", "tied": "judge", "lost": "judge"}
"""Scores that stand in the column of the shipped model, and whose they are."""


class Cell(NamedTuple):
    """A number and its error bar as text; both empty when it was not asked."""

    value: str
    interval: str


def present(evaluation: Evaluation) -> list[str]:
    """The columns that were asked; the trained weights have no column but the parity."""
    asked = {score.column for score in evaluation.scores} - {"trained"}
    return [column for column in COLUMNS if column in asked]


def cells(evaluation: Evaluation) -> list[tuple[Row, list[Cell]]]:
    """Each row with its cell per column; a row that nobody was asked is left out."""
    columns = present(evaluation)
    rows = [(row, [cell(evaluation, column, row) for column in columns]) for row in ROWS]
    return [(row, found) for row, found in rows if any(one.value for one in found)]


def table(evaluation: Evaluation) -> Table:
    """The table for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table

    out = Table(
        title=evaluation.headline,
        caption=caption(evaluation),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    out.add_column("", no_wrap=True)
    for column in present(evaluation):
        out.add_column(
            column.replace("constrained", "con-\nstrained").replace("champion", "cham-\npion"),
            justify="right",
            no_wrap=True,
        )
    for row, found in cells(evaluation):
        out.add_row(row.title, *(f"{one.value}\n{one.interval}".strip() for one in found))
    return out


PROSE_CAPTION = (
    "Means with 95 % intervals of a bootstrap by thread or page (rates: the wider of it and"
    " Wilson's); greedy decoding. tuned: the shipped GGUF, its loss that of the trained weights;"
    " base: the model before training. Recall counts only prompts whose reference has such a term."
)
CAPTION = (
    "Rates with 95 % intervals, the wider of Wilson and a bootstrap by alert; greedy decoding."
    " tuned, constrained, closed: the shipped GGUF. parity: it and the trained weights agree."
)


def caption(evaluation: Evaluation) -> str:
    """How the numbers of this evaluation are to be read."""
    return PROSE_CAPTION if is_prose(evaluation) else CAPTION


def is_prose(evaluation: Evaluation) -> bool:
    """Whether answers in prose were evaluated."""
    return evaluation.settings.get("task") == "answers"


def cell(evaluation: Evaluation, column: str, row: Row) -> Cell:
    """What one column measured for one row."""
    if row.name == "unsafe":
        found = [s for s in evaluation.scores if (s.column, s.name) == (column, "unsafe")]
        asked = sum(score.n for score in found)
        return Cell(f"{sum(s.right for s in found)}", f"of {asked}") if asked else Cell("", "")
    name = "equivalent" if row.name in ("bound", "n") else row.name.removesuffix(":n")
    if row.split == "s4" and row.name == "n":
        name = "unsafe"
    asked_of = ASKED_OF.get(name, column) if column == "tuned" else column
    score = find(evaluation, asked_of, row.split, name)
    if score is None:
        return Cell("", "")
    if row.name == "n" or row.name.endswith(":n"):
        return Cell(str(score.n), "")
    if row.name == "bound":
        return Cell(f"{score.bound:.2f}", "")
    return Cell(f"{score.value:.2f}", interval(score))


def interval(score: Score) -> str:
    """The error bar as `.88-.96`; as `± .12` for a score that may be negative."""
    if score.low < 0:
        half = max(score.value - score.low, score.high - score.value)
        return f"± {half:.2f}".replace("0.", ".", 1)
    return f"{_short(score.low)}-{_short(score.high)}"


def _short(bound: float) -> str:
    # One character less for a bound of one keeps all error bars at one width.
    text = f"{bound:.2f}"
    return "1.0" if text == "1.00" else text.removeprefix("0")
