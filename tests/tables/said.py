"""One help text of a cobra program (kubectl, helm, docker, flux ...): its flags and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["value", "bool", "many"]


@dataclass
class Said:
    """What one verb's help says."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    """Flag -> whether it takes a word. A flag with an optional `=value` takes none."""
    others: dict[str, str] = field(default_factory=dict)
    """A flag's letter or second name -> the name in `kinds`."""
    defaults: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    runs: bool = True
    """Whether it does something without a command below it."""

    def add(self, names: list[str], kind: Kind, default: str = "") -> None:
        """Keep a flag by its first long name; the first line that names it counts."""
        name = next((one for one in names if len(one) > 1), names[0])
        if name in self.kinds:
            return
        self.kinds[name] = kind
        self.others |= {one: name for one in names if one != name}
        if default and not re.search(r"[/\\\s]|^\[|^map\[|^0x", default):
            self.defaults[name] = default


_HEADING = re.compile(r"^(?:[\w() -]*\b)?[Cc]ommands?\b[\w() ]*:?\s*$|^COMMANDS:$")
_FLAG = re.compile(r"^ {1,8}(?:-(?P<letter>.), )?--(?P<name>[\w.-]+)(?P<rest>.*)$")
_DEFAULT = re.compile(r"\(default:? \"?([^\")]*)\"?\)")
_KUBECTL = re.compile(r"^ {4}(?:-(?P<letter>.), )?--(?P<name>[\w.-]+)=(?P<default>.*):$")
_ETCD = re.compile(r"^ {2,6}(?:-(?P<letter>.), )?--(?P<name>[\w.-]+)(?P<rest>\[?=\S*)")


def cobra(text: str) -> Said:
    """A help text as cobra writes it, Docker's and Podman's wrapping included."""
    found = _commands(text)
    lines = text.splitlines()
    for at, line in enumerate(lines):
        match = _FLAG.match(line)
        if not match:
            continue
        rest, letter = match["rest"], match["letter"]
        if re.match(r",? -{1,2}\w", rest):  # `--colour, --color`: a line of an example
            continue
        names = [match["name"], *([letter] if letter else [])]
        typed = re.match(r" (?P<type>\S+(?: \S+)*?)(?: {2,}|\s*$)", rest)
        kind: Kind = "value" if typed and "[=" not in typed["type"] else "bool"
        given = _DEFAULT.search(" ".join([rest, *_wrapped(lines[at + 1 :])]))
        found.add(names, kind, _true(given[1], kind) if given else "")
    return found


def _wrapped(lines: list[str]) -> list[str]:
    """The lines that continue a flag's description."""
    kept: list[str] = []
    for line in lines:
        if not line.startswith(" " * 12):
            break
        kept.append(line.strip())
    return kept


def _true(default: str, kind: Kind) -> str:
    """A boolean's default is worth keeping only when it is true."""
    return "" if kind == "bool" and default != "true" else default


def kubectl(text: str) -> Said:
    """A help text as kubectl writes it: `--flag=default:`, which shows no types."""
    found = _commands(text)
    for line in text.splitlines():
        match = _KUBECTL.match(line)
        if not match:
            continue
        default = match["default"].strip("'")
        kind: Kind = "bool" if default in ("true", "false") else "value"
        letter = match["letter"]
        names = [match["name"], *([letter] if letter else [])]
        found.add(names, kind, _true(default, kind))
    return found


def etcdctl(text: str) -> Said:
    """A help text as etcdctl writes it: `--flag="default"`, booleans as `--flag[=false]`."""
    found = Said()
    for line in text.splitlines():
        match = _ETCD.match(line)
        if not match:
            continue
        kind: Kind = "bool" if match["rest"].startswith("[") else "value"
        letter, default = match["letter"], match["rest"].strip('[]="')
        names = [match["name"], *([letter] if letter else [])]
        found.add(names, kind, _true(default, kind))
    body = text.partition("COMMANDS:\n")[2].partition("\n\n")[0]
    found.commands = [
        re.split(r"\t", line.strip())[0].strip() for line in body.splitlines() if line.strip()
    ]
    found.runs = not found.commands
    return found


def _commands(text: str) -> Said:
    found = Said()
    inside = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            inside = bool(_HEADING.match(line))
            continue
        name = re.match(r"^ {2}([a-z][\w-]*)\*?(?:, [\w, -]+)?(?: {1,}\S|$)", line)
        if inside and name and name[1] not in found.commands:
            found.commands.append(name[1])
    usage = re.search(r"^Usage:\s*(.*(?:\n {2}.*)*)", text, re.M)
    lines = usage[1].strip().splitlines() if usage else []
    found.runs = not found.commands or any(
        not re.search(r"(?:COMMAND|\[command\]|SUBCOMMAND)\b|\[command\]", line)
        and not re.search(r"^\s*\S+(?: [\w-]+)* \[flags\] \[options\]$", line)
        for line in lines
    )
    listed = re.search(r"^(?:Aliases|ALIASES):\n((?: +.*\n?)+)", text, re.M)
    if listed:
        found.aliases = [one.strip() for one in listed[1].replace("\n", ",").split(",")]
        found.aliases = [one for one in found.aliases if one]
    return found
