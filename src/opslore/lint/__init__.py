"""What is wrong with a runbook, told without a model: a pull request can be checked with it.

`lint(path, root)` reads the runbook as `collect` does and gives every finding with its rule, file
and line. `sarif.log(report)` writes the same for tools that read SARIF 2.1.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pydantic import computed_field

from opslore.cards import Dropped, Record
from opslore.config_sources import RunbookSource
from opslore.lint import alerts, names
from opslore.lint.diagnostic import Diagnostic
from opslore.lint.rules import LEVELS, RULES, Level, Rule
from opslore.sources import Collected, runbook
from opslore.sources.coverage import Coverage, coverage

__all__ = ["LEVELS", "RULES", "Diagnostic", "Level", "Report", "Rule", "judge", "lint"]

_DROPPED = (
    ("cut off:", "unparseable-command"),
    ("under '", "misplaced-command"),
    ("not a command", "not-a-command"),
    ("no command in it", "not-a-command"),
    ("no alert:", "no-alert"),
    ("no heading and no field", "no-alert"),
    ("nothing but front matter", "no-alert"),
)
"""How `collect`'s reasons begin, and the rule that each one breaks."""
_MEANT = (", not shell", "only points to another page")
"""What is left out as its author wants it: configuration, queries, output, moved pages."""


class Report(Record):
    """Everything that was found in one runbook."""

    runbook: str
    files: int
    alerts: int
    with_resolution: int
    commands: int
    diagnostics: list[Diagnostic]
    """In the order of files, lines and rules."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[Level, int]:
        """How many findings of each level."""
        found = Counter(one.level for one in self.diagnostics)
        return {level: found[level] for level in LEVELS}


def lint(
    path: str, root: Path, *, ignore: Collection[str] = (), allow: Collection[str] = ()
) -> Report:
    """Read a runbook and judge it.

    Args:
        path: a Markdown file, a folder of them, or an https URL.
        root: folder that a relative path starts from, and that places are relative to.
        ignore: ids of rules that are not wanted.
        allow: `host:port` pairs a URL may name though they are not public; for tests.

    Raises:
        SourceError: nothing there, or it cannot be read.
        DataError: no alert in what was read, or a detector of secrets failed.
    """
    collected = runbook.collect(RunbookSource(path=path), root, allow=allow)
    return judge(path, collected, coverage(collected), ignore)


def judge(
    path: str, collected: Collected, covered: Coverage, ignore: Collection[str] = ()
) -> Report:
    """Judge what was read of a runbook.

    Raises:
        DataError: a detector of secrets failed.
    """
    masked = alerts.Masked()
    found = [one for d in collected.documents for one in alerts.diagnostics(d, masked)]
    found += names.diagnostics(collected.documents)
    found += [one for row in collected.dropped if (one := _dropped(row, masked))]
    order = list(RULES)
    found = sorted(
        {one.key: one for one in found if one.rule not in ignore}.values(),
        key=lambda one: (one.file, one.first, order.index(one.rule), one.last, one.message),
    )
    return Report(
        runbook=path,
        files=covered.files,
        alerts=covered.alerts,
        with_resolution=covered.with_resolution,
        commands=covered.commands,
        diagnostics=found,
    )


def _dropped(row: Dropped, masked: alerts.Masked) -> Diagnostic | None:
    """What `collect` left out, as a finding; None when it was meant to be left out."""
    if any(part in row.reason for part in _MEANT):
        return None
    span = row.span
    rule = next((rule for start, rule in _DROPPED if row.reason.startswith(start)), "")
    if span is None:
        return Diagnostic.of(rule or "unreadable-file", row.what, 1, 1, "", row.reason)
    said = f"{alerts.code(masked(row.what))}: {row.reason}"
    return Diagnostic.of(rule or "not-a-command", span.file, span.first, span.last, "", said)
