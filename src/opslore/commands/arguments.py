"""Split a command's words by its tool's table: verb path, positionals, flags, inner command.

Flags may stand anywhere; `-n x`, `-nx`, `--namespace x` and `--namespace=x` are one flag. What is
no tool of ours is split without a table: each flag keeps the words that follow it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from opslore.commands.syntax import Part, Word, word
from opslore.commands.tables import Flags, Level, Tool, Verb, tools

_SYSTEM_FOLDERS = re.compile(r"^/(?:usr/(?:local/)?)?s?bin/(?=[^/]+$)")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag by its long name (its letter, if it has no other), with the value if it takes one."""

    name: str
    value: Word | None = None


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a simple command calls, and with what."""

    program: str
    tool: Tool | None
    verb: Verb
    positionals: tuple[Word, ...] = ()
    flags: tuple[Flag, ...] = ()
    inner: tuple[Word, ...] = ()
    """The words of a command inside this one."""
    after: tuple[Word, ...] = ()
    """What follows `--` and would be read as flags without it."""
    known_verb: bool = True

    def value(self, *names: str) -> str | None:
        """The text of the first of these flags that is given; "" for a flag without a value."""
        for flag in self.flags:
            if flag.name in names:
                return flag.value.text if flag.value else ""
        return None


def program_name(text: str) -> str:
    """The program without its system folder: `/usr/bin/rm` is `rm`."""
    return _SYSTEM_FOLDERS.sub("", text)


@lru_cache(maxsize=8192)
def invocation(words: tuple[Word, ...]) -> Invocation:
    """Read a simple command's words; the first is its program."""
    program = program_name(words[0].text)
    tool = tools().get(program) or tools().get(program.rsplit("/", 1)[-1])
    if tool and program in tool.synonyms:
        program = tool.name
    rest = words[1:]
    if tool is None:
        return _generic(program, rest)
    if tool.style == "ordered":
        return Invocation(program, tool, tool.default, rest)
    if not tool.verbs:
        return _call(program, tool, tool.default, tool.flags, rest)
    verb, length = _verb(tool, rest)
    call = _call(program, tool, verb, verb.flags, rest, length, length > 0)
    return replace(call, known_verb=length > 0 or not verb.path)


def _verb(tool: Tool, words: Sequence[Word]) -> tuple[Verb, int]:
    """The longest verb path that the leading positionals spell, and how many they are.

    Zero when no path is known: then the verb holds the first words as they are.
    """
    found, length, path = None, 0, ""
    flags, leading, at = tool.flags, list[str](), 0
    wanted = 2 if tool.services else 1  # words that name an unknown verb
    while at < len(words):
        item, at = words[at], at + 1
        if item.text == "--":
            break
        if item.text.startswith("-") and item.text != "-" and _is_flag(flags, item):
            at = _read_flag(tool, flags, words, at - 1)[1]
            continue
        leading.append(tool.aliases.get(item.text, item.text))
        path = f"{path} {leading[-1]}".lstrip()
        path = tool.same.get(path, path)
        in_service = leading[0] in tool.services
        if path not in tool.nodes and not in_service and len(leading) >= wanted:
            break
        flags = tool.nodes.get(path, flags)
        if path in tool.verbs:
            found, length = tool.verbs[path], len(leading)
        elif not in_service or len(leading) < 2 or path in tool.groups:
            continue
        elif level := operation(tool, item.text):
            return Verb(tuple(leading), level, flags, tool.defaults), len(leading)
    if found:
        return found, length
    if not leading:
        return replace(tool.default, risk="read"), 0
    return Verb(tuple(leading[:wanted]), flags=tool.flags, defaults=tool.defaults), 0


def operation(tool: Tool, name: str) -> Level | None:
    """The risk of `describe-instances`: by the whole word, its first two parts, its first."""
    parts = name.split("-")
    spelled = (name, "-".join(parts[:2]), parts[0])
    return next((tool.operations[one] for one in spelled if one in tool.operations), None)


def _call(
    program: str,
    tool: Tool,
    verb: Verb,
    flags: Flags,
    words: Sequence[Word],
    skip: int = 0,
    known: bool = True,
) -> Invocation:
    limit = skip + int(verb.inner) if verb.inner.isdigit() else None
    positionals, found, after = _split(tool, flags, words, limit)
    inner: tuple[Word, ...] = ()
    if limit is not None:
        inner, positionals = tuple(positionals[limit:]), positionals[:limit]
        inner += tuple(after)
    elif verb.inner == "--" or (tool.verbs and verb.path and not known):
        inner = tuple(after)
    elif verb.inner:
        inner = (word(verb.inner), *positionals[skip:])
        positionals = positionals[:skip]
    elif any(item.text.startswith("-") for item in after):
        return Invocation(
            program, tool, verb, tuple(positionals[skip:]), tuple(found), after=tuple(after)
        )
    else:
        positionals += after
    return Invocation(program, tool, verb, tuple(positionals[skip:]), tuple(found), inner)


def _split(
    tool: Tool, flags: Flags, words: Sequence[Word], limit: int | None = None
) -> tuple[list[Word], list[Flag], list[Word]]:
    """Positionals, flags, and what follows `--`; after `limit` positionals flags end."""
    positionals: list[Word] = []
    found: list[Flag] = []
    at = 0
    while at < len(words):
        item = words[at]
        text = item.text
        if limit is not None and len(positionals) > limit:
            positionals += words[at:]
            break
        if text == "--":
            if limit is None or not positionals[limit:]:
                return positionals, found, list(words[at + 1 :])
            positionals.append(item)
        elif text[:1] == "-" and text != "-" and _is_flag(flags, item):
            read, at = _read_flag(tool, flags, words, at)
            found += read
            continue
        else:
            positionals.append(item)
        at += 1
    return positionals, found, []


def _read_flag(tool: Tool, flags: Flags, words: Sequence[Word], at: int) -> tuple[list[Flag], int]:
    """The flags that a word spells, and where the words go on behind them and their values."""
    queue = [*words[at + 1 : at + 2]]
    if words[at].text.startswith("--") or tool.family == "single-dash":
        read = [_long(flags, words[at], queue, tool.otherwise == "value")]
    else:
        read = _cluster(flags, words[at], queue)
    after = at + 2 if not queue and at + 1 < len(words) else at + 1
    if read[-1].name not in flags.many:
        return read, after
    while after < len(words) and not words[after].text.startswith("-"):
        read.append(Flag(read[-1].name, words[after]))
        after += 1
    return read, after


def split_flags(tool: Tool, words: Sequence[Word]) -> tuple[list[Word], list[Flag]]:
    """Positionals and flags of a tool whose words are otherwise kept in their order."""
    positionals, flags, after = _split(tool, tool.flags, words)
    return [*positionals, *after], flags


def _is_flag(flags: Flags, item: Word) -> bool:
    """Whether a word's flag can be told from its value: `-n$X` can, `--all$X` cannot."""
    if len(item.parts) == 1 or "=" in item.parts[0].text:
        return not _starts_dynamic(item)
    letters = item.parts[0].text[1:]
    return letters[:1] != "-" and any(
        flags.short.get(letter, letter) in flags.value for letter in letters
    )


def _starts_dynamic(item: Word) -> bool:
    return item.parts[0].kind not in ("text", "bare")


def without_prefix(item: Word, count: int) -> Word:
    """A word without its first characters; they must be literal text."""
    first = item.parts[0]
    parts = (Part(first.kind, first.text[count:]), *item.parts[1:])
    kept = tuple(part for part in parts if part.text or part.scripts)
    return Word(kept or (Part("text", ""),))


def _long(flags: Flags, item: Word, queue: list[Word], otherwise: bool = False) -> Flag:
    first = item.parts[0].text
    dashes = 2 if first.startswith("--") else 1
    name, equals, _ = first[dashes:].partition("=")
    if equals:
        return Flag(flags.short.get(name, name), without_prefix(item, dashes + len(name) + 1))
    name = flags.short.get(name, name)
    if name in flags.value and len(item.parts) == 1:
        return Flag(name, queue.pop(0) if queue else word(""))
    otherwise &= name not in flags.boolean and not name.startswith("no-")
    if otherwise and queue and not queue[0].text.startswith("-"):
        return Flag(name, queue.pop(0))
    return Flag(name if len(item.parts) == 1 else item.text[dashes:])


def _cluster(flags: Flags, item: Word, queue: list[Word]) -> list[Flag]:
    """`-it`, `-nfoo`, `-n foo`, `-n=foo`; a letter nobody knows is a flag of its own."""
    found: list[Flag] = []
    letters = item.parts[0].text[1:]
    whole = letters.partition("=")[0]
    if len(whole) > 1 and whole in flags.value | flags.boolean and whole[0] not in flags.short:
        return [_long(flags, item, queue)]
    for index, letter in enumerate(letters):
        name = flags.short.get(letter, letter)
        rest = without_prefix(item, index + 2)
        if name in flags.value:
            if rest.text.startswith("=") and rest.parts[0].kind == "text":
                rest = without_prefix(rest, 1)
            if not rest.text and queue:
                rest = queue.pop(0)
            return [*found, Flag(name, rest)]
        if letters[index + 1 : index + 2] == "=":
            return [*found, Flag(name, without_prefix(item, index + 3))]
        if not letter.isalnum():
            return [*found, Flag(letters[index:])]
        found.append(Flag(name))
    return found


def _generic(program: str, words: Sequence[Word]) -> Invocation:
    """Without a table: leading words are positionals, then each flag keeps the words after it."""
    positionals: list[Word] = []
    flags: list[Flag] = []
    for index, item in enumerate(words):
        text = item.text
        if text == "--":
            return Invocation(
                program,
                None,
                Verb(),
                tuple(positionals),
                tuple(flags),
                after=tuple(words[index + 1 :]),
                known_verb=False,
            )
        if text.startswith("-") and text != "-" and _is_flag(Flags(), item):
            name, equals, _ = item.parts[0].text.partition("=")
            value = without_prefix(item, len(name) + 1) if equals else None
            flags.append(Flag(name if equals or len(item.parts) == 1 else text, value))
        elif flags:
            last = flags[-1]
            joined = (
                item
                if last.value is None
                else Word((*last.value.parts, Part("text", "\x1f"), *item.parts))
            )
            flags[-1] = Flag(last.name, joined)
        else:
            positionals.append(item)
    return Invocation(program, None, Verb(), tuple(positionals), tuple(flags), known_verb=False)
