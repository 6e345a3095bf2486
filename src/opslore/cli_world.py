"""Commands about the world outside the store: where a release is, and back to the one before."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from opslore import console
from opslore.cli_beside import SHORT, AgentFile, Json


def status(agent: AgentFile, as_json: Json = False) -> None:
    """How far the steps are, what is deployed where, what differs, and what mends it."""
    settings = console.agent(agent)
    from opslore import standing, whereabouts

    rows = standing.status(settings)
    found = list(whereabouts.places(settings))
    if as_json:
        console.say(
            json.dumps(
                {
                    "steps": [row.model_dump() for row in rows],
                    "places": [place.model_dump() for place in found],
                },
                indent=2,
            )
        )
        return
    for row in rows:
        identity = row.card[:SHORT]
        console.say(f"{row.step:<9} {row.state:<8} {identity:<{SHORT}}  {row.what}".rstrip())
    table = Table("place", "names", "", "mend it with", box=box.SIMPLE)
    for place in found:
        row_ = (place.name, whereabouts.short(place.names), place.state, console.real(place.mend))
        table.add_row(*row_, style="" if place.state in ("ok", "empty") else "bold")
    console.show(table)


def rollback(
    agent: AgentFile,
    to: Annotated[str, typer.Option(help="An older release than the one before.")] = "",
    as_json: Json = False,
) -> None:
    """Return every pointer to the release before; all of them or none."""
    settings = console.agent(agent)
    from opslore import steps
    from opslore.release.current import history

    home = steps.store_of(settings)
    before = history(home).version
    with console.progress():
        moved = steps.rollback(settings, to)
    now = history(home)
    if as_json:
        console.say(json.dumps({"from": before, "to": now.version, "moved": moved}, indent=2))
        return
    console.say(f"{before} -> {now.version}")
    for name in moved:
        console.say(f"  {name}")
