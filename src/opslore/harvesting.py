"""`collect` in pieces: the sources read alone, on any machine, and put together, or only read.

The corpus has the id and the bytes that `steps.collect` gives.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from opslore import progress, steps
from opslore.cards import Corpus
from opslore.config import Agent
from opslore.harvest import Harvest
from opslore.sources import gather, harvested
from opslore.sources.gather import Gathered


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
    return keep(agent, gather.counted([harvested.read(one, home.path(one)) for one in harvests]))


def gathered(agent: Agent, allow: Collection[str] = ()) -> Gathered:
    """What all sources give now, before it is a corpus.

    Args:
        agent: the agent file.
        allow: places that may be read though they are not public, see `Ground`; for tests.

    Raises:
        SourceError: a source cannot be read.
        DataError: nothing in one.
    """
    home = steps.store_of(agent)
    found = gather.collect(agent.collect, Path.cwd(), home.home / "sources", allow)
    progress.report("collect", found.documents, found.documents, "documents")
    return found


def keep(agent: Agent, found: Gathered) -> Corpus:
    """What the sources gave as a corpus; the same words are the same corpus."""
    return steps.store_of(agent).made(Corpus, [], [], found.write, facts=[found.content])
