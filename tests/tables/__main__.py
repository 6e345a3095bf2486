"""`python -m tests.tables [PROGRAM ...]`: write what the tools' help says into the tables.

A flag that the help lists leaves the hand-written `value` and `bool`; what stays there is of other
versions, or is meant to differ. Verbs that the help lists and the table lacks are printed: a person
gives them a risk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from opslore.commands.tables import Tool, tools

from . import write
from .agree import chosen, differences, missing, settled
from .fold import fold, joined, same
from .known import KEPT
from .programs import Program, present
from .tree import Tree


def trees() -> dict[str, tuple[Tree, list[str]]]:
    """What every program here says and its version, by the tool whose table it belongs to."""
    found: dict[str, list[Tree]] = {}
    versions: dict[str, list[str]] = {}
    for program, paths in present():
        tool = program.of or program.name
        if not sys.argv[1:] or tool in sys.argv[1:]:
            found.setdefault(tool, []).extend(_said(program, path) for path in paths)
            versions.setdefault(tool, []).extend(program.named(path) for path in paths)
    return {tool: (joined(said), versions[tool]) for tool, said in found.items()}


def _said(program: Program, path: Path) -> Tree:
    print(f"asking {path}", file=sys.stderr)
    return program.tree(path)


def _update(tool: str, tree: Tree, versions: list[str]) -> None:
    path, row = write.rows()[tool]
    kept = KEPT.get(tool, {})
    verbs = {one for paths in row.get("verbs", {}) for one in paths.split(", ")}
    others = same(tree, verbs) | row.get("same", {})
    names = row.get("aliases", {})
    plain = {settled(verb, others, names): said for verb, said in chosen(tree, row).items()}
    tree = plain | {verb: said for verb, said in tree.items() if verb in plain}
    entries = {
        ", ".join(dict.fromkeys(settled(one, others, names) for one in paths.split(", "))): entry
        for paths, entry in row.get("verbs", {}).items()
    }
    found = _by_hand(row, tree, [], kept) | {
        "verbs": {
            paths: entry
            if isinstance(entry, str)
            else _by_hand(entry, tree, paths.split(", "), kept)
            for paths, entry in entries.items()
            if paths
        },
        "same": {one: others[one] for one in sorted(others)},
        "groups": row.get("groups", {}) | _groups(tools()[tool], tree),
        "help": ", ".join(sorted(set(versions))),
        "flags": fold(tree, kept),
    }
    write.save(path, {key: value for key, value in found.items() if value})


def _groups(tool: Tool, tree: Tree) -> dict[str, dict[str, str]]:
    """Beginnings of verb paths named like an operation, with an operation of their own below."""

    named = {path for path in tree if tool.services and _operates(tool, path)}
    ends = [path for path in named if tree[path].runs]
    above = {" ".join(path.split()[:at]) for path in ends for at in range(2, path.count(" ") + 1)}
    return {path: {} for path in sorted(above & named)}


def _operates(tool: Tool, path: str) -> bool:
    """Whether a path's last word is an operation, wherever the path leads."""
    return " " in path and tool.operation(f"{tool.name} {path.split()[-1]}") is not None


def _by_hand(
    row: Mapping[str, Any], tree: Tree, paths: list[str], kept: Mapping[str, str]
) -> dict[str, Any]:
    """A row without the flags that the help lists for all of its paths; for the tool, for any."""
    listed = [
        said.kinds.keys() | said.others.keys()
        for path, said in tree.items()
        if not paths or path in paths
    ]
    if not paths:
        listed = [set[str]().union(*listed)]
    found = dict(row)
    for kind in ("value", "bool"):
        names = [
            "/".join([name, *(one for one in letters if not any(one in said for said in listed))])
            for name, *letters in (one.split("/") for one in row.get(kind, "").split())
            if not listed or not all({name, *letters} <= said for said in listed)
        ]
        stay = [one for one in row.get(kind, "").split() if one.split("/")[0] in kept]
        found[kind] = " ".join(dict.fromkeys([*stay, *names]))
    return {key: value for key, value in found.items() if value or key not in ("value", "bool")}


def main() -> None:
    """Write the tables and print what they still lack."""
    said = trees()
    for tool, (tree, versions) in said.items():
        _update(tool, tree, versions)
    tools.cache_clear()
    for tool, (tree, _) in said.items():
        tree = chosen(tree, write.rows()[tool][1])
        for verb in missing(tools()[tool], tree):
            print(f"{tool} {verb}: no risk in the table")
        for line in differences(tools()[tool], tree, KEPT.get(tool, {})):
            print(f"{tool} {line}")


if __name__ == "__main__":
    main()
