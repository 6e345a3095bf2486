"""The rules of `opslore lint`: what each one is called, how grave it is, how it is mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""SARIF's levels, the gravest first. An error is wrong in any runbook; a warning needs a look; a
note tells what the runbook does not cover."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for."""

    id: str
    level: Level
    title: str
    """What is wrong, in half a sentence."""
    mend: str
    """What the author of the runbook does about it."""


_RULES = (
    Rule(
        "hidden-text",
        "error",
        "Text that a reader does not see, or an order to a model",
        "take it out: what people do not read may not teach a model",
    ),
    Rule(
        "secret",
        "error",
        "A secret stands in the runbook",
        "revoke it now, then write a hole such as <token>, or where the secret is kept",
    ),
    Rule(
        "unparseable-command",
        "error",
        "A command that a shell cannot read",
        "close the quote, loop or here-document, so that the block can be pasted as it is",
    ),
    Rule(
        "denied-command",
        "error",
        "A command whose effect cannot be known before it runs",
        "write the program and its arguments out; no eval, no download into a shell",
    ),
    Rule(
        "conflicting-commands",
        "error",
        "Alerts of one name have different commands",
        "keep one entry, or give the alerts names that tell them apart",
    ),
    Rule(
        "destructive-command",
        "warning",
        "A command that destroys something",
        "say above it what is lost and who agrees; it is answered only with a confirmation",
    ),
    Rule(
        "change-in-investigation",
        "warning",
        "A command among those to look with changes something",
        "move it to the resolution",
    ),
    Rule(
        "misplaced-command",
        "warning",
        "Commands under a heading that is no field of an alert are not read",
        "move them under Investigation or Resolution",
    ),
    Rule(
        "unread-label",
        "warning",
        "A label such as **Resolution:** is not read, as headings mark the fields of this alert",
        "mark every field of the alert the same way, all by labels or all by headings",
    ),
    Rule(
        "no-usable-command",
        "warning",
        "An alert whose commands are all unfit as an answer, so that it escalates",
        "give it one command of at most 400 characters that does something by itself",
    ),
    Rule(
        "empty-symptoms",
        "warning",
        "An alert without symptoms, which is found by its name alone",
        "write what people see, in the words they use",
    ),
    Rule(
        "duplicate-alert",
        "warning",
        "An alert stands in the runbook more than once",
        "keep one of the entries",
    ),
    Rule(
        "same-symptoms",
        "warning",
        "Alerts with the same symptoms have different commands",
        "say in each what tells it from the other",
    ),
    Rule(
        "unreadable-file",
        "warning",
        "A file of the runbook was not read",
        "save it as UTF-8 Markdown, or keep it outside the runbook's folder",
    ),
    Rule(
        "personal-data",
        "note",
        "An address or a telephone number, which is masked before a model learns it",
        "name a role or a list instead of a person, a host name instead of an address",
    ),
    Rule(
        "near-name",
        "note",
        "Two alert names differ in one or two letters",
        "rename one of them when they are different alerts",
    ),
    Rule(
        "unknown-risk",
        "note",
        "A command whose danger is not known, so that a person decides",
        "nothing, when the person on call knows the program",
    ),
    Rule(
        "unfillable-hole",
        "note",
        "A hole in an answer that none of the usual alert labels fills",
        "name the hole like the label that the alert carries, or add that label to the alert",
    ),
    Rule(
        "no-resolution",
        "note",
        "An alert with commands to look, and none to mend",
        "write the first command of the mending under Resolution",
    ),
    Rule(
        "alert-without-command",
        "note",
        "An alert without any command: it teaches to call a person",
        "nothing, when a person is the answer; else write the command under Resolution",
    ),
    Rule(
        "not-a-command",
        "note",
        "A line in a code block that is no command",
        "name the block's language (```text, ```yaml), so that nobody pastes it",
    ),
    Rule(
        "no-alert",
        "note",
        "A file without an alert",
        "nothing, when it is no part of the runbook",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _RULES}
"""By id; the order is the order of findings on one line."""
