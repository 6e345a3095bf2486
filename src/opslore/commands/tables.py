"""What is known about each tool: which flags take a value, their long names, verbs and risks.

One JSON file per tool lies in `tables/`; each names the version and the page it was written from.
Flags are one string, `"namespace/n context output/o"`: long name, slash, short name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

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

    def merged(self, other: Flags) -> Flags:
        """These flags, overridden by `other`'s."""
        return Flags(
            (self.value - other.boolean) | other.value,
            (self.boolean - other.value) | other.boolean,
            {**self.short, **other.short},
        )


@dataclass(frozen=True)
class Verb:
    """One verb of a tool (`rollout restart`), or the tool itself when it has no verbs."""

    path: tuple[str, ...] = ()
    risk: Level = "unknown"
    flags: Flags = field(default_factory=Flags)
    defaults: Mapping[str, str] = field(default_factory=dict)
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
    depth: int
    family: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    synonyms: frozenset[str] = frozenset()
    """Programs that are only another name of the first one."""


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
    found: dict[str, Tool] = {}
    folder = files("opslore.commands") / "tables"
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if not entry.name.endswith(".json"):
            continue
        for row in read_table(entry.name.removesuffix(".json")).get("tools", []):
            tool = _tool(row)
            found |= dict.fromkeys(tool.programs, tool)
    return found


def _flags(row: Mapping[str, Any]) -> Flags:
    short: dict[str, str] = {}
    kinds: dict[str, set[str]] = {"value": set(), "bool": set()}
    for kind, names in kinds.items():
        for spelling in row.get(kind, "").split():
            long, _, letter = spelling.partition("/")
            names.add(long or letter)
            if letter:
                short[letter] = long or letter
    return Flags(frozenset(kinds["value"]), frozenset(kinds["bool"]), short)


def _verb(path: str, row: Mapping[str, Any]) -> Verb:
    return Verb(
        tuple(path.split()),
        row.get("risk", "unknown"),
        _flags(row),
        row.get("defaults", {}),
        row.get("resource", ""),
        row.get("inner", ""),
        row.get("raises", {}),
        row.get("lowers", {}),
    )


def _tool(row: Mapping[str, Any]) -> Tool:
    verbs: dict[str, Verb] = {}
    for paths, entry in row.get("verbs", {}).items():
        details = {"risk": entry} if isinstance(entry, str) else entry
        for path in paths.split(", "):
            verbs[path] = _verb(path, details)
    return Tool(
        row["programs"].split()[0],
        tuple(row["programs"].split()),
        row.get("style", "verbs" if verbs else "plain"),
        _flags(row),
        row.get("aliases", {}),
        verbs,
        _verb("", row),
        max((len(verb.path) for verb in verbs.values()), default=0),
        row.get("family", ""),
        row.get("defaults", {}),
        frozenset(row.get("synonyms", "").split()),
    )
