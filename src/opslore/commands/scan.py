"""Find the holes in the raw text of a command, before any parser sees it.

A hole is a place that the reader fills in: `<pod-name>`, `$POD`, `${POD}`, `{{ $labels.pod }}`,
`POD_NAME`. They must be found first: bash reads `<name> -n` as two redirects, and the namespace is
gone. Each hole is replaced by a mark of three characters that is an ordinary word to the parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from opslore.commands.tables import hole_tables

OPEN, CLOSE = "\ue000", "\ue001"
"""Private-use characters around a hole's number; they are removed from the input first."""

MARK = re.compile(f"{OPEN}([0-9]+){CLOSE}")

_PROMPT = re.compile(
    r"^[ \t]*(?:\$|\[[\w.@~: /-]+\][$#]|sh-[\d.]+[$#]|[\w.-]+@[\w.-]+:\S*[$#])[ \t]+", re.M
)
_REMARKS = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")
_CONTINUED = re.compile(r"(?<!\\)((?:\\\\)*)\\\r?\n")
_HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)([A-Za-z_]\w*)\1")
_ASSIGNED = re.compile(
    r"(?:^|[;&|({\n]|\b(?:export|local|declare|readonly|do|then|else)\b)[ \t]*([A-Za-z_]\w*)\+?="
    r"|\bfor[ \t]+([A-Za-z_]\w*)[ \t]+in\b"
    r"|\bread((?:[ \t]+-\w+)*(?:[ \t]+[A-Za-z_]\w*)+)"
)
_ANGLE = re.compile(r"<(?=[A-Za-z\"'])([^<>|;&\n$`\\=]{0,80}[A-Za-z0-9.'\")])>")
_KEBAB_ANGLE = re.compile(r"<([A-Za-z][A-Za-z0-9_.-]{0,60})>")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_BRACES = re.compile(r"\{\{-?[ \t]*((?:\$labels\.|\.Labels\.|\$)?[A-Za-z][\w -]*?)[ \t]*-?\}\}")
_UPPER = re.compile(
    r"(?<![\w$.<{-])(?:(?:YOUR|MY)_[A-Z0-9_]+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)(?![\w=:.(-])"
)
_TEMPLATE_WORDS = frozenset(
    ["end", "else", "range", "if", "with", "define", "block", "template", "println", "print"]
)
_CAPITAL = re.compile(r"(?:[ \t\n/=]|^)[A-Z][A-Z0-9_]*(?![\w=:.(-])")
_STOP = re.compile(r"[\\'\"<$\{\n#]|(?<![^ \t\n/=])[A-Z]")
"""Where a hole, a quote, a remark or a heredoc may begin; all between is passed over."""
_TEXT_TOOLS = re.compile(
    r"(?:^|[|;&(`\n])[ \t]*(?:e?grep|awk|sed|echo|printf|jq|cut|sort)\b[^|;&\n]*$"
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A hole as it stands in the text: its span, its spelling, and the words inside."""

    text: str
    start: int
    end: int
    slug: str


def prepare(command: str) -> str:
    """Take prompt signs and line continuations out of a command."""
    text = command.replace("\r\n", "\n").replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")
    remarks = _REMARKS.match(text) if "\n" in text else None
    if _PROMPT.match(text, remarks.end() if remarks else 0):
        text = _PROMPT.sub("", text)
    return _CONTINUED.sub(r"\1", text) if "\\" in text else text


def mask(text: str, slots: Sequence[Slot]) -> str:
    """Put a mark in the place of each slot; `text` is what the slots were found in."""
    pieces, last = [], 0
    for number, slot in enumerate(slots):
        pieces += [text[last : slot.start], f"{OPEN}{number}{CLOSE}"]
        last = slot.end
    return "".join([*pieces, text[last:]])


@lru_cache(maxsize=4096)
def slug(words: str) -> str:
    """The words of a hole as one name: `<value of namespace label from alert>` -> `namespace`."""
    name = re.sub(r"^(?:\$labels|\.Labels)\.", "", words.strip())
    name = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", name)
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    label = re.search(r"(?:^|_)(?:alert_)?([a-z0-9_]+?)_label(?:_|$)", name)
    if label:
        name = re.sub(r"^(?:the_)?(?:value_of_)?(?:the_)?(?:alert_)?", "", label.group(1))
    return re.sub(r"^(?:your|my|the|insert|enter|replace_with)_(?=.)", "", name) or "value"


def scan(text: str) -> tuple[Slot, ...]:
    """All holes of a prepared command, in order."""
    return _walk(text) if may_hold(text) else ()


def may_hold(text: str) -> bool:
    """Whether there is any sign of a hole; most text ends here."""
    if "<" in text or "$" in text or "{{" in text:
        return True
    return not text.islower() and bool(_CAPITAL.search(text))


@lru_cache(maxsize=4096)
def _walk(text: str) -> tuple[Slot, ...]:
    assigned = _assignments(text)
    slots: list[Slot] = []
    at, quote = 0, ""
    heredocs: list[tuple[str, bool]] = []
    while stop := _STOP.search(text, at):
        at = stop.start()
        char = text[at]
        if char == "\\" and quote != "'":
            at += 2
            continue
        if char == "\n" and heredocs and not quote:
            at = _heredoc_bodies(text, at + 1, heredocs, assigned, slots)
            heredocs = []
            continue
        if char in "'\"" and quote in ("", char):
            quote = "" if quote else char
            at += 1
            continue
        if not quote and text.startswith("<<", at) and not text.startswith("<<<", at):
            heredoc = _HEREDOC.match(text, at)
            if heredoc:
                heredocs.append((heredoc.group(2), bool(heredoc.group(1))))
                at = heredoc.end()
                continue
        if not quote and char == "#" and (at == 0 or text[at - 1] in " \t\n;"):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        slot = _slot_at(text, at, quote, assigned)
        if slot:
            slots.append(slot)
        at = slot.end if slot else at + 1
    return tuple(slots)


def _assignments(text: str) -> dict[str, int]:
    """Names that the command itself sets, with the place where it first does."""
    found: dict[str, int] = {}
    if "=" not in text and " in" not in text and "read" not in text:
        return found
    for match in _ASSIGNED.finditer(text):
        names = [match.group(1) or match.group(2) or ""]
        if match.group(3):
            names = [word for word in match.group(3).split() if not word.startswith("-")]
        for name in names:
            found.setdefault(name, match.start())
    return found


def _heredoc_bodies(
    text: str,
    at: int,
    heredocs: list[tuple[str, bool]],
    assigned: dict[str, int],
    slots: list[Slot],
) -> int:
    for word, verbatim in heredocs:
        end = re.compile(rf"^[ \t]*{re.escape(word)}[ \t]*$", re.M).search(text, at)
        stop = end.start() if end else len(text)
        while at < stop:
            slot = (
                None
                if text[at] not in "$<{"
                else _slot_at(text, at, "'" if verbatim else '"', assigned)
            )
            if slot and slot.end <= stop:
                slots.append(slot)
            at = slot.end if slot and slot.end <= stop else at + 1
        at = end.end() if end else len(text)
    return at


def _slot_at(text: str, at: int, quote: str, assigned: dict[str, int]) -> Slot | None:
    char = text[at]
    if char == "<":
        return _angle(text, at, quote)
    if char == "$" and quote != "'":
        return _variable(text, at, assigned)
    if char == "{" and quote != "'":
        found = _BRACES.match(text, at)
        if found and found.group(1).split()[0] not in _TEMPLATE_WORDS:
            return Slot(found.group(), at, found.end(), slug(found.group(1)))
    if "A" <= char <= "Z" and not quote:
        return _upper(text, at, assigned)
    return None


def _angle(text: str, at: int, quote: str) -> Slot | None:
    """`<x>`, but not the redirects of `sort <in.txt>out` and not the `<` and `>` of a filter."""
    if at and text[at - 1] == "<":
        return None
    whole_quote = bool(quote) and text[at - 1] == quote
    found = _ANGLE.match(text, at) if quote != "'" or whole_quote else _KEBAB_ANGLE.match(text, at)
    if not found:
        return None
    inside, after = found.group(1), text[found.end() : found.end() + 1]
    if quote and not whole_quote and " " in inside and re.search(r"[.'\"]", inside):
        return None
    if not quote and re.search(r"[./]", inside) and " " not in inside and after.isalnum():
        return None
    return Slot(found.group(), at, found.end(), slug(inside))


def _variable(text: str, at: int, assigned: dict[str, int]) -> Slot | None:
    found = _VARIABLE.match(text, at)
    if not found:
        return None
    name = found.group(1) or found.group(2)
    if name in hole_tables().environment or assigned.get(name, at + 1) <= at:
        return None
    return Slot(found.group(), at, found.end(), slug(name))


def _upper(text: str, at: int, assigned: dict[str, int]) -> Slot | None:
    """`POD_NAME` and `YOUR_X`, as whole words or after a slash, and only if the kind is known."""
    found = _UPPER.match(text, at)
    if (
        not found
        or assigned.get(found.group(), at + 1) <= at
        or (at and text[at - 1] not in " \t\n/=")
    ):
        return None
    name = slug(found.group())
    if text[:at].rstrip(" \t").endswith(("<", ">")):
        return None
    personal = found.group().startswith(("YOUR_", "MY_"))
    known = name in hole_tables().kind_of or re.sub(r"_name$", "", name) in hole_tables().kind_of
    line = text[text.rfind("\n", 0, at) + 1 : at]
    if not personal and (not known or not line.strip() or _TEXT_TOOLS.search(line)):
        return None
    return Slot(found.group(), at, found.end(), name)
