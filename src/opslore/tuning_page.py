"""A sweep as one HTML page: every trial beside the configured settings, with its interval."""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from opslore import report_charts as charts
from opslore.tuning_found import Found, Row

WIDTH, LEFT, NUMBERS, STEP = 1040, 380, 190, 22
"""The chart, its room for names and for numbers, and the height of a row, in SVG units."""


def page(found: Found) -> str:
    """The page; no script, no font, no image from elsewhere."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = files("opslore").joinpath("tuning.html").read_text(encoding="utf-8")
    shown: str = environment.from_string(text).render(
        found=found,
        short=chart([row for row in found.trials if not row.whole], "short trials"),
        whole=chart([row for row in found.trials if row.whole], "full trainings"),
        keys=list(found.trials[0].settings) if found.trials else [],
    )
    return shown


def chart(rows: list[Row], what: str) -> Markup:
    """A dot with its interval per trial, on a common scale around 0."""
    drawn = [(row, row.difference) for row in rows if row.difference is not None]
    if not drawn:
        return Markup("")
    # One hopeless trial must not squeeze the others: the scale is that of the differences.
    most = max(abs(gap.value) for _, gap in drawn) * 1.5 or 1.0
    height = STEP * len(drawn) + 44
    right = WIDTH - NUMBERS

    def x(value: float) -> float:
        share = (max(-most, min(most, value)) + most) / (2 * most)
        return LEFT + (right - LEFT) * share

    title = f"Nats per token more than the configured settings, {what}"
    parts = [charts.opened(WIDTH, height, title)]
    for value in (-most, -most / 2, 0.0, most / 2, most):
        parts.append(charts.line(x(value), 4, x(value), height - 36, "grid"))
        parts.append(charts.text(x(value), height - 22, f"{value:.2g}", "middle"))
    parts.append(charts.text((LEFT + right) / 2, height - 4, title, "middle"))
    for place, (row, gap) in enumerate(drawn):
        at = 16 + STEP * place
        parts.append(charts.text(LEFT - 10, at + 4, row.name, "end"))
        parts.append(charts.line(x(gap.low), at, x(gap.high), at, "bar"))
        parts.append(f'<circle class="dot" cx="{x(gap.value):.1f}" cy="{at}" r="4"/>')
        told = f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        parts.append(charts.text(right + 10, at + 4, told, "start"))
    return Markup("".join([*parts, "</svg>"]))
