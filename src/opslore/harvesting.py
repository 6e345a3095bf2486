"""`collect` in pieces: each source read alone, on any machine, then put together.

The corpus has the id and the bytes that `steps.collect` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opslore import steps
from opslore.cards import Corpus
from opslore.config import Agent
from opslore.harvest import Harvest
from opslore.sources import gather, harvested


def harvest(agent: Agent, number: int) -> Harvest:
    """Read one source and keep what it gave.

    Args:
        agent: the agent file.
        number: which entry of `collect`, from 0.

    Raises:
        SourceError: nothing there, it cannot be read, or a limit.
        DataError: nothing in it.
    """
    home = steps.store_of(agent)
    origin, part = gather.read(agent.collect[number], Path.cwd(), home.home / "sources")
    facts = [origin, harvested.digest(part)]
    return home.made(Harvest, [], [], lambda work: harvested.write(origin, part, work), facts=facts)


def together(agent: Agent, harvests: Sequence[Harvest]) -> Corpus:
    """The corpus of what was harvested, in the order of the agent file.

    Raises:
        IntegrityError: what was kept of a source is not what its card says.
    """
    home = steps.store_of(agent)
    parts = [harvested.read(one, home.path(one)) for one in harvests]
    return gather.keep(home, gather.counted(parts))
