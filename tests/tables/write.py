"""A table as text, so that a person can read it and a changed flag is a changed line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "src" / "opslore" / "commands" / "tables"
_ORDER = (
    "programs synonyms family style version source risk inner value bool many otherwise defaults "
    "aliases raises lowers services operations verbs groups same help flags"
)


def rows() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every program that a table names -> its file and its row."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(FOLDER.glob("*.json")):
        for row in json.loads(path.read_text("utf-8")).get("tools", []):
            found |= dict.fromkeys(row["programs"].split(), (path, row))
    return found


def text(table: Mapping[str, Any]) -> str:
    """One row a line; a row with verbs or flags has a line for each."""
    tools = ",\n".join(_row(row) for row in table["tools"])
    return '{\n  "tools": [\n' + tools + "\n  ]\n}\n"


def save(path: Path, row: dict[str, Any]) -> None:
    """Put a row in place of the one with the same programs."""
    table = json.loads(path.read_text("utf-8"))
    table["tools"] = [row if one["programs"] == row["programs"] else one for one in table["tools"]]
    path.write_text(text(table), "utf-8")


def _row(row: Mapping[str, Any]) -> str:
    keys = sorted(row, key=_ORDER.split().index)
    if "verbs" not in row and set(row.get("flags", {})) <= {""}:
        return f"    {json.dumps({key: row[key] for key in keys})}"
    lines = [f"      {json.dumps(key)}: {_value(key, row[key])}" for key in keys]
    return "    {\n" + ",\n".join(lines) + "\n    }"


def _value(key: str, value: Any) -> str:
    if key not in ("verbs", "groups", "flags") or not value:
        return json.dumps(value)
    lines = [f"        {json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items()]
    return "{\n" + ",\n".join(lines) + "\n      }"
