"""`opslore submit`: the seven steps in a Flyte cluster; and the runs that `status` shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opslore import console
from opslore.cli_beside import AgentFile, Json
from opslore.errors import OpsloreError

if TYPE_CHECKING:
    from opslore.submitting import Execution, Task

CALLERS = ("run", "collect", "evaluate")
"""Tasks that only call others, and wait."""

Project = Annotated[str, typer.Option(help="Flyte's project; else as Flyte is configured.")]
Domain = Annotated[str, typer.Option(help="Flyte's domain; else as Flyte is configured.")]


def submit(
    agent: AgentFile,
    project: Project = "",
    domain: Domain = "",
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for its end, and say each step's.")
    ] = True,
    as_json: Json = False,
) -> None:
    """All seven steps in a Flyte cluster, each in a pod."""
    settings = console.agent(agent)
    from opslore import submitting

    with console.progress():
        begun = submitting.start(settings, project, domain)
    follows = again(agent, begun.name, project, domain)
    if not as_json:
        console.say(f"{begun.name}  {begun.url}")
    if follow:
        followed(begun.name, follows, project, domain, as_json)
    elif as_json:
        console.say(begun.model_dump_json(indent=2))
    else:
        console.say(f"follow it with: {follows}")


def followed(name: str, follows: str, project: str, domain: str, as_json: bool) -> None:
    """Follow a run to its end; a line for each task that ends.

    Args:
        name: Flyte's name of the run.
        follows: the command that does this.
        project: Flyte's; empty is the configured one.
        domain: likewise.
        as_json: print the run, its tasks and what it gave, and nothing else.
    """
    from opslore import flyteplace, submitting, summary

    endpoint = flyteplace.connect(project, domain)
    told: set[str] = set()
    console.resumed_by(follows)
    try:
        with console.progress():
            for found in submitting.follow(name, endpoint):
                _tell(found, told, as_json)
    except console.Stopped:
        abort = shlex.join(["flyte", "abort", "run", name, *_place(project, domain)])
        console.tell(f"{name} goes on; abort it with: {abort}")
        raise
    console.resumed_by("")
    failure = None
    try:
        card = submitting.outcome(found, endpoint)
    except OpsloreError as error:
        failure = error
    if as_json:
        gave = {} if failure else {"deployment": json.loads(card.model_dump_json())}
        console.say(json.dumps({**found.model_dump(), **gave}, indent=2))
    if failure:
        raise failure
    if not as_json:
        console.say(f"deploy    {summary.line(card)}  ({card.id[:12]})")


def _tell(found: Execution, told: set[str], as_json: bool) -> None:
    """A line for every task that ended since the last look; the bar has those that run."""
    from opslore import progress

    tasks = [task for task in found.tasks if task.step not in CALLERS]
    for task in tasks:
        if task.over and task.id not in told:
            told.add(task.id)
            if not as_json:
                console.say(_line(task))
    going = [task for task in tasks if not task.over]
    note = ", ".join(f"{task.step} {task.phase}" for task in going)
    progress.report(found.name, len(tasks) - len(going), len(tasks), note)


def _line(task: Task) -> str:
    tries = f", {task.tries} tries" if task.tries > 1 else ""
    return f"{task.step:<9} {task.phase}  {console.duration(task.seconds)}{tries}"


def shown(executions: Iterable[Execution], note: str) -> None:
    """The last runs, as `status` prints them."""
    from opslore import whereabouts

    for one in executions:
        took = console.duration(one.seconds)
        since = whereabouts.ago(one.started)
        console.say(f"{one.name}  {one.phase}  {since}, took {took}  {one.url}")
    if note:
        console.say(note)


def again(agent: Path, name: str, project: str, domain: str) -> str:
    """The command that follows a run."""
    return shlex.join(["opslore", "status", str(agent), "--run", name, *_place(project, domain)])


def _place(project: str, domain: str) -> list[str]:
    """The options that name where a run is, of what is not as configured."""
    given = (("--project", project), ("--domain", domain))
    return [word for key, value in given if value for word in (key, value)]
