"""The gate's commands: why it says what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from opslore import console
from opslore.cli_beside import AgentFile, Json

if TYPE_CHECKING:
    from opslore.why import Behind, Why

FEW = 5
"""Examples of a gate that are shown unless all are asked for."""


def why(
    agent: AgentFile,
    gate: Annotated[str, typer.Argument(help="One gate, such as G1; all without it.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Show every example, not five.")] = False,
    as_json: Json = False,
) -> None:
    """What each gate asked, measured and needed, with examples."""
    settings = console.agent(agent)
    from opslore import lineage, steps
    from opslore.cards import Evaluation
    from opslore.errors import MissingInput
    from opslore.why import explain

    home = steps.store_of(settings)
    cards = lineage.newest(home)
    evaluation = next((card for card in cards if isinstance(card, Evaluation)), None)
    if evaluation is None:
        raise MissingInput(
            "the newest bundle was never evaluated", hint="run `opslore evaluate AGENT.yaml`"
        )
    kinds = ("dataset", "evaluation")
    folders = {card.kind: home.path(card) for card in cards if card.kind in kinds}
    found = explain(evaluation, folders, gate)
    if as_json:
        console.say(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        return
    for number, one in enumerate(found):
        if number:
            console.say()
        _show(one, len(one.examples) if every or gate else FEW)


def _show(one: Why, most: int) -> None:
    word = "pass" if one.passed else "FAIL"
    console.say(f"{word}  {one.gate}  {one.title}: {one.asked}")
    console.say(f"      measured  {one.measured}")
    console.say(f"      needs     {one.needs}")
    if one.override is not None:
        console.say(f"      {one.override.told()}")
    for example in one.examples[:most]:
        _show_example(example)
    if len(one.examples) > most:
        console.say(f"      and {len(one.examples) - most} more: --all")


def _show_example(example: Behind) -> None:
    console.say(f"      - {example.id}  {example.source}".rstrip())
    if not example.question:
        return
    rows = [("question", example.question)]
    rows += [("shown", f"{e.title} ({e.source}): {e.answer}") for e in example.shown]
    rows += [("expected", answer) for answer in example.expected]
    rows += [("got", f"{example.got}  [{example.column}]" if example.column else "no reply")]
    rows += [("because", example.reason)] if example.reason else []
    rows += [("danger", finding.why) for finding in example.findings]
    for name, text in rows:
        console.say(f"          {name:<8}  {' '.join(text.split())}")
