"""What is known about each tool: which flags take a value, their long names, verbs and risks.

One JSON file per tool lies in `tables/`; each names the version and the page it was written from.
Flags are one string, `"namespace/n context output/o"`: long name, slash, other names.

`value`, `bool` and `many` stand beside the tool, each verb and each of `groups` (beginnings of
verb paths, `compose`), written by hand. `flags` holds what the tool's own help says, by verb path,
written by `python -m tests.tables`: an entry counts for its path and for every path below it, ""
for the whole tool. Of two that speak of one flag the longer path wins, then the hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from opslore.commands.lazy import Lazy

Level = Literal["read", "reversible", "disruptive", "unknown", "destructive", "denied"]

LEVELS: tuple[Level, ...] = (
    "read",
    "reversible",
    "disruptive",
    "unknown",
    "destructive",
    "denied",
)
"""From harmless to refused. `unknown` needs a person, so it stands above what is known to heal."""


@dataclass(frozen=True)
class Flags:
    """The flags of a tool or a verb, by long name and by short letter."""

    value: frozenset[str] = frozenset()
    boolean: frozenset[str] = frozenset()
    short: Mapping[str, str] = field(default_factory=dict)
    """Letters and other names -> the name that counts."""
    many: frozenset[str] = frozenset()
    """Flags of `value` that take every word up to the next flag (`--instance-ids i-1 i-2`)."""
    spelled: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What words that were read before spell, so that each is taken apart once."""

    def merged(self, other: Flags) -> Flags:
        """These flags, overridden by `other`'s."""
        return Flags(
            (self.value - other.boolean) | other.value,
            (self.boolean - other.value) | other.boolean,
            {**self.short, **other.short},
            (self.many - other.boolean - other.value) | other.many,
        )


@dataclass(frozen=True)
class Verb:
    """One verb of a tool (`rollout restart`), or the tool itself when it has no verbs."""

    path: tuple[str, ...] = ()
    risk: Level = "unknown"
    flags: Flags = field(default_factory=Flags)
    """All flags that it takes, those of the tool included."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Documented defaults of its flags, those of the tool included."""
    resource: str = ""
    """`kind` when the positionals name a resource kind; a kind (`pod`) that a bare name means."""
    inner: str = ""
    """Where another command begins: `--`, or after so many positionals (`0`, `1`)."""
    raises: Mapping[str, Level] = field(default_factory=dict)
    """Flags that make it worse."""
    lowers: Mapping[str, Level] = field(default_factory=dict)
    """Flags that make it harmless (`--dry-run=client`)."""


@dataclass(frozen=True)
class Tool:
    """A program's table."""

    name: str
    programs: tuple[str, ...]
    style: Literal["verbs", "plain", "ordered"]
    flags: Flags
    aliases: Mapping[str, str]
    verbs: Mapping[str, Verb]
    default: Verb
    nodes: Mapping[str, Flags]
    """Every verb path and every beginning of one -> the flags that may follow it."""
    same: Mapping[str, str]
    """Verb paths that are another name of one (`container ls` is `ps`)."""
    family: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    synonyms: frozenset[str] = frozenset()
    """Programs that are only another name of the first one."""
    otherwise: Literal["bool", "value"] = "bool"
    """What a long flag is that nobody lists."""
    services: frozenset[str] = frozenset()
    """First words of a verb path that ends in one of `operations`, however long it is."""
    operations: Mapping[str, Level] = field(default_factory=dict)
    """Last words, or their first part (`describe` of `describe-instances`) -> the risk."""
    groups: frozenset[str] = frozenset()
    """Beginnings of verb paths that are named like an operation (`container ... update`)."""

    seen: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Steps along verb paths that were taken before."""

    def operation(self, path: str) -> Level | None:
        """The level of `ec2 describe-instances`: by its whole last word, its parts, its first.

        aws has its operation in the second place, gcloud at the end of any number of groups.
        """
        words = path.split()
        if len(words) < 2 or path in self.groups or (self.family == "aws" and len(words) > 2):
            return None
        parts = words[-1].split("-")
        spelled = (words[-1], "-".join(parts[:2]), parts[0])
        return next((self.operations[one] for one in spelled if one in self.operations), None)


@dataclass(frozen=True)
class HoleTables:
    """Spellings of holes, and the alert labels that fill them."""

    kind_of: Mapping[str, str]
    suffixes: tuple[str, ...]
    generic: frozenset[str]
    labels: Mapping[str, tuple[str, ...]]
    resources: Mapping[str, str]
    environment: frozenset[str]


def read_table(name: str) -> dict[str, Any]:
    """A JSON table of this package."""
    text = (files("opslore.commands") / "tables" / f"{name}.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def vocabulary(table: str, key: str) -> frozenset[str]:
    """A list of words in a table, written as one string."""
    return frozenset(read_table(table)[key].split())


@cache
def hole_tables() -> HoleTables:
    """The hole tables, read once."""
    table = read_table("holes")
    return HoleTables(
        {name: kind for kind, names in table["aliases"].items() for name in names.split()},
        tuple(sorted(table["suffixes"].split(), key=len, reverse=True)),
        frozenset(table["generic"].split()),
        {kind: tuple(names.split()) for kind, names in table["labels"].items()},
        table["resources"],
        frozenset(table["environment"].split()),
    )


@cache
def resource_kinds() -> Mapping[str, str]:
    """Every spelling of a Kubernetes resource kind -> its singular name."""
    table = read_table("resources")["kinds"]
    return {name: kind for kind, names in table.items() for name in [kind, *names.split()]}


@cache
def resource_groups() -> frozenset[str]:
    """API groups that a resource kind may carry without meaning anything else."""
    return vocabulary("resources", "groups")


@cache
def ambiguous_kinds() -> frozenset[str]:
    """Kinds that several API groups use for different things; their group is kept."""
    return vocabulary("resources", "ambiguous")


@cache
def tools() -> Mapping[str, Tool]:
    """Every known program -> its table."""
    rows: dict[str, dict[str, Any]] = {}
    folder = files("opslore.commands") / "tables"
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.name.endswith(".json"):
            for row in read_table(entry.name.removesuffix(".json")).get("tools", []):
                rows |= dict.fromkeys(row["programs"].split(), row)
    made: dict[int, Tool] = {}

    def tool(program: str) -> Tool:
        """One object for all names of a tool."""
        row = rows[program]
        return made.setdefault(id(row), made.get(id(row)) or _tool(row))

    return Lazy(rows, tool)


def _flags(row: Mapping[str, Any]) -> Flags:
    short: dict[str, str] = {}
    kinds: dict[str, set[str]] = {"value": set(), "bool": set(), "many": set()}
    for kind, names in kinds.items():
        for spelling in row.get(kind, "").split():
            name, *others = spelling.split("/")
            name = name or others[0]
            names.add(name)
            # A flag that is only a letter hides the letter of a wider table.
            others += [name] if len(name) == 1 else []
            short |= dict.fromkeys(others, name)
    value = frozenset(kinds["value"] | kinds["many"])
    return Flags(value, frozenset(kinds["bool"]), short, frozenset(kinds["many"]))


class _Nodes:
    """What holds at each verb path: flags and defaults, with those of every shorter path."""

    def __init__(self, row: Mapping[str, Any], verbs: Mapping[str, Mapping[str, Any]]) -> None:
        self._rows = (row.get("flags", {}), row.get("groups", {}), verbs)
        self._at = {"": self._below((Flags(), {}), [self._rows[0].get("", {}), row])}
        paths = [path.split() for rows in self._rows for path in rows]
        self.paths = {" ".join(one[:length]) for one in paths for length in range(1, len(one) + 1)}

    def at(self, path: str) -> tuple[Flags, dict[str, str]]:
        """Flags and documented defaults at a path."""
        if path not in self._at:
            above = self.at(path.rpartition(" ")[0])
            self._at[path] = self._below(above, [rows.get(path, {}) for rows in self._rows])
        return self._at[path]

    def _below(
        self, above: tuple[Flags, dict[str, str]], rows: list[Mapping[str, Any]]
    ) -> tuple[Flags, dict[str, str]]:
        flags, defaults = above
        for row in rows:
            if row.keys() & {"value", "bool", "many"}:
                flags = flags.merged(_flags(row))
            if "defaults" in row:
                defaults = {**defaults, **row["defaults"]}
        return flags, defaults


def _verb(path: str, row: Mapping[str, Any], nodes: _Nodes) -> Verb:
    flags, defaults = nodes.at(path)
    return Verb(
        tuple(path.split()),
        row.get("risk", "unknown"),
        flags,
        defaults,
        row.get("resource", ""),
        row.get("inner", ""),
        row.get("raises", {}),
        row.get("lowers", {}),
    )


def _tool(row: Mapping[str, Any]) -> Tool:
    rows: dict[str, Mapping[str, Any]] = {}
    for paths, entry in row.get("verbs", {}).items():
        details = {"risk": entry} if isinstance(entry, str) else entry
        rows |= dict.fromkeys(paths.split(", "), details)
    nodes = _Nodes(row, rows)
    flags, defaults = nodes.at("")
    operations: Mapping[str, str] = row.get("operations", {})
    verbs = Lazy(rows, lambda path: _verb(path, rows[path], nodes))
    return Tool(
        row["programs"].split()[0],
        tuple(row["programs"].split()),
        row.get("style", "verbs" if rows else "plain"),
        flags,
        row.get("aliases", {}),
        verbs,
        _verb("", row, nodes),
        Lazy(nodes.paths, lambda path: nodes.at(path)[0]),
        row.get("same", {}),
        row.get("family", ""),
        defaults,
        frozenset(row.get("synonyms", "").split()),
        row.get("otherwise", "bool"),
        frozenset(row.get("services", "").split()),
        {name: level for level in LEVELS for name in operations.get(level, "").split()},
        frozenset(row.get("groups", {})),
    )
