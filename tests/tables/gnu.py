"""Option lines of programs that are no cobra program: getopt, git, curl, psql, Terraform."""

from __future__ import annotations

import re
from typing import Literal

from .said import Kind, Said

Style = Literal["gnu", "angle", "dash", "word"]
"""What follows a space behind a flag and is its value: a word in capitals; `<word>`; any word,
behind flags with one dash (Terraform) or two."""

_START = re.compile(r"^[ \t]{0,12}(?=-[\w?#:-])")
_NAME = re.compile(r"(?P<dashes>--?)(?P<name>[A-Za-z0-9?#:@](?:[\w.-]*\w)?)")
_VALUE = {
    "gnu": re.compile(r" (?:<[^>]*>[\w|<>:,.-]*|[A-Z][A-Z0-9_|:.,=/-]*(?=[ ,\t]|$)|#)"),
    "angle": re.compile(r" +(?:<[^>]*>[\w|\[<>\]:,.-]*|\([\w|]+\)|\[\([^ ]*|\[?<?n>)"),
    "dash": re.compile(r" (?=\S)'?[\w=-]+'?(?= {2}|$)"),
    "word": re.compile(r" (?=[^\s-])\S+(?: \S+)*?(?= {2,}|$)"),
}


def options(text: str, style: Style = "gnu") -> Said:
    """The flags that a help text lists, one on a line."""
    found = Said()
    for line in text.splitlines():
        start = _START.match(line)
        read = _line(line[start.end() :], style) if start else []
        for names, kind in read:
            found.add(names, kind)
    return found


def _line(text: str, style: Style) -> list[tuple[list[str], Kind]]:
    """`-n, --lines=[+]NUM  output the ...`: the names of one flag, and whether a word follows.

    `-u, -U NUM, --unified[=NUM]` is two flags: `-U` with a word, and `--unified` without.
    """
    marks: dict[str, str] = {}
    while match := _NAME.match(text):
        name, text = match["name"], text[match.end() :]
        text = re.sub(r'^ \("\w+"\)', "", text)
        mark = ""
        if optional := re.match(r"\[=?[^\]]*\](?:\.\.\.)?", text):
            text, mark = text[optional.end() :], "optional"
        elif equals := re.match(r"=(?P<value>\S*?)(?=,? +-|,? *$| |\t)", text):
            text = text[equals.end() :]
            mark = "optional" if equals["value"] in ("true", "false") else "value"
        elif spaced := _VALUE[style].match(text):
            text, mark = text[spaced.end() :], "value"
        if match["dashes"] == "--" or len(name) == 1 or style == "dash":
            # `--check, --check=WORD`: the word is optional
            marks[name] = "optional" if name in marks and mark != marks[name] else mark
        separator = re.match(r"(?:,| or|\|)? *(?=-)", text)
        if not separator:
            break
        text = text[separator.end() :]
    if style == "gnu" and marks and len([*marks][-1]) == 1 and re.match(r" \S", text):
        return []  # a sentence that begins with a flag
    given = set(marks.values())
    if given <= {"value", ""}:
        return [([*marks], "value" if "value" in given else "bool")] if marks else []
    words = [name for name, mark in marks.items() if mark == "value"]
    bare = [name for name, mark in marks.items() if mark != "value"]
    return [(bare, "bool"), *([(words, "value")] if words else [])]  # type: ignore[list-item]


def listed(text: str, heading: str, indent: int = 2) -> list[str]:
    """The names below every heading that matches, in a help text of any kind."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if re.match(r"^\S.*:\s*$", line):
            inside = bool(re.match(heading, line))
            continue
        name = re.match(rf"^ {{{indent}}}([a-z][\w-]*)(?: |$)", line)
        if inside and name and name[1] not in found:
            found.append(name[1])
    return found
