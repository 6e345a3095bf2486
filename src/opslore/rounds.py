"""What two models said to the same questions: kept line by line, and summed up from the lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from opslore.cards import Record
from opslore.errors import DataError, IntegrityError, MissingInput
from opslore.evaluation import statistics

Side = Literal["a", "b"]


class Said(Record):
    """What one contender made of a question."""

    reply: str
    command: str
    """What would be shown: a command, `escalate_to_human`, or an answer in prose."""
    escalate: bool
    """A person is asked; in prose: it did not end by itself."""
    right: bool | None = None
    """Whether it is the expected answer; None when nobody said which is."""
    seconds: float


class Round(Record):
    """One question, and who said what."""

    question: str
    when: str
    a: str
    """The first contender, with the digest of its weights."""
    b: str
    equal: bool | None = None
    """Whether both would show the same; None when only one was asked."""
    said: dict[Side, Said]


class Share(Record):
    """A count among many, with its two-sided 95 % Wilson interval."""

    count: int
    n: int
    low: float
    high: float


class Summary(Record):
    """What the kept rounds say."""

    a: str
    b: str
    rounds: int
    equal: Share
    """Both would show the same, among those asked of both."""
    answered: dict[Side, Share]
    """A command was shown, and no person asked."""
    right: dict[Side, Share] = Field(default_factory=dict)
    """The expected answer was shown, where one is known."""
    p: float | None = None
    """Exact McNemar: could equally good models differ so much? Over right, else over answered, on
    the questions asked of both; None without any."""
    seconds: dict[Side, float]
    """Median seconds of an answer."""
    kept: str
    """The file with every round."""


def keep(path: Path, found: Round) -> None:
    """Append one line, whole, whoever else appends; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = found.model_dump_json().encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(handle, line) != len(line):
            raise DataError(f"{path}: no space for another line", hint="make room, then ask again")
        os.fsync(handle)
    finally:
        os.close(handle)


def summed(path: Path, a: str, b: str) -> Summary:
    """What the kept rounds of two contenders say.

    Args:
        path: the file.
        a: the first's mark.
        b: the second's.

    Raises:
        MissingInput: nothing was kept.
        IntegrityError: a line is damaged.
    """
    rounds = list(_rounds(path))
    both = [r for r in rounds if len(r.said) == 2]
    sides: tuple[Side, Side] = ("a", "b")
    heard = {s: [r.said[s] for r in rounds if s in r.said] for s in sides}
    known = {s: [x for x in heard[s] if x.right is not None] for s in sides}
    return Summary(
        a=a,
        b=b,
        rounds=len(rounds),
        equal=_share([bool(r.equal) for r in both]),
        answered={s: _share([not x.escalate for x in heard[s]]) for s in sides},
        right={s: _share([bool(x.right) for x in known[s]]) for s in sides if known[s]},
        p=_mcnemar(both),
        seconds={s: _median([x.seconds for x in heard[s]]) for s in sides},
        kept=str(path),
    )


def _rounds(path: Path) -> Iterator[Round]:
    if not path.is_file():
        raise MissingInput(f"{path}: nothing was compared yet", hint="ask both a question first")
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            yield Round.model_validate_json(line)
        except ValidationError as error:
            raise IntegrityError(
                f"{path}:{number}: a damaged line", hint=f"delete line {number}, then run again"
            ) from error


def _share(values: Sequence[bool]) -> Share:
    low, high = statistics.wilson(sum(values), len(values))
    return Share(count=sum(values), n=len(values), low=low, high=high)


def _mcnemar(both: Sequence[Round]) -> float | None:
    known = [r for r in both if all(x.right is not None for x in r.said.values())]
    if known:
        pairs = [(float(bool(r.said["a"].right)), float(bool(r.said["b"].right))) for r in known]
    else:
        pairs = [(float(not r.said["a"].escalate), float(not r.said["b"].escalate)) for r in both]
    if not pairs:
        return None
    first, second = zip(*pairs, strict=True)
    return statistics.mcnemar(first, second)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
