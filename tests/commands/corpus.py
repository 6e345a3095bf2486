"""The labelled commands, and how many examples a property is tried on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "commands"

NIGHTLY = os.environ.get("OPSLORE_NIGHTLY") == "1"

EXAMPLES = 20_000 if NIGHTLY else 300


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of `pairs` or `risk`."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]


def every_command() -> list[str]:
    """All distinct commands of both files."""
    found = [row["command"] for row in rows("risk")]
    for row in rows("pairs"):
        found += [row["gold"], row["predicted"]]
    return list(dict.fromkeys(found))
