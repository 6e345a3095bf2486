"""What a sweep found, with error bars: every trial beside the configured settings of its length."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opslore.config_train import Train
from opslore.evaluation import statistics
from opslore.record import Record
from opslore.tuning import FINALISTS, Done, Outcome
from opslore.tuning_space import CONFIGURED, Trial
from opslore.tuning_trials import Loss, Trials

LEVEL = 1 - 0.05 / FINALISTS
"""Two-sided level of an interval, so that those of all finalists hold together 95 % of the time
(Bonferroni)."""

SEARCHED = (
    "learning_rate", "lora_rank", "lora_alpha", "lora_layers", "batch_size", "general", "iters",
)  # fmt: skip
"""The keys of `train` that a candidate may change."""


class Difference(Record):
    """Nats per completion token more than the configured settings (below 0: better)."""

    value: float
    low: float
    high: float


class Change(Record):
    """A key of `train`, as it was and as it should be."""

    key: str
    old: float | int
    new: float | int


class Row(Record):
    """One trial."""

    name: str
    id: str
    whole: bool
    settings: dict[str, float | int]
    seed: int
    steps: int
    loss: float | None
    """Nats per completion token of the validation split; None when the training failed."""
    difference: Difference | None
    """From the configured settings trained as long, on the same examples."""
    seconds: float
    failure: str


class Found(Record):
    """The result of a sweep."""

    agent: str
    base_model: str
    dataset: str = ""
    examples: int
    """Of the validation split."""
    groups: int
    """Alerts, threads or pages that they are about."""
    minutes: float
    spent: float
    """Minutes that the sweep's trials took."""
    ended: str
    seed_gap: float | None
    """Nats per token between two short trainings that differ in the seed alone, or None."""
    level: float
    """Two-sided level of the differences' intervals."""
    trials: list[Row]
    winner: str
    """Name of the trial that won; empty when the configured settings stay."""
    changes: list[Change]
    verdict: str
    page: str = ""


def found(trials: Trials, outcome: Outcome, minutes: float, spent: float) -> Found:
    """Compare every trial with the configured settings, and choose.

    Args:
        trials: where their losses are.
        outcome: what the sweep has seen.
        minutes: what it was given.
        spent: what it took, in minutes.
    """
    rows = {trial: _row(trials, outcome, trial) for trial in outcome.done}
    winner = _winner(rows, outcome.finalists)
    changes = _changes(trials.agent.train, outcome.done[winner].settings) if winner else []
    return Found(
        agent=trials.agent.name,
        base_model=trials.agent.base_model,
        examples=len(trials.valid),
        groups=trials.groups,
        minutes=minutes,
        spent=round(spent, 2),
        ended=outcome.ended,
        seed_gap=outcome.gap if math.isfinite(outcome.gap) else None,
        level=LEVEL,
        trials=list(rows.values()),
        winner=rows[winner].name if winner else "",
        changes=changes,
        verdict=_verdict(rows, outcome, winner),
    )


def _winner(rows: dict[Trial, Row], finalists: Sequence[Trial]) -> Trial | None:
    """The finalist with the lowest loss of those that are better beyond the noise."""
    better = [t for t in finalists if (d := rows[t].difference) is not None and d.high < 0]
    return min(better, key=lambda t: rows[t].loss or math.inf, default=None)


def _row(trials: Trials, outcome: Outcome, trial: Trial) -> Row:
    done = outcome.done[trial]
    beside = outcome.done.get(CONFIGURED._replace(whole=trial.whole))
    differs = beside is not None and trial.point != CONFIGURED.point and done.loss is not None
    return Row(
        name=trial.named(done.settings),
        id=done.id,
        whole=trial.whole,
        settings={key: getattr(done.settings, key) for key in SEARCHED},
        seed=done.settings.seed,
        steps=done.steps,
        loss=done.loss,
        difference=_difference(trials, done, beside, outcome.gap) if beside and differs else None,
        seconds=round(done.wall, 1),
        failure=done.failure,
    )


def _difference(trials: Trials, one: Done, other: Done, seed: float) -> Difference | None:
    """The interval holds which alerts were asked, and what another seed would have changed.

    The squared difference of two trainings whose seeds alone differ is an unbiased estimate of
    that difference's variance, of one degree of freedom.
    """
    if not math.isfinite(seed):
        return None
    ours, theirs = trials.losses(one), trials.losses(other)
    gap = statistics.gap(*_paired(ours, theirs), level=LEVEL, more=seed)
    return Difference(value=gap.value, low=gap.low, high=gap.high)


def _paired(
    ours: Sequence[Loss], theirs: Sequence[Loss]
) -> tuple[list[float], list[float], list[str]]:
    pairs = list(zip(ours, theirs, strict=True))
    return (
        [a.nats - b.nats for a, b in pairs],
        [float(b.tokens) for _, b in pairs],
        [b.group for _, b in pairs],
    )


def _changes(old: Train, new: Train) -> list[Change]:
    both = [(key, getattr(old, key), getattr(new, key)) for key in SEARCHED]
    return [Change(key=key, old=was, new=now) for key, was, now in both if was != now]


def _verdict(rows: dict[Trial, Row], outcome: Outcome, winner: Trial | None) -> str:
    """The result in a sentence."""
    if winner is not None and (gap := rows[winner].difference) is not None:
        return (
            f"{rows[winner].name}: {-gap.value:.4f} nats per token better than the configured"
            f" settings, {_interval(-gap.high, -gap.low)}"
        )
    if not math.isfinite(outcome.gap):
        return "the configured settings fail with another seed: nothing can be compared"
    if outcome.promising and not outcome.finalists:
        return (
            f"{rows[outcome.promising[0]].name} was better in a short trial, but the time was up"
            " before the full one: the configured settings stay"
        )
    if not outcome.finalists:
        return (
            "no short trial was better than the configured settings by more than another seed"
            f" changes ({outcome.gap:.4f} nats per token): they stay"
        )
    told = [
        f"{rows[trial].name}: {_interval(gap.low, gap.high)} more nats per token"
        if (gap := rows[trial].difference)
        else f"{rows[trial].name}: {rows[trial].failure}"
        for trial in outcome.finalists
    ]
    return f"nothing is better beyond the noise ({'; '.join(told)}): the configured settings stay"


def _interval(low: float, high: float) -> str:
    return f"{LEVEL:.1%} interval [{low:.4f}, {high:.4f}]"
