"""The report's charts as inline SVG: they follow the page's colours, scale, and print sharp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 260
"""Of the loss chart, in SVG units."""
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
"""Margins that hold the axes' words."""
SMOOTH = 0.9
"""Share of the running mean that each step keeps."""


class Loss(NamedTuple):
    """One optimiser step."""

    step: int
    loss: float
    valid: float | None


class Bar(NamedTuple):
    """One family's score: its name and (column, value, low, high, n) of each column."""

    name: str
    marks: list[tuple[str, float, float, float, int]]


def losses(rows: Sequence[Loss]) -> Markup:
    """Training loss per step (thin), its running mean, and the validation losses (dots)."""
    if not rows:
        return Markup("")
    seen = [row.loss for row in rows] + [row.valid for row in rows if row.valid is not None]
    top = max(v for v in seen if math.isfinite(v))
    last = max(rows[-1].step, 1)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, top) / top

    parts = [opened(WIDTH, HEIGHT, "Training and validation loss by step")]
    for value in ticks(top):
        parts.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid"))
        parts.append(text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    for step in ticks(last):
        parts.append(text(x(step), HEIGHT - BOTTOM + 16, f"{step:g}", "middle"))
    parts.append(text(WIDTH / 2, HEIGHT - 2, "step", "middle"))
    parts.append(path([(x(r.step), y(r.loss)) for r in rows if math.isfinite(r.loss)], "raw"))
    parts.append(path([(x(s), y(v)) for s, v in _smoothed(rows)], "mean"))
    for row in rows:
        if row.valid is not None and math.isfinite(row.valid):
            parts.append(
                f'<circle class="valid" cx="{x(row.step):.1f}" cy="{y(row.valid):.1f}" r="4"/>'
            )
    return Markup("".join([*parts, "</svg>"]))


def families(bars: Sequence[Bar]) -> Markup:
    """A dot with its error bar per family and column, on a common scale from 0 to 1."""
    if not bars:
        return Markup("")
    left, width, step = 150, 720, 15
    heights = [step * len(bar.marks) + 12 for bar in bars]
    height = sum(heights) + 30
    parts = [
        opened(width, height, "Share of right answers by phrasing family, with 95 % intervals")
    ]

    def x(value: float) -> float:
        return left + (width - left - 92) * value

    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(x(value), 4, x(value), height - 26, "grid"))
        parts.append(text(x(value), height - 8, f"{value:g}", "middle"))
    top = 10.0
    for bar, room in zip(bars, heights, strict=True):
        parts.append(text(left - 12, top + (room - 12) / 2 + 4, bar.name, "end"))
        for place, (column, value, low, high, n) in enumerate(bar.marks):
            at = top + step * place + step / 2
            parts.append(line(x(low), at, x(high), at, f"bar {column}"))
            parts.append(
                f'<circle class="dot {escape(column)}" cx="{x(value):.1f}" cy="{at:.1f}" r="4"/>'
            )
            parts.append(text(width - 80, at + 4, f"{value:.2f} n {n}", "start"))
        top += room
    return Markup("".join([*parts, "</svg>"]))


def _smoothed(rows: Sequence[Loss]) -> list[tuple[int, float]]:
    out: list[tuple[int, float]] = []
    mean = rows[0].loss
    for row in rows:
        if math.isfinite(row.loss):
            mean = SMOOTH * mean + (1 - SMOOTH) * row.loss
        out.append((row.step, mean))
    return out


def ticks(top: float) -> list[float]:
    """Four to eight round numbers from 0 to the top."""
    if top <= 0:
        return [0.0]
    rough = top / 5
    power = 10 ** math.floor(math.log10(rough))
    size = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [size * i for i in range(int(top / size) + 1)]


def opened(width: float, height: float, title: str) -> str:
    """The start of a chart with its title for readers that cannot see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}"'
        f' class="chart">'
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{escape(kind)}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, text: str, anchor: str) -> str:
    """A few words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{steps}"/>'
