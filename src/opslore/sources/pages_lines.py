"""Small work on lines of Markdown: their indent, a label, and where something closes."""

from __future__ import annotations

import re


class Rows(list[str]):
    """Lines that remember which ends they do not have, so that nobody looks twice."""

    def __init__(self, lines: list[str]) -> None:
        """Copy them."""
        super().__init__(lines)
        self.without: set[re.Pattern[str]] = set()


def closing(lines: list[str], at: int, stop: re.Pattern[str]) -> int:
    """The line, from one on, that closes something; -1 without one."""
    assert isinstance(lines, Rows)
    if stop in lines.without:
        return -1
    end = next((n for n in range(at, len(lines)) if stop.search(lines[n])), -1)
    if end < 0:
        lines.without.add(stop)
    return end


def bold(label: str) -> str:
    """A label on a line of its own."""
    return f"**{label.strip().rstrip(':').replace('*', '')}:**"


def indent(line: str) -> int:
    """Columns that a line is indented by."""
    wide = line.expandtabs(4)
    return len(wide) - len(wide.lstrip(" "))


def dedented(lines: list[str]) -> list[str]:
    """The lines without the indent they all have."""
    margin = min((indent(line) for line in lines if line.strip()), default=0)
    if not margin:
        return lines
    return [line.expandtabs(4)[margin:] if line.strip() else "" for line in lines]
