"""Where a table and a tool's help differ, and what a table lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opslore.commands.arguments import invocation
from opslore.commands.syntax import word
from opslore.commands.tables import Flags, Tool

from .fold import reads
from .tree import Tree


def chosen(tree: Tree, row: Mapping[str, Any]) -> Tree:
    """The part of a tree that its table is about: all of it, or the services that it names."""
    services = row.get("services", "").split()
    if not services:
        return tree
    return {path: said for path, said in tree.items() if not path or path.split()[0] in services}


def differences(tool: Tool, tree: Tree, kept: Mapping[str, str]) -> list[str]:
    """`VERB --flag: ...` for every flag that the table reads otherwise than the help says."""
    found: list[str] = []
    for path, said in tree.items():
        flags = _flags(tool, path)
        if flags is None:
            continue
        for name, kind in said.kinds.items():
            read = reads(flags, name)
            if read != kind and name not in kept:
                found.append(f"{path} --{name}: the help says {kind}, the table {read}".lstrip())
        for other, name in said.others.items():
            read_as = flags.short.get(other, other)
            if read_as != flags.short.get(name, name) and name not in kept:
                found.append(f"{path} -{other}: the help says {name}, the table {read_as}".lstrip())
    return found


def missing(tool: Tool, tree: Tree) -> list[str]:
    """Verbs that the help names and the table does not."""
    found: list[str] = []
    for path, said in tree.items():
        call = invocation((word(tool.name), *map(word, path.split())))
        exact = " ".join(call.verb.path) == settled(path, tool.same, tool.aliases)
        # `kubectl top pod` is the verb `top` of a kind; `triggers create github` is a `create`.
        known = call.known_verb and (exact or call.verb.resource or tool.services)
        if path and said.runs and not known and path.split()[-1] not in ("help", "completion"):
            found.append(path)
    return found


def settled(path: str, same: Mapping[str, str], aliases: Mapping[str, str]) -> str:
    """A path with every other spelling of a part of it taken back."""
    known = ""
    for name in path.split():
        known = f"{known} {aliases.get(name, name)}".lstrip()
        known = same.get(known, known)
    return known


def _flags(tool: Tool, path: str) -> Flags | None:
    """The flags at a verb path; None where the table has no such verb."""
    if not path:
        return tool.flags
    return tool.nodes.get(settled(path, tool.same, tool.aliases))
