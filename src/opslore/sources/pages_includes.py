"""Files that a page includes: found inside the documentation only, bounded in depth and size."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opslore.cards import Dropped
from opslore.sources.read import Unreadable, decode

DEEPEST = 8
"""How many includes may stand in each other."""

MAX_BYTES = 4 << 20
"""What the includes of one page may bring, all together."""

_BASES = ("", "docs", "includes", "_includes", "snippets", "content", "static", "partials")
"""Folders of the root that names are looked up in, after the page's own."""

Read = Callable[[str], bytes | None]
"""A file of the documentation by its path below the root, with `/`; None when there is none."""


@dataclass
class Includes:
    """What one page includes."""

    read: Read
    page: str
    """The page's path below the root."""
    dropped: list[Dropped] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    """Path -> SHA-256 of every file that was asked for; empty when there was none."""
    left: int = MAX_BYTES

    def lines(self, name: str, stack: Sequence[str]) -> tuple[str, list[str]]:
        """The path and the lines of an included file; none, with the reason kept, when refused.

        Args:
            name: as the page has it.
            stack: paths of the files that include each other, the page first.
        """
        try:
            path, data = self._found(name.strip(), stack)
            if len(stack) > DEEPEST:
                raise Unreadable(f"included more than {DEEPEST} deep")
            self.left -= len(data)
            if self.left < 0:
                raise Unreadable(f"the includes of this page have more than {MAX_BYTES} bytes")
            return path, decode(data, path, self.dropped).split("\n")
        except Unreadable as error:
            what = f"{stack[-1]}: include {name.strip()[:200]!r}"
            self.dropped.append(Dropped(what=what, reason=f"include: {error}"))
            return "", []

    def _found(self, name: str, stack: Sequence[str]) -> tuple[str, bytes]:
        inside = False
        for path in self._paths(name, stack[-1]):
            if path == ".." or path.startswith(("../", "/")) or "\0" in path or "\\" in path:
                continue
            inside = True
            if path in stack:
                raise Unreadable("a file that includes itself")
            data = self.read(path)
            self.used[path] = hashlib.sha256(data).hexdigest() if data is not None else ""
            if data is not None:
                return path, data
        raise Unreadable("no such file" if inside else "outside the documentation")

    def _paths(self, name: str, page: str) -> list[str]:
        bare = re.sub(r"^(?:@site|~|/)+/*", "", name)
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(page), bare or "."))
        bases = [posixpath.normpath(posixpath.join(base, bare or ".")) for base in _BASES]
        found = [*bases, beside] if name.startswith(("/", "@site", "~")) else [beside, *bases]
        if name.startswith("."):
            found = [beside]
        return list(dict.fromkeys(found))


def part(lines: list[str], section: str) -> list[str]:
    """The part of a file that `file:section` or `file:3:9` names."""
    numbers = re.fullmatch(r"(\d*):?(\d*)", section)
    if numbers:
        first, last = int(numbers[1] or 1), int(numbers[2] or len(lines))
        return lines[max(0, first - 1) : last]
    starts = re.compile(rf"--8<--\s*\[start:\s*{re.escape(section)}\s*\]")
    ends = re.compile(rf"--8<--\s*\[end:\s*{re.escape(section)}\s*\]")
    first = next((at for at, line in enumerate(lines) if starts.search(line)), -1)
    if first < 0:
        return []
    last = next((at for at in range(first, len(lines)) if ends.search(lines[at])), len(lines))
    return lines[first + 1 : last]
