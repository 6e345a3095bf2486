"""What is wrong within one alert: its text, its commands, its answer."""

from __future__ import annotations

from collections.abc import Iterator

from opslore import commands
from opslore.cards import ESCALATE, Command, Document
from opslore.commands.scan import MARK
from opslore.commands.tables import hole_tables
from opslore.dataset import quarantine
from opslore.dataset.secrets import Scanner
from opslore.index import MAX_ANSWER, entry, one_line
from opslore.lint.diagnostic import Diagnostic
from opslore.sources.fields import Fields

PERSONAL = frozenset({"EMAIL", "IP", "PHONE"})
"""Placeholders of the detectors that find people and addresses, not secrets."""

FIELDS = Fields({}, [])

SHOWN = 100
"""Characters of a command that a message shows."""


class Masked:
    """Text as a message may show it, without secrets."""

    def __init__(self) -> None:
        self.scanner = Scanner()

    def __call__(self, text: str) -> str:
        """Mask a text."""
        return self.scanner.masked(text).text


def code(text: str) -> str:
    """A command within a message: its first line, shortened."""
    line, *more = text.strip().split("\n") or [""]
    return f"`{line[:SHOWN]}{'...' if more or len(line) > SHOWN else ''}`"


def diagnostics(document: Document, masked: Masked) -> Iterator[Diagnostic]:
    """Every finding within one alert."""
    yield from _text(document, masked)
    if not document.symptoms.strip():
        yield Diagnostic.at(document, "empty-symptoms", f"{document.title} has no symptoms")
    for line in document.symptoms.splitlines():
        if line.endswith(":") and FIELDS.exact(line.rstrip(": ")):
            message = f"{document.title}: `{line}` is read as a symptom, not as a field"
            yield Diagnostic.at(document, "unread-label", message)
    yield from _answer(document, masked)
    for command in document.commands:
        yield from _command(document, command, masked)


def _text(document: Document, masked: Masked) -> Iterator[Diagnostic]:
    """Secrets, personal data and hidden text, which are looked for in all the alert says."""
    kinds: dict[tuple[str, int, int], set[str]] = {}
    for start, end, mask in masked.scanner.spans(document.text, document.title):
        first = document.span.first + document.text.count("\n", 0, start)
        last = first + document.text.count("\n", start, end)
        rule = "personal-data" if mask in PERSONAL else "secret"
        kinds.setdefault((rule, first, last), set()).add(mask.lower().replace("_", " "))
    for (rule, first, last), found in kinds.items():
        looks = f"{document.title}: this looks like {' and '.join(sorted(found))}"
        yield Diagnostic.at(document, rule, looks, first, last)
    reason = quarantine.suspicious(document.text)
    if reason:
        message = f"{document.title}: {masked(reason)}"
        yield Diagnostic.at(document, "hidden-text", message, last=document.span.last)


def _answer(document: Document, masked: Masked) -> Iterator[Diagnostic]:
    """Whether the alert has an answer, and what is left open in it."""
    if not document.commands:
        yield Diagnostic.at(document, "alert-without-command", f"{document.title} has no command")
        return
    chosen = entry(document)
    if chosen.answer == ESCALATE:
        reasons = sorted({_unfit(command.text) for command in document.commands})
        message = f"{document.title} is answered by escalating: {', '.join(reasons)}"
        yield Diagnostic.at(document, "no-usable-command", message)
        return
    if not document.resolution:
        message = f"{document.title} has only commands to look; the first is its answer"
        yield Diagnostic.at(document, "no-resolution", message)
    usual = hole_tables()
    names = {*usual.labels, *usual.kind_of.values(), *usual.generic}
    for hole in commands.holes(chosen.answer):
        if not names.intersection(hole.kinds):
            message = (
                f"{document.title}: {hole.text} in {code(masked(chosen.answer))} stays open "
                f"unless the alert has a label `{hole.kinds[0]}`"
            )
            yield Diagnostic.at(document, "unfillable-hole", message, chosen.line)


def _unfit(command: str) -> str:
    """Why a command is no answer."""
    text = one_line(command)
    if len(text) > MAX_ANSWER:
        return f"a command is longer than {MAX_ANSWER} characters"
    return "a command only sets variables" if commands.is_setup(text) else "a command is not shell"


def _command(document: Document, command: Command, masked: Masked) -> Iterator[Diagnostic]:
    def found(rule: str, why: str) -> Diagnostic:
        shown = MARK.sub("<...>", masked(why))
        shown = f"{document.title}: {code(masked(command.text))}: {shown}"
        return Diagnostic.at(document, rule, shown, command.first, command.last)

    parsed = commands.parse(command.text)
    if not parsed.ok:
        yield found("unparseable-command", parsed.reason)
        return
    judged = commands.risk(command.text)
    worst = [one.why for one in judged.findings if one.severity == judged.level]
    why = "; ".join(dict.fromkeys(worst))
    if judged.level in ("denied", "destructive"):
        yield found(f"{judged.level}-command", why)
    elif judged.level == "unknown":
        yield found("unknown-risk", why)
    if command.role == "investigation" and judged.level in ("disruptive", "destructive"):
        yield found("change-in-investigation", f"{judged.level}, and stands under investigation")
