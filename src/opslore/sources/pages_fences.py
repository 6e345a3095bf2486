"""Which lines of a Markdown text are code between fences, told line by line.

A Markdown parser needs the whole text as CommonMark; pages with tabs, includes and components are
not, and become it only when somebody knows what is code in them.
"""

from __future__ import annotations

import re

_OPEN = re.compile(
    r"(?P<before>[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]?)*)(?P<mark>`{3,}|~{3,})(?P<info>.*)$"
)
_ITEM = re.compile(r"[-*+]|\d[.)]")


class Fences:
    """Follows the fences of a text."""

    def __init__(self) -> None:
        self.mark = ""
        """The fence that is open; empty outside."""
        self.indent = ""
        """What stands before it."""
        self._need = 0
        self._quoted = False

    def inside(self, line: str) -> bool:
        """Whether the next line is code or a fence around it."""
        if self.mark and not self._left(line):
            body = line.lstrip(" \t>").rstrip() if self._quoted else line.strip()
            if len(body) >= len(self.mark) and not body.strip(self.mark[0]):
                self.mark = ""
            return True
        self.mark = ""
        found = _OPEN.match(line)
        if not found or (found["mark"][0] == "`" and "`" in found["info"]):
            return False
        self.mark, before = found["mark"], found["before"]
        self._quoted = ">" in before
        # A fence that opens its list item ends with it.
        self._need = len(before.expandtabs(4)) if _ITEM.search(before) else 0
        self.indent = before
        return True

    def _left(self, line: str) -> bool:
        """Whether the list or the quote that the fence stands in has ended."""
        if self._quoted:
            return not line.lstrip().startswith(">")
        spaces = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
        return bool(line.strip()) and spaces < self._need


def fenced(lines: list[str], language: str = "") -> list[str]:
    """Lines as a block of code; its fence is longer than any fence inside."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    mark = "`" * max(3, longest + 1)
    return [f"{mark}{language}", *lines, mark]
