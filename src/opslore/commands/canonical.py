"""The canonical form: one text for all spellings of the same command.

Aliases are resolved, short flags become long ones, documented defaults are dropped, flags are
sorted, quotes stay only where they matter, holes become `<kind>`. The form is itself a command, so
it can be parsed again, and its canonical form is itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from opslore.commands.arguments import Invocation, invocation
from opslore.commands.holes import Hole, typed_holes
from opslore.commands.inline import inlined
from opslore.commands.kube import Target, targets
from opslore.commands.parse import parse
from opslore.commands.render import Unit, render
from opslore.commands.scan import MARK, OPEN
from opslore.commands.spellings import Flag
from opslore.commands.syntax import Compound, Part, Redirect, Script, Simple, Word

_PLAIN = re.compile(r"[\w@%+=:,./^-]+", re.ASCII)
_NUMBERED = re.compile(r"(?:_\d+)+$")
__all__ = ["Form", "Unit", "canonical", "form"]

_SELECTORS = frozenset({"selector", "field-selector", "pod-selector"})


@dataclass(frozen=True, slots=True)
class Form:
    """A command's units, and its holes by the numbers of their marks."""

    units: tuple[Unit, ...]
    holes: tuple[Hole, ...]
    reason: str = ""


@lru_cache(maxsize=8192)
def canonical(command: str) -> str:
    """The canonical form of a command; "" when it is not parseable."""
    found = _form(command)
    if found.reason:
        return ""
    text = render(found.units)
    return _name_holes(text, found.holes)


@lru_cache(maxsize=2048)
def form(command: str) -> Form:
    """The canonical form as structure, for comparing."""
    return _form(command)


def _form(command: str) -> Form:
    script = parse(command)
    if not script.ok:
        return Form((), (), script.reason)
    script = inlined(script)
    typed = typed_holes(script)
    return Form(_units(script, typed), tuple(typed))


def _name_holes(text: str, holes: tuple[Hole, ...]) -> str:
    """Marks become `<pod>`; a second, different pod becomes `<pod-2>`."""
    seen: dict[str, list[str]] = {}

    def name(match: re.Match[str]) -> str:
        hole = holes[int(match.group(1))]
        kind = _NUMBERED.sub("", hole.kinds[0]) or hole.kinds[0]
        known = seen.setdefault(kind, [])
        if hole.identity not in known:
            known.append(hole.identity)
        number = known.index(hole.identity) + 1
        return f"<{kind}>" if number == 1 else f"<{kind}-{number}>"

    return MARK.sub(name, text) if holes else text


def _units(script: Script, holes: list[Hole]) -> tuple[Unit, ...]:
    rows = zip(("", *script.operators), script.items, strict=False)
    return tuple(
        [
            _simple(operator, item, holes)
            if isinstance(item, Simple)
            else _compound(operator, item, holes)
            for operator, item in rows
        ]
    )


def _simple(operator: str, item: Simple, holes: list[Hole]) -> Unit:
    assignments = tuple([f"{one.name}={quoted(one.value, holes)}" for one in item.assignments])
    redirects = tuple([_redirect(one, holes) for one in item.redirects])
    if not item.words:
        return Unit(operator, assignments=assignments, redirects=redirects, negated=item.negated)
    call = invocation(item.words)
    fixed = all([part.kind == "text" for part in item.words[0].parts])
    program = _literal(call.program) if fixed else quoted(item.words[0], holes)
    if call.tool and call.tool.family == "kubectl":
        found, rest = targets(call)
        arguments = [_target(one, holes) for one in found]
        arguments += [quoted(word, holes) for word in rest]
    else:
        arguments = [quoted(word, holes) for word in call.positionals]
    flags = _flags(call, holes)
    inner: tuple[Unit, ...] = ()
    if call.inner:
        inner = (_simple("", Simple(call.inner), holes),)
    return Unit(
        operator,
        program,
        call.verb.path if call.known_verb else (),
        tuple(arguments),
        flags,
        inner,
        tuple([quoted(word, holes) for word in call.after]),
        assignments,
        redirects,
        negated=item.negated,
    )


def _target(target: Target, holes: list[Hole]) -> str:
    """`pod/x` or `pod`; a hole for a kind stays a hole."""
    if target.name is None:
        return _literal(target.kind)
    first, *rest = target.name.parts
    if first.text[:1] == "~":  # behind the slash it is no home folder any more
        first = Part("text", first.text)
    return quoted(Word((Part("text", f"{target.kind}/"), first, *rest)), holes)


def _flags(call: Invocation, holes: list[Hole]) -> tuple[tuple[str, str | None], ...]:
    """Sorted by name, then value with its holes named, so that their numbers do not decide."""
    if call.tool is None:
        rows = [(flag.name, _group(flag.value, holes)) for flag in call.flags]
    else:
        rows = [row for flag in call.flags if (row := _flag(call, flag, holes))]

    if len(rows) < 2:
        return tuple(rows)
    if call.tool and call.tool.verbs:
        rows = list(dict.fromkeys(rows))
    return tuple(sorted(rows, key=lambda row: _place(row, holes)))


def _place(row: tuple[str, str | None], holes: Sequence[Hole]) -> tuple[str, str, str]:
    name, value = row[0], row[1] or ""
    if OPEN not in value:
        return name, value, value
    named = MARK.sub(lambda match: f"<{holes[int(match.group(1))].kinds[0]}>", value)
    spelled = MARK.sub(lambda match: holes[int(match.group(1))].identity, value)
    return name, named, spelled


def _group(value: Word | None, holes: list[Hole]) -> str | None:
    """The words behind a flag of an unknown tool, each quoted by itself."""
    if value is None:
        return None
    groups: list[list[Part]] = [[]]
    for part in value.parts:
        if part == Part("text", "\x1f"):
            groups.append([])
        else:
            groups[-1].append(part)
    return " ".join(quoted(Word(tuple(group)), holes) for group in groups)


def _flag(call: Invocation, flag: Flag, holes: list[Hole]) -> tuple[str, str | None] | None:
    """A flag's name and value; None for a documented default."""
    tool, verb = call.tool, call.verb
    default = verb.defaults.get(flag.name) or (tool.defaults.get(flag.name) if tool else None)
    value = quoted(_settled(flag.value, call), holes) if flag.value else None
    boolean = tool is not None and flag.name not in verb.flags.value
    if boolean and value in ("true", "false"):
        if value == (default or "false"):
            return None
        return (flag.name, None) if value == "true" else (flag.name, value)
    if boolean and value is None and default == "true":
        return None
    if value is not None and value == default:
        return None
    if flag.name in _SELECTORS and value and re.fullmatch(r"[\w./=!,\ue000\ue001-]+", value):
        value = ",".join(sorted(part.replace("==", "=") for part in value.split(",")))
    return flag.name, value


def _settled(word: Word, call: Invocation) -> Word:
    """Tools that take no file names have no globs: `{.items[*]}` needs no quotes there."""
    if len(word.parts) == 1 and word.parts[0].kind == "text":
        return word
    if call.tool and call.tool.verbs:
        parts = tuple(Part("text", one.text) if one.kind == "bare" else one for one in word.parts)
        return Word((Part("text", word.text),)) if word.literal is not None else Word(parts)
    return word


def _compound(operator: str, item: Compound, holes: list[Hole]) -> Unit:
    clauses = tuple((clause.label, _units(clause.script, holes)) for clause in item.clauses)
    if item.keyword in ("test", "other", "arithmetic for"):
        clauses = ()
    words = tuple(quoted(word, holes) for word in item.words)
    arguments = (item.head, *words) if item.head else words
    redirects = tuple(_redirect(one, holes) for one in item.redirects)
    return Unit(
        operator,
        item.keyword,
        arguments=arguments,
        redirects=redirects,
        clauses=clauses,
        negated=item.negated,
        compound=True,
    )


def _redirect(redirect: Redirect, holes: list[Hole]) -> str:
    if redirect.body is not None:
        word = redirect.target.parts[0]
        mark = f"'{word.text}'" if word.kind == "text" else word.text
        body = redirect.body if redirect.body.endswith("\n") else f"{redirect.body}\n"
        return f"{redirect.operator}{mark}\n{body}{word.text}"
    standard = {">": "1", ">>": "1", "<": "0"}.get(redirect.operator)
    number = "" if redirect.descriptor == standard else redirect.descriptor
    gap = "" if redirect.operator in (">&", "<&") else " "
    return f"{number}{redirect.operator}{gap}{quoted(redirect.target, holes)}"


def quoted(word: Word, holes: list[Hole]) -> str:
    """A word with the quotes it needs and no others."""
    if len(word.parts) == 1:
        part = word.parts[0]
        if part.kind == "text":
            return _literal(part.text)
        return part.text if part.kind != "substitution" else _substitution(part, holes)
    if all(part.kind == "text" for part in word.parts):
        return _literal(word.text)
    if any(part.kind in ("bare", "process") for part in word.parts):
        return "".join(quoted(Word((part,)), holes) for part in word.parts)
    pieces = []
    for part in word.parts:
        if part.kind == "text":
            pieces.append(re.sub(r'(["\\$`])', r"\\\1", part.text))
        else:
            pieces.append(_substitution(part, holes) if part.kind == "substitution" else part.text)
    return '"' + "".join(pieces) + '"'


def _substitution(part: Part, holes: list[Hole]) -> str:
    return "$(" + render(_units(part.scripts[0], holes)) + ")"


@lru_cache(maxsize=16_384)
def _literal(text: str) -> str:
    """Literal text, its JSON made compact, with the quotes that it needs."""
    return _quote(_compact(text))


def _quote(text: str) -> str:
    if _PLAIN.fullmatch(MARK.sub("_", text) if OPEN in text else text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _compact(text: str) -> str:
    """JSON with its spaces and key order taken out; any other text as it is."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(
            json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
    except (ValueError, RecursionError):
        return text
