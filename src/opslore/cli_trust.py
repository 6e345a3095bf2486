"""What persons add: corrections, and their word on rows that wait for it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opslore import console
from opslore.cli_beside import AgentFile, Json
from opslore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from opslore.config import Agent
    from opslore.dataset.approved import Waiting


def correct(
    agent: AgentFile,
    question: Annotated[str, typer.Argument(help="The question, or the right answer alone.")],
    answer: Annotated[str, typer.Argument(help="The right answer; `-` reads stdin.")] = "",
    from_ask: Annotated[
        bool, typer.Option("--from-ask", help="Read the question from `ask --json` on stdin.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write down the right answer; it wins over every source."""
    settings = console.agent(agent)
    from opslore.dataset import approved
    from opslore.sources import corrections

    path = _corrections(settings)
    if from_ask:
        question, answer = _asked(), answer or question
    elif answer in ("", "-"):
        if sys.stdin.isatty():
            console.tell("write the right answer; Ctrl-D ends it")
        answer = sys.stdin.read()
    older = corrections.add(path, question, answer, approved.who())
    notes = _notes(settings, answer)
    for one in older:
        notes.append(f"line {one.line} of {path} said: {_short(one.answer)}; the new one wins")
    if as_json:
        row: dict[str, Any] = {"path": str(path), "question": question.strip()}
        superseded = [{"line": c.line, "answer": c.answer} for c in older]
        console.say(json.dumps({**row, "answer": answer.strip(), "older": superseded}))
    for note in notes:
        console.tell(f"note: {note}")
    if not as_json:
        file = shlex.quote(str(agent))
        console.say(f"wrote {path}; it is learned with the next: opslore run {file}")


def _corrections(settings: Agent) -> Path:
    """The file that corrections go to: the first source of that kind.

    Raises:
        ConfigError: the agent has none.
    """
    from opslore.config_sources import CorrectionsSource

    for source in settings.collect:
        if isinstance(source, CorrectionsSource):
            return Path(source.path).expanduser()
    raise ConfigError(
        "AGENT.yaml has no source for corrections".replace(
            "AGENT.yaml", console.real("AGENT.yaml")
        ),
        hint="add under collect:\n        - kind: corrections\n          path: corrections.jsonl",
    )


def _asked() -> str:
    """The question in what `opslore ask --json` printed."""
    try:
        return str(json.loads(sys.stdin.read())["question"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "stdin is not what `opslore ask --json` prints",
            hint='opslore ask AGENT.yaml "ALERT" --json | '
            'opslore correct AGENT.yaml "RIGHT ANSWER" --from-ask',
        ) from error


def _notes(settings: Agent, answer: str) -> list[str]:
    """What the writer of a correction should know about it."""
    from opslore import commands
    from opslore.dataset.secrets import Scanner

    notes = []
    if found := Scanner().masked(answer, "the answer").found:
        kinds = ", ".join(sorted(found))
        notes.append(f"the answer holds what looks like {kinds}; write a <placeholder> instead")
    if settings.prepare.task == "commands":
        level = commands.risk(answer.strip()).level
        if level in ("destructive", "denied"):
            notes.append(f"this command is {level}: `opslore ask` shows it with a warning")
    return notes


def review(
    agent: AgentFile,
    listed: Annotated[bool, typer.Option("--list", help="Only list what waits.")] = False,
    approve: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Approve this row; may be given often.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Reject this row; may be given often.")
    ] = None,
    edit: Annotated[str, typer.Option(metavar="KEY", help="Approve with --text instead.")] = "",
    text: Annotated[str, typer.Option(help="The answer for --edit; `-` reads stdin.")] = "",
    as_json: Json = False,
) -> None:
    """Decide about answers with commands and suspicious rows."""
    settings = console.agent(agent)
    from opslore import reviewing

    desk = reviewing.desk(settings)
    chosen = [("approve", key) for key in approve or []] + [("reject", key) for key in reject or []]
    chosen += [("edit", edit)] if edit else []
    if bool(edit) != bool(text):
        raise ConfigError("--edit KEY and --text go together", hint="--text - reads stdin")
    rows = [(what, desk.row(key)) for what, key in chosen]  # before anything is written
    for what, row in rows:
        desk.decide(row, what, sys.stdin.read() if text == "-" else text)
    if as_json:
        console.say(json.dumps([row.model_dump(mode="json") for row in desk.waiting()], indent=2))
    elif rows or listed or not sys.stdin.isatty():
        _list(agent, desk, decided=len(rows))
    else:
        decided = reviewing.interactive(desk)
        _list(agent, desk, decided)


def _list(agent: Path, desk: Any, decided: int) -> None:
    rows: list[Waiting] = desk.waiting()
    file = shlex.quote(str(agent))
    if decided:
        console.say(f"{decided} decided, written to {desk.path}")
    for row in rows:
        what = row.reason or f"{len(row.commands)} commands, worst is {desk.worst(row)}"
        console.say(f"{row.key}  {row.kind:<11}  {what}")
        console.say(f"{'':18}{_short(row.question)}")
        for command in row.commands:
            console.say(f"{'':18}  $ {_short(command)}")
        console.say(f"{'':18}{row.author or 'unknown'} {row.trust} {row.url}".rstrip())
    console.say(f"{len(rows)} waiting" + ("" if rows else "; nothing to decide"))
    if decided:
        console.say(f"next: opslore prepare {file}")


def _short(text: str, length: int = 100) -> str:
    from opslore.reviewing import legible

    flat = legible(" ".join(text.split()))
    return flat if len(flat) <= length else flat[: length - 1] + "…"
