"""Holes with their kinds: which alert label fills `<pod-name>`, `$NS` or `<name>`.

The spelling decides first; the flag a hole follows (`-n <x>` is a namespace) and the resource it
stands for (`kubectl logs <x>` is a pod) decide what the spelling leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from opslore.commands.arguments import Invocation, invocation
from opslore.commands.kube import targets
from opslore.commands.parse import parse
from opslore.commands.scan import MARK, OPEN, Slot, scan
from opslore.commands.syntax import Script
from opslore.commands.tables import hole_tables

SAFE_VALUE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._:/@-]{0,252}")
"""Label values that may stand in a command: no shell metacharacter, no space, no leading dash."""

_FLAG_KINDS = {"namespace": "namespace", "container": "container", "node-name": "node"}
_NAMESPACED_TOOLS = frozenset(
    ["kubectl", "flux", "helm", "linkerd", "istioctl", "velero", "virtctl", "cmctl"]
)
_VERB_KINDS = {
    "kustomization": "kustomization",
    "helmrelease": "helmrelease",
    "git": "gitrepository",
}


@dataclass(frozen=True, slots=True)
class Hole:
    """A place in a command that the reader fills in."""

    text: str
    """As it is spelled: `<pod-name>`."""
    kind: str
    """What belongs there, as a Prometheus label name: `pod`."""
    start: int
    end: int
    kinds: tuple[str, ...] = ()
    """Label names that may fill it, the best first."""
    identity: str = ""
    """Holes of one command with the same identity are the same hole: `<ns>` and `$NAMESPACE`."""
    by_flag: bool = False
    """The flag it follows says what it is, whatever it is called."""

    def value(self, labels: Mapping[str, str]) -> str | None:
        """What the labels say belongs here, if it is safe to paste."""
        for kind in self.kinds:
            value = labels.get(kind, "")
            # A scrape address (host:port) is no name of a node.
            borrowed = kind == "instance" and self.kinds[0] != "instance" and ":" in value
            if SAFE_VALUE.fullmatch(value) and not borrowed:
                return value
        return None


def holes(command: str) -> list[Hole]:
    """The holes of a command, in order, with spans in the text as given."""
    slots = scan(command)
    if not slots:
        return []
    typed = typed_holes(parse(command))
    if len(typed) != len(slots):
        typed = [_hole(slot, "", False) for slot in slots]
    return [
        replace(hole, start=slot.start, end=slot.end)
        for hole, slot in zip(typed, slots, strict=True)
    ]


def fill(command: str, labels: Mapping[str, str]) -> str:
    """Put label values in the holes they belong to; holes without a safe value stay as they are."""
    pieces, last = [], 0
    for hole in holes(command):
        value = hole.value(labels)
        if value is not None:
            pieces += [command[last : hole.start], value]
            last = hole.end
    return "".join([*pieces, command[last:]])


def typed_holes(script: Script) -> list[Hole]:
    """The holes of a parsed command, numbered as the marks in its words are."""
    context: dict[int, tuple[str, bool]] = {}
    if script.slots:
        for command in script.commands:
            if command.words:
                for number, kind, by_flag in _context(invocation(command.words)):
                    if by_flag or number not in context:
                        context[number] = (kind, by_flag)
    return [
        _hole(slot, *context.get(number, ("", False))) for number, slot in enumerate(script.slots)
    ]


def spelled_kind(slug: str) -> str:
    """The kind a hole's words name; "" when they name none."""
    tables = hole_tables()
    if re.match(r"(?:number|count|ip|address|list|size|port|percent|path)_", slug):
        return ""
    name = re.sub(r"(?:_\d+)+$", "", slug)
    for candidate in (name, re.sub(r"_(?:name|id|label|here)$", "", name)):
        if candidate in tables.kind_of:
            return tables.kind_of[candidate]
    name = re.sub(r"_(?:names?|id|label|here|from_\w+)$", "", name)
    for suffix in tables.suffixes:
        if name.endswith(f"_{suffix}"):
            return tables.kind_of[suffix]
    return ""


def compatible(one: Hole, other: Hole) -> bool:
    """Whether two holes may stand for the same thing."""
    return bool(set(one.kinds) & set(other.kinds)) or not (_known(one) or _known(other))


def _known(hole: Hole) -> bool:
    tables = hole_tables()
    return hole.kind not in tables.generic and (
        hole.kind in tables.labels or hole.kind in tables.kind_of.values()
    )


def _hole(slot: Slot, context: str, by_flag: bool) -> Hole:
    kind, kinds, identity = _kinds(slot.slug, context, by_flag)
    return Hole(slot.text, kind, slot.start, slot.end, kinds, identity, by_flag)


@lru_cache(maxsize=4096)
def _kinds(slug: str, context: str, by_flag: bool) -> tuple[str, tuple[str, ...], str]:
    """What a hole of these words at this place is: its kind, what may fill it, its identity."""
    tables = hole_tables()
    spelled = spelled_kind(slug)
    generic = slug in tables.generic or spelled in tables.generic
    kind = context if by_flag else spelled or context or slug
    first = context if by_flag or (generic and context) else kind
    # `clusters.postgresql.cnpg.io <cluster>`: a label has the kind's name without its group.
    bare = first.partition(".")[0]
    kinds = (
        (*tables.labels.get(bare, (bare,)), first)
        if bare != first
        else tables.labels.get(first, (first,))
    )
    if generic and not by_flag and kind not in kinds:
        kinds = (*kinds, kind)
    exact = tables.kind_of.get(slug) or tables.kind_of.get(slug.removesuffix("_name"))
    return kind, kinds, slug if not exact or generic else exact


def _context(call: Invocation) -> Iterator[tuple[int, str, bool]]:
    """Marks that fill a whole argument: number, kind of thing, and whether a flag says so."""
    tool = call.tool.name if call.tool else ""
    for flag in call.flags if tool in _NAMESPACED_TOOLS else ():
        kind = _FLAG_KINDS.get(flag.name)
        if kind and flag.value:
            yield from ((number, kind, True) for number in _whole(flag.value.text))
    if tool == "kubectl":
        for target in targets(call)[0]:
            kind = "name" if OPEN in target.kind else target.kind
            label = hole_tables().resources.get(kind, kind)
            yield from (
                (number, label, False) for number in _whole(target.name.text if target.name else "")
            )
    elif tool == "flux" and call.positionals and call.verb.path:
        kind = _VERB_KINDS.get(call.verb.path[-1], "name")
        yield from ((number, kind, False) for number in _whole(call.positionals[0].text))
    elif tool == "helm" and call.positionals:
        yield from ((number, "release", False) for number in _whole(call.positionals[0].text))


def _whole(text: str) -> list[int]:
    found = MARK.fullmatch(text) if text[:1] == OPEN else None
    return [int(found.group(1))] if found else []
