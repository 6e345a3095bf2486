"""`opslore lint`: the check of a runbook that needs neither a model nor an agent file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslore import console
from opslore.cli_beside import Json
from opslore.errors import ConfigError

if TYPE_CHECKING:
    from opslore.lint import Report


def lint(
    runbook: Annotated[
        str,
        typer.Argument(
            metavar="RUNBOOK", help="A Markdown file, a folder of them, or an https URL."
        ),
    ],
    sarif: Annotated[
        str, typer.Option(metavar="FILE", help="Write SARIF 2.1.0 there too; `-` is stdout.")
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 for a warning too, not only for an error.")
    ] = False,
    notes: Annotated[
        bool, typer.Option("--notes", help="Print the notes one by one, not only their number.")
    ] = False,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="A rule to leave out; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a runbook for gaps and dangers; exit 1 on errors."""
    from opslore import lint as linting
    from opslore import store
    from opslore.lint import sarif as written

    ignored = ignore or []
    if unknown := [name for name in ignored if name not in linting.RULES]:
        raise ConfigError(
            f"--ignore {unknown[0]}: no such rule", hint=f"there are {', '.join(linting.RULES)}"
        )
    if sarif == "-" and as_json:
        raise ConfigError("--sarif - and --json both write to stdout", hint="give one a FILE")
    report = linting.lint(runbook, Path.cwd(), ignore=ignored)
    if sarif:
        text = json.dumps(written.log(report), indent=2, ensure_ascii=False) + "\n"
        if sarif == "-":
            console.say(text.rstrip("\n"))
        else:
            store.write(Path(sarif), text)
    if as_json:
        console.say(report.model_dump_json(indent=2))
    elif sarif != "-":
        _show(report, notes)
    if report.counts["error"] or (strict and report.counts["warning"]):
        raise typer.Exit(1)


def _show(report: Report, notes: bool) -> None:
    """Every finding on a line; then, rule by rule, how it is mended."""
    from opslore.lint import RULES

    shown = [one for one in report.diagnostics if notes or one.level != "note"]
    for one in shown:
        console.say(f"{one.file}:{one.first}: {one.level}: {one.message} [{one.rule}]")
    found = Counter(one.rule for one in report.diagnostics)
    for rule in RULES.values():
        if any(one.rule == rule.id for one in shown):
            console.say(f"to mend {rule.id}: {rule.mend}")
        elif found[rule.id]:
            console.say(
                f"note: {found[rule.id]} x {rule.id}: {rule.title[0].lower()}{rule.title[1:]}"
            )
    counts = report.counts
    levels = ", ".join(
        f"{number} {level}{'' if number == 1 else 's'}" for level, number in counts.items()
    )
    console.say(
        f"{report.runbook}: {report.alerts} alerts, {report.with_resolution} with a resolution "
        f"command, {report.commands} commands; {levels}"
    )
    if len(shown) < len(report.diagnostics):
        console.say("every note: --notes")
