"""The canonical form: one text for all spellings of the same command.

Aliases are resolved, short flags become long ones, documented defaults are dropped, flags are
sorted, quotes stay only where they matter, holes become `<kind>`. The form is itself a command, so
it can be parsed again, and its canonical form is itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from opslore.commands.arguments import Invocation, invocation, read_invocation
from opslore.commands.holes import Hole, typed_holes
from opslore.commands.inline import inlined
from opslore.commands.kube import Target, targets
from opslore.commands.parse import holeless, parse
from opslore.commands.quotes import literal
from opslore.commands.render import Unit, render
from opslore.commands.scan import MARK, OPEN
from opslore.commands.spellings import Flag
from opslore.commands.syntax import Compound, Part, Redirect, Script, Simple, Word
from opslore.commands.tables import Tool, Verb

_NUMBERED = re.compile(r"(?:_\d+)+$")
__all__ = ["Form", "Unit", "canonical", "form"]

_SELECTOR = re.compile(r"[\w./=!,\ue000\ue001-]+")
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
    script = holeless(command)
    if script:
        return render(_units(inlined(script), [])) if script.ok else ""
    found = _form(command)
    if found.reason:
        return ""
    return _name_holes(render(found.units), found.holes)


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
    if len(script.items) == 1 and isinstance(only := script.items[0], Simple):
        return (_simple("", only, holes),)
    return tuple(
        [
            _simple(operator, item, holes)
            if isinstance(item, Simple)
            else _compound(operator, item, holes)
            for operator, item in zip(("", *script.operators), script.items, strict=False)
        ]
    )


def _simple(operator: str, item: Simple, holes: list[Hole]) -> Unit:
    words, assignments, redirects, negated = item
    sets: tuple[str, ...] = ()
    if assignments:
        sets = tuple([f"{one.name}={quoted(one.value, holes)}" for one in assignments])
    files = tuple([_redirect(one, holes) for one in redirects]) if redirects else ()
    if not words:
        return Unit(operator, assignments=sets, redirects=files, negated=negated)
    # Holes were read from the same words before.
    call = invocation(words) if holes else read_invocation(words)
    if call.tool and call.tool.family == "kubectl":
        found, rest = targets(call)
        arguments = (*[_target(one, holes) for one in found], *_all_quoted(rest, holes))
    else:
        arguments = _all_quoted(call.positionals, holes)
    return Unit(
        operator,
        literal(call.program) if words[0].fixed else quoted(words[0], holes),
        call.verb.path if call.known_verb else (),
        arguments,
        _flags(call, holes) if call.flags else (),
        (_simple("", Simple(call.inner), holes),) if call.inner else (),
        _all_quoted(call.after, holes) if call.after else (),
        sets,
        files,
        (),
        negated,
    )


def _all_quoted(words: Sequence[Word], holes: list[Hole]) -> tuple[str, ...]:
    return tuple([literal(one.text) if one.fixed else quoted(one, holes) for one in words])


def _target(target: Target, holes: list[Hole]) -> str:
    """`pod/x` or `pod`; a hole for a kind stays a hole."""
    kind, name = target
    if name is None:
        return literal(kind)
    if name.fixed:
        return literal(f"{kind}/{name.text}")
    first, *rest = name.parts
    if first.text[:1] == "~":  # behind the slash it is no home folder any more
        first = Part("text", first.text)
    return quoted(Word((Part("text", f"{kind}/"), first, *rest)), holes)


def _flags(call: Invocation, holes: list[Hole]) -> tuple[tuple[str, str | None], ...]:
    """Sorted by name, then value with its holes named, so that their numbers do not decide."""
    if call.tool is None:
        rows = [(flag.name, _group(flag.value, holes)) for flag in call.flags]
    else:
        rows = [row for flag in call.flags if (row := _flag(call.tool, call.verb, flag, holes))]
    if len(rows) < 2:
        return tuple(rows)
    if len(dict(rows)) == len(rows):  # no name twice: values decide nothing
        return tuple(sorted(rows))
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


def _flag(tool: Tool, verb: Verb, flag: Flag, holes: list[Hole]) -> tuple[str, str | None] | None:
    """A flag's name and value; None for a documented default."""
    name, word = flag
    default = verb.defaults.get(name) or tool.defaults.get(name)
    value = None
    if word is not None:
        value = literal(word.text) if word.fixed else quoted(_settled(word, tool), holes)
    if name not in verb.flags.value:
        if value in ("true", "false"):
            if value == (default or "false"):
                return None
            return (name, None) if value == "true" else (name, value)
        if value is None and default == "true":
            return None
    if value is None:
        return name, None
    if value == default:
        return None
    if name in _SELECTORS and ("," in value or "=" in value) and _SELECTOR.fullmatch(value):
        value = ",".join(sorted([part.replace("==", "=") for part in value.split(",")]))
    return name, value


def _settled(word: Word, tool: Tool) -> Word:
    """Tools that take no file names have no globs: `{.items[*]}` needs no quotes there."""
    if not tool.verbs:
        return word
    if word.literal is not None:
        return Word((Part("text", word.text),))
    return Word(
        tuple([Part("text", one.text) if one.kind == "bare" else one for one in word.parts])
    )


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
    if word.fixed:
        return literal(word.text)
    if len(word.parts) == 1:
        part = word.parts[0]
        return part.text if part.kind != "substitution" else _substitution(part, holes)
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
