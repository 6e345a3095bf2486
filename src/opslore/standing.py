"""How far an agent is: the seven steps one after another, as they are now."""

from __future__ import annotations

from collections.abc import Iterator

from opslore import steps, store, summary
from opslore.cards import Card, Corpus, Record
from opslore.config import Agent
from opslore.errors import GateFailed, SourceError
from opslore.lineage import KINDS


def walk(agent: Agent, corpus: Corpus | None = None) -> Iterator[Card]:
    """The seven steps in order, each card as soon as it is there.

    Args:
        agent: the agent file.
        corpus: what was read before; else the sources are read now.

    Raises:
        GateFailed: the evaluation refuses the release; everything made so far is kept.
    """
    yield (corpus := corpus or steps.collect(agent))
    yield (dataset := steps.prepare(agent, corpus))
    yield (adapter := steps.train(agent, dataset))
    yield (bundle := steps.export(agent, adapter))
    yield (evaluation := steps.evaluate(agent, dataset, bundle))
    yield (release := steps.publish(agent, bundle, evaluation))
    yield steps.deploy(agent, release)


class Standing(Record):
    """How far one step is, for the settings in the agent file now."""

    step: str
    state: str
    """`done`, `stopped` half-way, `to do`, `refused` by the gate, or `unread`: its source is not
    here, as that of an agent which others run; what they deployed is known all the same."""
    card: str = ""
    created: str = ""
    what: str = ""


def status(agent: Agent) -> list[Standing]:
    """Which steps are done for the agent file's settings and sources as they are now.

    It reads the sources, and makes nothing.
    """
    done: list[Card] = []
    state, why = "to do", ""
    try:
        with store.finding():
            for card in walk(agent):
                done.append(card)
    except store.NotMade as missing:
        state = "stopped" if missing.begun else "to do"
        why = "goes on where it was stopped" if missing.begun else ""
    except SourceError as error:
        state, why = "unread", error.message
    except GateFailed:
        state, why = "refused", "the gate lets no release pass; the report says why"
    rows = [
        Standing(
            step=store.STEP_OF[card.kind],
            state="done",
            card=card.id,
            created=card.created,
            what=summary.line(card),
        )
        for card in done
    ]
    for kind in KINDS[len(done) :]:
        rows.append(Standing(step=store.STEP_OF[kind.kind], state=state, what=why))
        state, why = "to do", ""
    return rows
