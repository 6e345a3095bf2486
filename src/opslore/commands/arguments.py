"""Split a command's words by its tool's table: verb path, positionals, flags, inner command.

Flags may stand anywhere; `-n x`, `-nx`, `--namespace x` and `--namespace=x` are one flag. What is
no tool of ours is split without a table: each flag keeps the words that follow it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from opslore.commands.spellings import Flag, cluster, is_flag, long_flag, without_prefix
from opslore.commands.syntax import Part, Word, word
from opslore.commands.tables import Flags, Tool, Verb, tools

MAX_SPELLED = 1024
"""Spellings of flags remembered for each verb of a tool."""

MAX_STEPS = 4096
"""Steps along verb paths remembered for each tool."""

_NOTHING, _DASH = word(""), word("-")
_SYSTEM_FOLDERS = re.compile(r"^/(?:usr/(?:local/)?)?s?bin/(?=[^/]+$)")


class Invocation(NamedTuple):
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


class Step(NamedTuple):
    """A place on the way along a verb path."""

    path: str = ""
    """What the words so far spell, other names resolved."""
    leading: tuple[str, ...] = ()
    """Those words, aliases resolved."""
    flags: Flags | None = None
    """The flags that may follow; None when no verb begins like this."""
    verb: Verb | None = None
    """The verb that it is."""


_START = Step()


def program_name(text: str) -> str:
    """The program without its system folder: `/usr/bin/rm` is `rm`."""
    return _SYSTEM_FOLDERS.sub("", text) if text[:1] == "/" else text


@lru_cache(maxsize=1024)
def _program(text: str) -> tuple[str, Tool | None]:
    """The program's name and table."""
    program = program_name(text)
    tool = tools().get(program) or tools().get(program.rsplit("/", 1)[-1])
    return (tool.name if tool and program in tool.synonyms else program), tool


def read_invocation(words: tuple[Word, ...]) -> Invocation:
    """Read a simple command's words; the first is its program."""
    program, tool = _program(words[0].text)
    rest = words[1:]
    if tool is None:
        return _generic(program, rest)
    if tool.style == "ordered":
        return Invocation(program, tool, tool.default, rest)
    if not tool.verbs:
        return _call(program, tool, tool.default, tool.flags, rest)
    verb, length = _verb(tool, rest)
    return _call(program, tool, verb, verb.flags, rest, length, length > 0 or not verb.path)


invocation = lru_cache(maxsize=2048)(read_invocation)
"""The same, remembered: for commands that are read several times (their holes, their risk)."""


def _verb(tool: Tool, words: Sequence[Word]) -> tuple[Verb, int]:
    """The longest verb path that the leading positionals spell, and how many they are.

    Zero when no path is known: then the verb holds the first words as they are.
    """
    found: Verb | None = None
    length, step = 0, _START
    flags, at = tool.flags, 0
    wanted = 2 if tool.services else 1  # words that name an unknown verb
    while at < len(words):
        text = words[at].text
        if text[:1] == "-" and text != "-":
            if text == "--":
                break
            behind = _read_flag(tool, flags, words, at, [])
            if behind:
                at = behind
                continue
        at += 1
        step = tool.seen.get((step.leading, text)) or _step(tool, step, text)
        leading = step.leading
        in_service = leading[0] in tool.services and not found
        if step.flags is None and not in_service and len(leading) >= wanted:
            break
        flags = step.flags or flags
        if step.verb:
            found, length = step.verb, len(leading)
        elif in_service and (level := tool.operation(step.path)):
            return Verb(leading, level, flags, tool.defaults), len(leading)
    if found:
        return found, length
    if not step.leading:
        return replace(tool.default, risk="read"), 0
    return Verb(step.leading[:wanted], flags=tool.flags, defaults=tool.defaults), 0


def _step(tool: Tool, before: Step, text: str) -> Step:
    """Go one word further along a verb path."""
    if len(tool.seen) >= MAX_STEPS:
        tool.seen.clear()
    leading = (*before.leading, tool.aliases.get(text, text))
    path = f"{before.path} {leading[-1]}" if before.path else leading[-1]
    path = tool.same.get(path, path)
    found = Step(path, leading, tool.nodes.get(path), tool.verbs.get(path))
    tool.seen[before.leading, text] = found
    return found


def _call(
    program: str,
    tool: Tool,
    verb: Verb,
    flags: Flags,
    words: Sequence[Word],
    skip: int = 0,
    known: bool = True,
) -> Invocation:
    if known and not verb.inner:
        positionals, found, after = _split(tool, flags, words)
        kept = tuple(positionals[skip:])
        if after and any([item.text.startswith("-") for item in after]):
            return Invocation(program, tool, verb, kept, tuple(found), after=tuple(after))
        return Invocation(program, tool, verb, (*kept, *after) if after else kept, tuple(found))
    limit, inner = (skip + int(verb.inner) if verb.inner.isdigit() else None), tuple[Word, ...]()
    positionals, found, after = _split(tool, flags, words, limit)
    if limit is not None:
        inner, positionals = tuple(positionals[limit:]), positionals[:limit]
        inner += tuple(after)
    elif verb.inner == "--" or not known:
        inner = tuple(after)
    else:
        inner = (word(verb.inner), *positionals[skip:])
        positionals = positionals[:skip]
    kept = tuple(positionals[skip:])
    return Invocation(program, tool, verb, kept, tuple(found), inner, known_verb=known)


def _split(
    tool: Tool, flags: Flags, words: Sequence[Word], limit: int | None = None
) -> tuple[list[Word], list[Flag], list[Word]]:
    """Positionals, flags, and what follows `--`; after `limit` positionals flags end."""
    positionals: list[Word] = []
    found: list[Flag] = []
    at, count = 0, len(words)
    while at < count:
        item = words[at]
        text = item.text
        if limit is not None and len(positionals) > limit:
            positionals += words[at:]
            break
        if text[:1] == "-" and text != "-":
            if text != "--":
                behind = _read_flag(tool, flags, words, at, found)
                if behind:
                    at = behind
                    continue
            elif limit is None or not positionals[limit:]:
                return positionals, found, list(words[at + 1 :])
        positionals.append(item)
        at += 1
    return positionals, found, []


def _read_flag(
    tool: Tool, flags: Flags, words: Sequence[Word], at: int, found: list[Flag]
) -> int | None:
    """Add the flags that a word spells, with their values, to those found.

    Returns where the words go on behind them; None when the word is no flag.
    """
    item = words[at]
    spelled = flags.spelled.get(item) or _remembered(tool, flags, item)
    given, taking, always = spelled
    if taking is None:
        return None
    found += given
    at += 1
    if not taking:
        return at
    follows = words[at] if at < len(words) else None
    if follows is not None and (always or follows.text[:1] != "-"):
        found.append(Flag(taking, follows))
        at += 1
    else:
        found.append(Flag(taking, _NOTHING if always else None))
    while taking in flags.many and at < len(words) and words[at].text[:1] != "-":
        found.append(Flag(taking, words[at]))
        at += 1
    return at


def _remembered(tool: Tool, flags: Flags, item: Word) -> tuple[tuple[Flag, ...], str | None, bool]:
    """What a word spells, each word read once; None for the flag that takes a value if it is none.

    After MAX_SPELLED words all are forgotten.
    """
    if len(flags.spelled) >= MAX_SPELLED:
        flags.spelled.clear()
    found = _spelled(tool, flags, item) if is_flag(flags, item) else ((), None, False)
    flags.spelled[item] = found
    return found


def _spelled(tool: Tool, flags: Flags, item: Word) -> tuple[tuple[Flag, ...], str, bool]:
    """What a word spells, whatever follows it: whole flags, and the one that takes the next word.

    The last says whether that one takes a word that looks like a flag as well.
    """

    def read(follows: Word) -> tuple[list[Flag], bool]:
        queue = [follows]
        if item.text.startswith("--") or tool.family == "single-dash":
            return [long_flag(flags, item, queue, tool.otherwise == "value")], not queue
        return cluster(flags, item, queue), not queue

    found, took = read(_NOTHING)
    if not took:
        return tuple(found), "", False
    return tuple(found[:-1]), found[-1].name, read(_DASH)[1]


def split_flags(tool: Tool, words: Sequence[Word]) -> tuple[list[Word], list[Flag]]:
    """Positionals and flags of a tool whose words are otherwise kept in their order."""
    positionals, flags, after = _split(tool, tool.flags, words)
    return [*positionals, *after], flags


def _generic(program: str, words: Sequence[Word]) -> Invocation:
    """Without a table: leading words are positionals, then each flag keeps the words after it."""
    positionals: list[Word] = []
    flags: list[Flag] = []
    end = next((at for at, item in enumerate(words) if item.text == "--"), len(words))
    for text, item in ((one.text, one) for one in words[:end]):
        if text.startswith("-") and text != "-" and is_flag(Flags(), item):
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
    kept, after = tuple(positionals), tuple(words[end + 1 :])
    return Invocation(program, None, Verb(), kept, tuple(flags), after=after, known_verb=False)
