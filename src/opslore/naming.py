"""Fill a command's holes with what a question states, introduced or not.

What the command itself says of its holes comes first (`holding`, `matching`); names of Kubernetes
are read by their form and place (`placing`). Of two that could fill a hole, none does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from opslore import commands, labels, matching
from opslore.commands.holes import SAFE_VALUE
from opslore.holding import Holding, all_nouns, holdings
from opslore.introducing import may_be_bare
from opslore.placing import assigned

_USED = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def filled(question: str, command: str, known: Mapping[str, str], prose: str = "") -> str:
    """A command with every hole filled that the question fills.

    Args:
        question: what somebody wrote.
        command: an entry's answer.
        known: the labels that were read already; they win.
        prose: what the entry says in words: a name that it uses itself is no value by its form.
    """
    if not commands.holes(command):
        return command
    used = _used(prose)
    sure, said = _told(question, command, known)
    command = commands.fill(command, sure)
    found = matching.sure(question, _held(command), used)
    command = _fill(command, found)
    things = {value for kind, value in known.items() if kind.replace("_", " ") in all_nouns()}
    taken = things | set(found.values())
    said = {
        kind: value
        for kind, value in said.items()
        if value not in {*found.values(), *sure.values()}
    }
    command = commands.fill(command, said)
    named = [one for one in _held(command) if one.sort in ("kubernetes", "name", "number")]
    more = assigned(question, [one.hole for one in named], {**known, **found}, prose, _cued(named))
    command = commands.fill(command, more)
    taken |= set(more.values())
    return _fill(command, matching.likely(question, _held(command), used, taken))


def _held(command: str) -> list[Holding]:
    return holdings(command, commands.holes(command))


def _told(
    question: str, command: str, known: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The labels that fill holes at once, and those that wait for what the command itself tells.

    What was only said was read without an eye on what the hole can hold.
    """
    written = labels.written(question)
    sure, said = dict(known), {}
    for one in _held(command):
        for kind in one.hole.kinds if one.sort != "kubernetes" else ():
            value = sure.get(kind, "")
            if value and (one.sort == "amount" or not one.takes(value)):
                del sure[kind]
            elif value and written.get(kind) != value:
                del sure[kind]
                if may_be_bare(value):
                    said[kind] = value
    return sure, said


def _cued(named: list[Holding]) -> frozenset[str]:
    """The holes of other systems than Kubernetes: a form alone names nothing there."""
    return frozenset(one.hole.identity for one in named if one.sort != "kubernetes")


def _fill(command: str, values: Mapping[str, str]) -> str:
    """The command with values in its holes, by their identity; ssh takes no port."""
    pieces, last = [], 0
    for hole in commands.holes(command):
        value = values.get(hole.identity, "")
        if re.search(r"\bssh\s+$", command[: hole.start]):
            value = re.sub(r":\d+$", "", value)
        if SAFE_VALUE.fullmatch(value):
            pieces += [command[last : hole.start], value]
            last = hole.end
    return "".join([*pieces, command[last:]])


def _used(prose: str) -> frozenset[str]:
    """The words of an entry, those inside a title in CamelCase too."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", prose)
    return frozenset(_USED.findall(prose.lower())) | frozenset(
        re.findall(r"[a-z0-9][\w.-]*\w", apart.lower())
    )
