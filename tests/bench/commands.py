"""`make bench-commands`: canonical commands a second on one core, each command a new one.

The commands are the right answers of the labelled pairs and the labelled risk commands, one line
each, made distinct by a last word; every cache is emptied first, so nothing is answered from
memory. Processor time is measured, not the clock: others may run beside it. Best of three.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Iterable

from opslore.commands import canonical, parse
from opslore.commands.plain import plain
from opslore.commands.scan import mask, prepare, scan
from tests.commands.corpus import rows

COPIES = 12
"""Distinct commands made of each."""

KEPT = {"tools", "hole_tables", "resource_kinds", "resource_groups", "ambiguous_kinds", "_parser"}
"""Caches that hold tables, not commands."""


def commands() -> list[str]:
    """The commands that a runbook prescribes."""
    found = [row["gold"] for row in rows("pairs")] + [row["command"] for row in rows("risk")]
    kept = [one for one in dict.fromkeys(found) if "\n" not in one and "#" not in one]
    return [one for one in kept if parse(one).ok]


def shape(command: str) -> str:
    """What makes a command cheap or dear to read."""
    text = prepare(command)
    slots = scan(text)
    script = plain(mask(text, slots), slots)
    if script is None:
        return "full grammar"
    kind = "one command" if len(script.items) == 1 else "pipeline or list"
    return f"{kind} with holes" if slots else kind


def empty_caches() -> None:
    """Forget every command that was read."""
    for name, module in list(sys.modules.items()):
        if name.startswith("opslore.commands"):
            for key, value in vars(module).items():
                if isinstance(value, functools._lru_cache_wrapper) and key not in KEPT:
                    value.cache_clear()


def per_second(distinct: Iterable[str]) -> float:
    """Commands a second, the best of three."""
    distinct, best = list(distinct), 0.0
    for _ in range(3):
        empty_caches()
        began = time.process_time()
        for command in distinct:
            canonical(command)
        best = max(best, len(distinct) / (time.process_time() - began))
    return best


def main() -> None:
    """Measure and print."""
    groups: dict[str, list[str]] = {}
    for number in range(COPIES):
        for at, command in enumerate(commands()):
            groups.setdefault(shape(command), []).append(f"{command} x{number}-{at}")
    canonical("kubectl get pods > x")
    out = {"all": per_second(one for group in groups.values() for one in group)}
    for name, group in sorted(groups.items()):
        out[name] = per_second(group)
        print(f"{name:30} {len(group):7} {out[name]:10.0f} /s")
    loop = time.process_time()
    for _ in range(1_000_000):
        pass
    out["million_loops_s"] = time.process_time() - loop
    print(json.dumps({name: round(value, 3 if value < 1 else None) for name, value in out.items()}))


if __name__ == "__main__":
    main()
