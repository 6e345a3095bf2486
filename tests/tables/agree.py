"""Where a table and a tool's help differ, and what a table lacks."""

from __future__ import annotations

from collections.abc import Mapping

from opslore.commands.tables import Flags, Tool

from .fold import reads
from .tree import Tree


def differences(tool: Tool, tree: Tree) -> list[str]:
    """`VERB --flag: ...` for every flag that the table reads otherwise than the help says."""
    found: list[str] = []
    for path, said in tree.items():
        flags = _flags(tool, path)
        if flags is None:
            continue
        for name, kind in said.kinds.items():
            read = reads(flags, name)
            if read != kind:
                found.append(f"{path} --{name}: the help says {kind}, the table {read}".lstrip())
        for other, name in said.others.items():
            read_as = flags.short.get(other, other)
            if read_as != flags.short.get(name, name):
                found.append(f"{path} -{other}: the help says {name}, the table {read_as}".lstrip())
    return found


def missing(tool: Tool, tree: Tree) -> list[str]:
    """Verbs that the help names and the table does not."""
    return [
        path for path, said in tree.items() if path and said.runs and path not in verbs(tool)
    ]


def verbs(tool: Tool) -> Mapping[str, object]:
    """The verb paths that a table knows, other spellings included."""
    return {**dict.fromkeys(tool.same), **tool.verbs}


def _flags(tool: Tool, path: str) -> Flags | None:
    """The flags at a verb path; None where the table has no such verb."""
    if not path:
        return tool.flags
    words = [tool.aliases.get(word, word) for word in path.split()]
    known = ""
    for word in words:
        known = f"{known} {word}".lstrip()
        known = tool.same.get(known, known)
    return tool.nodes.get(known)
