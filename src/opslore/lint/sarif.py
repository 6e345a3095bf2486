"""The findings as SARIF 2.1.0 (OASIS, 2020), which code hosts show beside the changed lines."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from opslore.lint import RULES, Diagnostic, Report
from opslore.store import VERSION

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "opslore/v1"


def log(report: Report) -> dict[str, Any]:
    """A SARIF log with one run; the same runbook gives the same log."""
    seen: dict[str, int] = {}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver()},
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, seen) for one in report.diagnostics],
            }
        ],
    }


def _driver() -> dict[str, Any]:
    return {
        "name": "opslore lint",
        "semanticVersion": VERSION,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": f"{rule.title}."},
                "help": {"text": f"To mend it: {rule.mend}."},
                "defaultConfiguration": {"level": rule.level},
            }
            for rule in RULES.values()
        ],
    }


def _result(one: Diagnostic, seen: dict[str, int]) -> dict[str, Any]:
    region = {"startLine": one.first, "endLine": one.last}
    return {
        "ruleId": one.rule,
        "ruleIndex": list(RULES).index(one.rule),
        "level": one.level,
        "message": {"text": f"{one.message}. To mend it: {one.mend}."},
        "locations": [{"physicalLocation": {"artifactLocation": _uri(one.file), "region": region}}],
        "partialFingerprints": {FINGERPRINT: _fingerprint(one, seen)},
    }


def _uri(file: str) -> dict[str, str]:
    if "://" in file:
        return {"uri": quote(file, safe=":/?&=%#~")}
    return {"uri": quote(file), "uriBaseId": "%SRCROOT%"}


def _fingerprint(one: Diagnostic, seen: dict[str, int]) -> str:
    """The same for a finding whose lines have moved; the second of its like has a number."""
    text = "\n".join((one.rule, one.file, one.alert, one.message))
    seen[text] = seen.get(text, 0) + 1
    return hashlib.sha256(f"{text}\n{seen[text]}".encode()).hexdigest()[:32]
