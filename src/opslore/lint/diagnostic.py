"""One finding in a runbook: which rule, where, what exactly, and how it is mended."""

from __future__ import annotations

from opslore.cards import Document, Record
from opslore.lint.rules import RULES, Level


class Diagnostic(Record):
    """A finding with its place."""

    rule: str
    level: Level
    file: str
    """Relative to the folder that `lint` was called in, or an https URL."""
    first: int
    """First line, from 1."""
    last: int
    alert: str
    """The alert it belongs to; empty when it belongs to none."""
    message: str
    """What is wrong; secrets in it are masked."""
    mend: str

    @classmethod
    def of(
        cls, rule: str, file: str, first: int, last: int, alert: str, message: str
    ) -> Diagnostic:
        """A finding of a rule, with the rule's level and remedy."""
        known = RULES[rule]
        return cls(
            rule=rule,
            level=known.level,
            file=file,
            first=first,
            last=max(first, last),
            alert=alert,
            message=message,
            mend=known.mend,
        )

    @classmethod
    def at(
        cls, document: Document, rule: str, message: str, first: int = 0, last: int = 0
    ) -> Diagnostic:
        """A finding at some lines; without lines at the alert's heading."""
        file = document.url or document.span.file
        return cls.of(rule, file, first or document.span.first, last, document.title, message)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Findings with the same key are one."""
        return self.rule, self.file, self.first, self.message
