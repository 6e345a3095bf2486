"""`opslore tune`: better settings of the training, within a time."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from opslore import console
from opslore.cli_beside import AgentFile, Json

if TYPE_CHECKING:
    from opslore.tuning import Plan
    from opslore.tuning_found import Found, Row


def tune(
    agent: AgentFile,
    minutes: Annotated[float, typer.Option(help="How long the trials may take together.")] = 30.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Leave the agent file as it is.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search better training settings; write them if they are.

    Trials are compared on the validation split. What was trained is kept: the same command goes on.
    """
    settings = console.agent(agent)
    from opslore import agentedit, tuner

    with console.progress():
        found = tuner.tune(settings, minutes, _plan)
    written = bool(found.changes) and not dry_run
    if written:
        agentedit.write(agent, settings, "train", {one.key: one.new for one in found.changes})
        tuner.hand_over(settings, found)
    following = f"opslore run {shlex.quote(str(agent))}"
    if as_json:
        told = found.model_dump(mode="json")
        console.say(json.dumps({**told, "written": written, "next": following}, indent=2))
        return
    _show(found)
    for one in found.changes:
        console.say(f"  {one.key}: {one.old:g} -> {one.new:g}")
    if written:
        console.say(f"written to {agent}; next: {following}")
    elif found.changes:
        console.say(f"dry run: {agent} is as it was")
    console.say(f"page: {found.page}")


def _plan(plan: Plan) -> None:
    console.tell(
        f"plan: up to {plan.short} short trials of {plan.short_steps} steps"
        f" ({console.duration(plan.short_seconds)} each), then {plan.whole} of {plan.whole_steps}"
        f" steps ({console.duration(plan.whole_seconds)} each): at most"
        f" {console.duration(plan.seconds)} of {console.duration(plan.budget)}"
    )


def _show(found: Found) -> None:
    table = Table("trial", "steps", "loss", "more than configured", "seconds", box=box.SIMPLE)
    for row in found.trials:
        loss = "failed" if row.loss is None else f"{row.loss:.4f}"
        table.add_row(row.name, str(row.steps), loss, _difference(row), f"{row.seconds:.0f}")
    console.show(table)
    for row in found.trials:
        if row.failure:
            console.say(f"{row.name} failed: {row.failure}")
    gap = "" if found.seed_gap is None else f"; another seed changes {found.seed_gap:.4f}"
    console.say(
        f"loss in nats per token of {found.examples} validation examples about {found.groups}"
        f" alerts or threads, intervals of {found.level:.1%}{gap}"
    )
    console.say(f"{found.spent:.1f} of {found.minutes:g} minutes, {found.ended}: {found.verdict}")


def _difference(row: Row) -> str:
    gap = row.difference
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]" if gap else ""
