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

from opslore.commands.tables import tools

from . import write
from .agree import differences, missing
from .fold import fold, joined, same
from .known import KEPT
from .programs import Program, present
from .tree import Tree


def trees() -> dict[str, Tree]:
    """What every program here says, by the tool whose table it belongs to."""
    found: dict[str, list[Tree]] = {}
    for program, paths in present():
        tool = program.of or program.name
        if not sys.argv[1:] or tool in sys.argv[1:]:
            found.setdefault(tool, []).extend(_said(program, path) for path in paths)
    return {tool: joined(said) for tool, said in found.items()}


def _said(program: Program, path: Path) -> Tree:
    print(f"asking {path}", file=sys.stderr)
    return program.tree(path)


def _update(tool: str, tree: Tree) -> None:
    path, row = write.rows()[tool]
    if services := row.get("services", "").split():
        tree = {verb: said for verb, said in tree.items() if not verb or verb.split()[0] in services}
    row = dict(row)
    kept = KEPT.get(tool, {})
    row |= _by_hand(row, tree, [""], kept)
    row["verbs"] = {
        paths: entry if isinstance(entry, str) else _by_hand(entry, tree, paths.split(", "), kept)
        for paths, entry in row.get("verbs", {}).items()
    }
    others = same(tree) | row.get("same", {})
    row["same"] = {one: others[one] for one in sorted(others)}
    row["flags"] = fold(tree)
    for key in ("value", "bool", "verbs", "same"):
        if not row.get(key):
            row.pop(key, None)
    write.save(path, row)


def _by_hand(
    row: Mapping[str, Any], tree: Tree, paths: list[str], kept: Mapping[str, str]
) -> dict[str, Any]:
    """A row without the flags that the help lists for all of its paths."""
    found = dict(row)
    listed = [tree[path].kinds.keys() | tree[path].others.keys() for path in paths if path in tree]
    if paths == [""]:
        listed = [set().union(*(said.kinds.keys() | said.others.keys() for said in tree.values()))]
    for kind in ("value", "bool"):
        names = [
            name
            for name in row.get(kind, "").split()
            if name.strip("/").split("/")[0] in kept
            or not listed
            or not all(name.strip("/").split("/")[0] in one for one in listed)
        ]
        found[kind] = " ".join(names)
    return {key: value for key, value in found.items() if value or key not in ("value", "bool")}


def main() -> None:
    """Write the tables and print what they still lack."""
    said = trees()
    for tool, tree in said.items():
        _update(tool, tree)
    tools.cache_clear()
    for tool, tree in said.items():
        services = tools()[tool].services
        for verb in missing(tools()[tool], tree) if not services else []:
            print(f"{tool} {verb}: no risk in the table")
        for line in differences(tools()[tool], tree):
            print(f"{tool} {line}")


if __name__ == "__main__":
    main()
