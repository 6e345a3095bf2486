"""Looks at the sources of an agent, and brings its release up to date when something matters.

A look reads the sources, compares them with those of the newest release, and makes nothing. What
was tried is remembered in the store (the pointer `watch`), so that a killed try goes on where it
stopped, and one that the gate refused is not made again until a source or the agent file changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from opslore import proving, standing, steps, store
from opslore.cards import Bundle, Card, Corpus, Document, Evaluation, Release
from opslore.changes import Changes, Reading, compare
from opslore.config import Agent
from opslore.errors import GateFailed, IntegrityError
from opslore.files import alone
from opslore.proving import Proof
from opslore.record import Record
from opslore.release.current import history
from opslore.sources import gather
from opslore.sources.gather import Gathered
from opslore.store import Store

POINTER = "watch"

BUSY = 1.0
"""Seconds to wait for another watch of the same store on this machine."""

Todo = Literal["nothing", "refused", "run", "resume"]


class Tried(Record):
    """The last try."""

    corpus: str
    """Id of the corpus that was to be released."""
    settings: str
    """Digest of the agent file's settings."""
    before: str = ""
    """Id of the release that was the newest before; empty when there was none."""
    refused: list[str] = Field(default_factory=list)
    """What the gate, or the deployment, said against it."""
    done: bool = False
    """It was released, deployed and proved, well or badly."""


@dataclass(frozen=True)
class Seen:
    """What one look found."""

    changes: Changes
    """Against the newest release; without a release everything is new."""
    todo: Todo
    base: Release | None
    """The newest release."""
    reasons: list[str]
    """Why the gate refused it, when it did."""
    found: Gathered | None = None
    corpus: Corpus | None = None
    """What is to be released: read now, or kept by the try that goes on."""


def look(agent: Agent, allow: Collection[str] = ()) -> Seen:
    """Read the sources and say what there is to do; nothing is made.

    Args:
        agent: the agent file.
        allow: places that may be read though they are not public; for tests.

    Raises:
        SourceError: a source cannot be read; retryable when waiting may help.
        DataError: nothing in one.
        IntegrityError: what was kept of the last release or try is damaged.
    """
    home = steps.store_of(agent)
    found = gather.gathered(home, agent.collect, allow)
    now = Reading.of(found.rows(), _prose(agent))
    tried = recall(home)
    if tried is not None and not tried.done and tried.settings == _settings(agent):
        target = home.find(Corpus, tried.corpus)
        if target is not None and not compare(reading(agent, home, target), now).matters:
            return _unfinished(agent, home, tried, target)
    base = _newest(home)
    changes = compare(_released(agent, home, base), now)
    return Seen(changes, "run" if changes.matters else "nothing", base, [], found)


def act(agent: Agent, seen: Seen) -> Iterator[Card | Proof]:
    """Take all steps with what a look found, then prove what came of it.

    Each card comes as soon as it is there, the proof last; there is none for a first release.

    Raises:
        GateFailed: the release is refused; that is remembered.
        ServerError: another watch of this store is at work on this machine (retryable).
    """
    home = steps.store_of(agent)
    with alone(home.home / ".watch.lock", wait=BUSY):
        corpus = seen.corpus
        if corpus is None:
            assert seen.found is not None, "a look found nothing to do"
            corpus = gather.keep(home, seen.found)
        before = seen.base.id if seen.base else ""
        tried = Tried(corpus=corpus.id, settings=_settings(agent), before=before)
        _note(home, tried)
        made: list[Card] = []
        try:
            for card in _released_and_deployed(agent, home, corpus):
                made.append(card)
                yield card
        except GateFailed as error:
            _note(home, tried.model_copy(update={"refused": error.reasons}))
            raise
        release = next(card for card in made if isinstance(card, Release))
        # Answers in prose have no commands to prove; their gate has compared both releases.
        if seen.base is not None and not _prose(agent):
            evaluation = next(card for card in made if isinstance(card, Evaluation))
            yield proving.prove(agent, home, seen.changes, seen.base, release, evaluation)
        _note(home, tried.model_copy(update={"done": True}))


def recall(home: Store) -> Tried | None:
    """The last try; None when there was none.

    Raises:
        IntegrityError: the pointer says something else.
    """
    text = home.pointer(POINTER)
    try:
        return Tried.model_validate_json(text) if text else None
    except ValidationError as error:
        where = home.uri(f"{home.agent}/{POINTER}")
        raise IntegrityError(
            f"{where}: not what watch wrote: {error.errors()[0]['msg']}",
            hint=f"delete {where}: the next look then compares with the newest release",
        ) from error


def reading(agent: Agent, home: Store, corpus: Corpus) -> Reading:
    """What a corpus holds, ready to be compared."""
    rows = store.read_rows(home.path(corpus) / "documents.jsonl", Document)
    return Reading.of(rows, _prose(agent))


def _unfinished(agent: Agent, home: Store, tried: Tried, target: Corpus) -> Seen:
    """A try that was stopped or refused, and the sources are still those of it."""
    base = home.find(Release, tried.before) if tried.before else None
    changes = compare(_released(agent, home, base), reading(agent, home, target))
    todo: Todo = "resume"
    if tried.refused and not _more(agent, target):
        todo = "refused"
    return Seen(changes, todo, base, tried.refused, corpus=target)


def _more(agent: Agent, target: Corpus) -> bool:
    """Whether a refused try can go further by now: a person has let its gates pass."""
    version = ""
    try:
        with store.finding():
            for card in standing.walk(agent, target):
                version = card.version if isinstance(card, Release) else version
    except store.NotMade:
        return True
    except GateFailed:
        return False
    # Released by hand meanwhile, so the proof is left; or it was rolled back, and stays so.
    return version not in history(steps.store_of(agent)).withdrawn


def _newest(home: Store) -> Release | None:
    """The release that the newest run made or found again."""
    if not home.cards(Release):
        return None
    return home.latest(Release)


def _released(agent: Agent, home: Store, release: Release | None) -> Reading:
    """What a release was made from; nothing without one."""
    if release is None:
        return Reading(prose=_prose(agent))
    dataset = steps.dataset_of(home, steps.parent(home, release, Bundle))
    return reading(agent, home, steps.parent(home, dataset, Corpus))


def _released_and_deployed(agent: Agent, home: Store, corpus: Corpus) -> Iterator[Card]:
    for card in standing.walk(agent, corpus):
        yield card
        if isinstance(card, Release):
            # A runbook that was put back gives the release of then, and going back is meant.
            back = card.version in history(home).before
            yield steps.deploy(agent, card, again=back)
            return


def _prose(agent: Agent) -> bool:
    return agent.prepare.task == "answers"


def _note(home: Store, tried: Tried) -> None:
    home.note(POINTER, tried.model_dump_json())


def _settings(agent: Agent) -> str:
    return hashlib.sha256(agent.model_dump_json().encode()).hexdigest()
