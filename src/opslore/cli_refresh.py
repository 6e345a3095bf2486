"""`opslore refresh`: a changed runbook without training."""

from __future__ import annotations

import json

from opslore import console
from opslore.cli_beside import AgentFile, Json


def refresh(agent: AgentFile, as_json: Json = False) -> None:
    """Take a changed runbook into a new bundle, untrained."""
    settings = console.agent(agent)
    from opslore import refreshing, summary

    with console.progress():
        dataset, bundle = refreshing.refresh(settings)
    if as_json:
        cards = {card.kind: json.loads(card.model_dump_json()) for card in (dataset, bundle)}
        console.say(json.dumps(cards, indent=2))
        return
    console.say(f"prepare   {summary.line(dataset)}")
    console.say(f"refresh   {summary.line(bundle)}")
    for step in ("evaluate", "publish", "deploy"):
        console.say(console.real(f"next: opslore {step} AGENT.yaml"))
