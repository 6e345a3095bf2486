"""Many verbs' flags folded into the `flags` of a table, and aliases into its `same`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

from opslore.commands.tables import Flags

from .said import Kind, Said
from .tree import Tree

Row = dict[str, Any]


def joined(trees: Iterable[Tree]) -> Tree:
    """Several versions of a tool as one; what the first says of a flag counts."""
    found: Tree = {}
    for tree in trees:
        for path, said in tree.items():
            one = found.setdefault(path, Said(runs=False))
            one.kinds = said.kinds | one.kinds
            one.others = said.others | one.others
            one.defaults = {
                name: value
                for name, value in (said.defaults | one.defaults).items()
                if said.defaults.get(name, value) == one.defaults.get(name, value)
            }
            one.commands += [name for name in said.commands if name not in one.commands]
            one.aliases = one.aliases or said.aliases
            one.runs |= said.runs
    return found


def fold(tree: Tree, kept: Mapping[str, str]) -> dict[str, Row]:
    """The shortest rows that say the same: what most verbs agree on at the top, the rest below.

    Flags that are `kept` by hand stand in no row, and no default of theirs.
    """
    tree = {path: _without(said, kept) for path, said in tree.items()}
    top = _majority(tree)
    rows = {"": _row(top, top.kinds)}
    seen: dict[str, tuple[dict[str, Kind], dict[str, str], dict[str, str]]] = {
        "": (top.kinds, top.others, top.defaults)
    }
    for path in sorted(tree):
        words = path.split()
        above = next(
            seen[" ".join(words[:length])]
            for length in range(len(words) - bool(words), -1, -1)
            if " ".join(words[:length]) in seen
        )
        said = tree[path]
        kinds, others, defaults = above
        differing = [
            name
            for name, kind in said.kinds.items()
            if kinds.get(name) != kind
            or any(others.get(one) != name for one in said.others if said.others[one] == name)
            or (len(name) == 1 and others.get(name, name) != name)
            or said.defaults.get(name) != defaults.get(name)
        ]
        if differing and path:
            rows[path] = _row(said, differing, defaults)
        seen[path] = (
            {**kinds, **said.kinds},
            {**others, **said.others, **{name: name for name in said.kinds if len(name) == 1}},
            {**defaults, **said.defaults},
        )
    return rows


def same(tree: Tree, known: Container[str] = ()) -> dict[str, str]:
    """Other spellings of a path -> the path; `docker container ls` is `docker ps`.

    An alias is a word in place of the path's last (`ls`), or a whole path behind the program. The
    shortest spelling counts, then one that the table knows, then the one that the help is about.
    """
    found: dict[str, str] = {}
    for path, said in tree.items():
        spelled = [path] if path else []
        for alias in said.aliases if path else []:
            words = alias.split()
            spelled.append(" ".join(words[1:] if len(words) > 1 else [*path.split()[:-1], *words]))
        best = min(
            spelled, key=lambda one: (one.count(" "), one not in known, one not in tree), default=""
        )
        found |= {
            one: found.get(best, best) for one in spelled if one not in (best, found.get(best))
        }
    return found


def _without(said: Said, kept: Mapping[str, str]) -> Said:
    return Said(
        {name: kind for name, kind in said.kinds.items() if name not in kept},
        {one: name for one, name in said.others.items() if name not in kept},
        {name: value for name, value in said.defaults.items() if name not in kept},
    )


def _majority(tree: Tree) -> Said:
    """For each flag and letter what most verbs say, the tool itself before all verbs.

    A default only if all say the same.
    """
    kinds: dict[str, Counter[Kind]] = {}
    letters: dict[str, Counter[str]] = {}
    defaults: dict[str, set[str | None]] = {}
    for path, said in tree.items():
        weight = 1 if path else len(tree)
        for name, kind in said.kinds.items():
            kinds.setdefault(name, Counter())[kind] += weight
            defaults.setdefault(name, set()).add(said.defaults.get(name))
            if len(name) == 1:
                letters.setdefault(name, Counter())[name] += weight
        for one, name in said.others.items():
            letters.setdefault(one, Counter())[name] += weight
    found = Said({name: count.most_common(1)[0][0] for name, count in kinds.items()})
    chosen = {one: count.most_common(1)[0][0] for one, count in letters.items()}
    found.others = {one: name for one, name in chosen.items() if one != name}
    found.kinds = {
        name: kind for name, kind in found.kinds.items() if found.others.get(name, name) == name
    }
    found.defaults = {
        name: str(next(iter(values)))
        for name, values in defaults.items()
        if len(values) == 1 and None not in values
    }
    return found


def _row(said: Said, names: Iterable[str], above: Mapping[str, str] | None = None) -> Row:
    """`{"value": "namespace/n ...", "bool": ...}` for some flags of a verb.

    A default that stands above and that this verb lacks is named "", which no value equals.
    """
    row: Row = {}
    names = sorted(names)
    for kind in ("value", "bool", "many"):
        spelled = [
            "/".join([name, *sorted(one for one in said.others if said.others[one] == name)])
            for name in names
            if said.kinds[name] == kind
        ]
        if spelled:
            row[kind] = " ".join(spelled)
    defaults = {name: said.defaults[name] for name in names if name in said.defaults}
    if above is not None:
        defaults = {
            name: said.defaults.get(name, "")
            for name in names
            if said.defaults.get(name, "") != above.get(name, "")
        }
    if defaults:
        row["defaults"] = defaults
    return row


def reads(flags: Flags, name: str) -> Kind:
    """How a table reads a flag; one that it does not list takes no word."""
    name = flags.short.get(name, name)
    if name in flags.many:
        return "many"
    return "value" if name in flags.value else "bool"
