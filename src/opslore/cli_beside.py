"""The commands beside the flow: look, ask, follow, check."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslore import console
from opslore.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from opslore.answer import Answer
    from opslore.cards import Card, Document
    from opslore.check import Check
    from opslore.config import Agent

AgentFile = Annotated[
    Path, typer.Argument(metavar="AGENT.yaml", help="The agent file.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

SHORT = 12
"""Characters of an id that a person reads."""


def init(
    path: Annotated[Path, typer.Argument(help="The agent file to write.")] = Path("agent.yaml"),
    task: Annotated[str, typer.Option(help="commands, or answers in prose.")] = "commands",
    as_json: Json = False,
) -> None:
    """Write an agent file that explains every key."""
    from opslore import starter

    if task not in ("commands", "answers"):
        raise ConfigError(f"--task {task}: there are commands, answers")
    starter.write(path, task)
    if as_json:
        console.say(json.dumps({"path": str(path)}))
        return
    file = shlex.quote(str(path))
    what = "runbook" if task == "commands" else "documentation"
    console.say(f"wrote {path}: set collect[].path to your {what}, then: opslore doctor {file}")


def doctor(agent: AgentFile, as_json: Json = False) -> None:
    """Check what a run needs; exit 1 when something fails."""
    from opslore import checklist

    found: list[Check] = []
    try:
        settings = console.agent(agent)
    except ConfigError as error:
        found.append(checklist.unreadable(error))
    else:
        for check in checklist.checks(settings):
            found.append(check)
    if as_json:
        _print_rows(found)
    else:
        for check in found:
            console.say(f"{check.state:<4}  {check.name}: {check.found}")
            if check.mend:
                console.say(f"      -> {console.real(check.mend)}")
    if any(check.state == "fail" for check in found):
        raise typer.Exit(1)


def ls(agent: AgentFile, as_json: Json = False) -> None:
    """List what was made, releases too, the newest last."""
    settings = console.agent(agent)
    from opslore import lineage, steps, summary

    home = steps.store_of(settings)
    order = {kind.kind: place for place, kind in enumerate(lineage.KINDS)}
    cards: list[Card] = [card for kind in lineage.KINDS for card in home.cards(kind)]
    cards.sort(key=lambda card: (card.created, order[card.kind]))
    if as_json:
        console.say(json.dumps([_dumped(card) for card in cards], indent=2))
        return
    if not cards:
        console.tell(console.real("nothing yet; make it with: opslore run AGENT.yaml"))
    for card in cards:
        when, identity = card.created[:19], card.id[:SHORT]
        console.say(f"{when}  {card.kind:<10}  {identity}  {summary.line(card)}")


def show(
    agent: AgentFile,
    what: Annotated[str, typer.Argument(help="Version, kind, id (or its beginning), or alert.")],
    as_json: Json = False,
) -> None:
    """One card or one alert with all it holds."""
    settings = console.agent(agent)
    from opslore import lineage, steps
    from opslore.cards import Document

    found = lineage.lookup(settings, what)
    if as_json:
        console.say(json.dumps(_dumped(found), indent=2))
    elif isinstance(found, Document) and found.kind != "alert":
        from opslore.cli_prose import show_document

        show_document(found)
    elif isinstance(found, Document):
        _show_alert(found)
    else:
        for name, value in _dumped(found).items():
            text = value if isinstance(value, str | int | float) else json.dumps(value)
            console.say(f"{name:<16} {text}")
        console.say(f"{'folder':<16} {steps.store_of(settings).path(found)}")


def _show_alert(document: Document) -> None:
    from opslore.commands import risk

    span = document.span
    commit = f"@{span.commit[:SHORT]}" if span.commit else ""
    console.say(f"{document.title}  ({document.section}, {document.severity or 'no severity'})")
    console.say(f"{span.file}:{span.first}-{span.last}{commit}  id {document.id}")
    for line in document.symptoms.splitlines():
        console.say(f"  {line}")
    for command in document.commands:
        console.say(f"{command.role} (line {command.first}, {risk(command.text).level})")
        for line in command.text.splitlines():
            console.say(f"    {line}")


def ask(
    agent: AgentFile,
    question: Annotated[str, typer.Argument(help="An alert, as it came; `-` reads stdin.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="An alert label, `--label namespace=payments`; may be given often."),
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="Let the model say anything, not only known commands.")
    ] = False,
    server: Annotated[
        str, typer.Option(help="llamacpp, or ollama for the deployed model; else evaluate.server.")
    ] = "",
    url: Annotated[str, typer.Option(help="The Ollama; else the one that deploy names.")] = "",
    as_json: Json = False,
) -> None:
    """Ask the released model: command or prose, source, risk."""
    settings = console.agent(agent)
    from opslore import answer, machine

    machine.tune()
    text = sys.stdin.read() if question == "-" else question
    if settings.prepare.task == "answers":
        if label:
            raise ConfigError("--label: an agent that answers in prose takes no alert labels")
        _ask_prose(settings, text, server, url, as_json)
        return
    found = answer.ask(settings, text, answer.parse_labels(label or []), free, server, url)
    _note_released(found.released)
    if as_json:
        console.say(found.model_dump_json(indent=2))
    else:
        _show_answer(found)


def _ask_prose(settings: Agent, text: str, server: str, url: str, as_json: bool) -> None:
    from opslore import answer_prose, cli_prose

    found = answer_prose.ask(settings, text, server, url)
    _note_released(found.released)
    if as_json:
        console.say(found.model_dump_json(indent=2))
    else:
        cli_prose.show_answer(found)


def _note_released(released: bool) -> None:
    if not released:
        console.tell("note: this model is not released: no version of it has passed the gate")


def _show_answer(found: Answer) -> None:
    sure = "unknown" if found.confidence is None else f"{found.confidence:.2f}"
    if found.escalate:
        console.say(f"escalate to a human: {found.why}")
        rows = [("nearest", entry) for entry in found.shown[:3]]
    else:
        if found.confirm:
            console.say("WARNING: this destroys something. Confirm with a second person first;")
            console.say("the lines are commented out so that pasting them does nothing.")
        for line in found.command.splitlines():
            console.say(f"# CONFIRM: {line}" if found.confirm else line)
        why = "; ".join(finding.why for finding in found.findings)
        rows = [
            ("alert", found.alert),
            ("runbook", found.source),
            ("risk", f"{found.risk}: {why}" if why else found.risk),
        ]
        rows += [("fill in", ", ".join(found.holes))] if found.holes else []
    if found.probability is not None and found.least is not None:
        like = f"{found.probability:.0%} of answers like this; at least {found.least:.0%} is asked"
        rows.append(("right", like))
    for name, value in [*rows, ("confidence", sure), ("model", found.model)]:
        console.say(f"  {name:<10}  {value}")


def trace(
    agent: AgentFile,
    what: Annotated[str, typer.Argument(help="A question, an alert's name, or a command.")],
    as_json: Json = False,
) -> None:
    """Follow an answer back to the runbook and the run."""
    settings = console.agent(agent)
    from opslore import lineage

    if settings.prepare.task == "answers":
        from opslore import cli_prose, lineage_prose

        origin = lineage_prose.trace(settings, what)
        if as_json:
            console.say(origin.model_dump_json(indent=2))
        else:
            cli_prose.show_origin(origin)
        return
    found = lineage.trace(settings, what)
    if as_json:
        console.say(found.model_dump_json(indent=2))
        return
    examples = ", ".join(f"{count} {split}" for split, count in found.examples.items())
    rows = [
        ("command", found.command),
        ("alert", found.alert),
        ("runbook", found.source),
        ("corpus", found.corpus[:SHORT]),
        ("dataset", f"{found.dataset[:SHORT]}  {examples or 'no example about this alert'}"),
        ("examples", ", ".join(found.example_ids) or "none trained"),
        ("training", f"{found.adapter[:SHORT]}  {found.training}"),
        ("bundle", f"{found.bundle[:SHORT]}  gguf sha256 {found.gguf_sha256}"),
    ]
    if found.evaluation:
        right = f"{found.tests['right']} of {found.tests['asked']} test prompts right"
        told = right if found.tests["asked"] else "no test prompt about this alert"
        rows.append(("evaluation", f"{found.evaluation[:SHORT]}  {told}"))
    rows.append(("release", found.release or "not released"))
    if found.registry_run:
        rows.append(("registry", f"run {found.registry_run}"))
    for name, value in rows:
        console.say(f"{name:<10}  {value}")


def report(
    agent: AgentFile,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    as_json: Json = False,
) -> None:
    """Write the newest run as one HTML page."""
    settings = console.agent(agent)
    from opslore import lineage, steps, store
    from opslore import report as pages

    home = steps.store_of(settings)
    cards = lineage.newest(home)
    page = pages.page(settings.name, cards, {card.kind: home.path(card) for card in cards})
    store.write(out, page)
    if as_json:
        console.say(json.dumps({"path": str(out), "cards": {card.kind: card.id for card in cards}}))
    else:
        console.say(f"wrote {out}: {', '.join(card.kind for card in cards)}")


def _dumped(record: Card | Document) -> dict[str, object]:
    """A record with its kind, which a card's fields do not carry."""
    return {"kind": record.kind, **record.model_dump(mode="json")}


def _print_rows(rows: Sequence[BaseModel]) -> None:
    console.say(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
