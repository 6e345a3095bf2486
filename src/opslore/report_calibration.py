"""The report's page on abstention: risk by coverage, and what tells right answers from wrong."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from opslore import report_charts as charts
from opslore.calibrated import SIGNALS, WATCHED
from opslore.cards import Calibration, Point

STOPS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the most answers that can be shown, for the table."""

NAMES = {
    "margin": "model: command against escalate_to_human",
    "confidence": "model: its words (watched, no voter)",
    "fit": "index: lead of the best entry",
    "cosine": "index: nearness in meaning",
    "vote": "all of them",
}


def curve(found: Calibration | None) -> Markup:
    """Share of wrong answers by share of questions answered; the chosen threshold is a dot."""
    if found is None or not found.curve:
        return Markup("")
    top = max(0.1, *(point.risk for point in found.curve))

    def x(coverage: float) -> float:
        return charts.LEFT + (charts.WIDTH - charts.LEFT - charts.RIGHT) * coverage

    def y(risk: float) -> float:
        room = charts.HEIGHT - charts.TOP - charts.BOTTOM
        return charts.HEIGHT - charts.BOTTOM - room * risk / top

    floor = charts.HEIGHT - charts.BOTTOM
    parts = [charts.opened(charts.WIDTH, charts.HEIGHT, "Share of wrong answers by coverage")]
    for value in charts.ticks(top):
        right = charts.WIDTH - charts.RIGHT
        parts.append(charts.line(charts.LEFT, y(value), right, y(value), "grid"))
        parts.append(charts.text(charts.LEFT - 6, y(value) + 4, f"{value:.0%}", "end"))
    for value in charts.ticks(1.0):
        parts.append(charts.text(x(value), floor + 16, f"{value:.0%}", "middle"))
    parts.append(
        charts.text(charts.WIDTH / 2, charts.HEIGHT - 2, "validation questions answered", "middle")
    )
    parts.append(charts.path([(x(p.coverage), y(p.risk)) for p in found.curve], "mean"))
    parts.append(
        f'<circle class="valid" cx="{x(found.coverage):.1f}" cy="{y(found.risk):.1f}" r="5"/>'
    )
    return Markup("".join([*parts, "</svg>"]))


def table(found: Calibration | None) -> list[Point]:
    """The curve at a few coverages, the chosen threshold among them."""
    if found is None or not found.curve:
        return []
    most = found.curve[-1].coverage
    chosen = Point(threshold=found.threshold, coverage=found.coverage, risk=found.risk)
    rows = {(p.coverage, p.threshold): p for p in [chosen, *_stops(found.curve, most)]}
    return [rows[key] for key in sorted(rows)]


def _stops(points: Sequence[Point], most: float) -> list[Point]:
    return [min(points, key=lambda p: abs(p.coverage - stop * most)) for stop in STOPS]


def signals(found: Calibration | None) -> list[tuple[str, float]]:
    """(what it is, AUROC) of each signal alone, the best first, then of the vote."""
    if found is None:
        return []
    alone = [
        (NAMES[name], found.auroc[name]) for name in (*SIGNALS, *WATCHED) if name in found.auroc
    ]
    alone.sort(key=lambda pair: -pair[1])
    return [*alone, (NAMES["vote"], found.auroc["vote"])] if "vote" in found.auroc else alone


def told(found: Calibration | None) -> str:
    """The calibration in a sentence or two; who does the work."""
    if found is None:
        return (
            "Too few validation questions were answered to learn how sure is sure enough: "
            "a fixed threshold on the model's confidence is used."
        )
    said = (
        f"An answer is shown when answers like it are right at least {found.threshold:.0%} of the "
        f"time; else a person is asked. Of {found.n} validation questions, those without an answer "
        f"included, {found.coverage:.0%} are answered so, and {found.risk:.1%} of these answers "
        f"are wrong (upper bound {found.bound:.1%}). The probability is off by {found.ece:.3f} on "
        "average (ECE)."
    )
    ranked = signals(found)
    if not ranked:
        return f"{said} Every answer was right, or every one wrong: no signal could prove itself."
    name, best = ranked[0]
    return (
        f"{said} What does the work: {name} (AUROC {best:.2f}; the vote {ranked[-1][1]:.2f}, "
        "0.5 is chance)."
    )
