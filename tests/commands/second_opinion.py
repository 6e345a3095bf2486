"""What `shfmt`, a shell parser that shares no code with ours, makes of a command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslore.commands import parse
from opslore.commands.scan import mask, prepare, scan
from opslore.commands.syntax import Script, Word

SHFMT = Path(sys.executable).with_name("shfmt")

EXPANDED = "\0"
"""Stands for whatever only a running shell could tell."""

Calls = Counter[tuple[str, ...]]


def difference(command: str) -> str:
    """How the two parsers differ on a command; "" when they agree.

    They agree when both refuse it, or when both see the same simple commands with the same words.
    """
    text = prepare(command)
    script = parse(command)
    done = subprocess.run(
        [SHFMT, "-ln=bash", "-tojson"],
        input=mask(text, scan(text)).encode("utf-8", "replace"),
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        return f"only shfmt refuses it: {done.stderr.decode().strip()}" if script.ok else ""
    if not script.ok:
        return "" if script.reason == "no command" else f"only we refuse it: {script.reason}"
    ours, theirs = _ours(script), Counter(_theirs(json.loads(done.stdout)))
    if ours == theirs:
        return ""
    return f"we see {list((ours - theirs).elements())}, shfmt sees {[*(theirs - ours).elements()]}"


def _ours(script: Script) -> Calls:
    found = [tuple(_text(word) for word in command.words) for command in script.commands]
    return Counter(words for words in found if words)


def _text(word: Word) -> str:
    kinds = ("text", "bare")
    return "".join(part.text if part.kind in kinds else EXPANDED for part in word.parts)


def _theirs(node: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every simple command below a node of shfmt's tree."""
    if isinstance(node, list):
        for child in node:
            yield from _theirs(child)
        return
    if not isinstance(node, dict):
        return
    kind = node.get("Type")
    if kind == "CallExpr" and node.get("Args"):
        yield (*before, *(_word(one["Parts"]) for one in node["Args"]))
    elif kind == "DeclClause":
        naked = [one for one in node.get("Args", []) if one.get("Naked")]
        words = [
            one["Name"]["Value"] if "Name" in one else _word(one["Value"]["Parts"]) for one in naked
        ]
        yield (*before, node["Variant"]["Value"], *words)
    elif kind == "TimeClause":
        yield from _theirs(node.get("Stmt", {}).get("Cmd"), (*before, "time"))
        node = {**node, "Stmt": {**node.get("Stmt", {}), "Cmd": None}}
    for child in node.values():
        yield from _theirs(child)


def _word(parts: list[dict[str, Any]], quoted: bool = False) -> str:
    return "".join(_part(part, quoted) for part in parts)


def _part(part: dict[str, Any], quoted: bool) -> str:
    kind = part["Type"]
    if kind == "Lit":
        signs = r'(["\\$`])' if quoted else r"(.)"
        return re.sub(rf"\\{signs}", r"\1", part["Value"], flags=re.S)
    if kind == "SglQuoted":
        value = part.get("Value", "")
        return value.encode().decode("unicode_escape") if part.get("Dollar") else value
    if kind == "DblQuoted":
        return _word(part.get("Parts", []), True)
    return EXPANDED
