"""One word that spells flags: `--namespace=x`, `-n`, `-nx`, `-it`."""

from __future__ import annotations

from typing import NamedTuple

from opslore.commands.syntax import Part, Word, word
from opslore.commands.tables import Flags


class Flag(NamedTuple):
    """A flag by its long name (its letter, if it has no other), with the value if it takes one."""

    name: str
    value: Word | None = None


def is_flag(flags: Flags, item: Word) -> bool:
    """Whether a word's flag can be told from its value: `-n$X` can, `--all$X` cannot."""
    if item.parts[0].text.startswith("---"):
        return False  # no tool has such a flag, and `ls ---x` is not `ls -x`
    if len(item.parts) == 1 or "=" in item.parts[0].text:
        return item.parts[0].kind in ("text", "bare")
    letters = item.parts[0].text[1:]
    return letters[:1] != "-" and any(
        flags.short.get(letter, letter) in flags.value for letter in letters
    )


def without_prefix(item: Word, count: int) -> Word:
    """A word without its first characters; they must be literal text."""
    first = item.parts[0]
    parts = (Part(first.kind, first.text[count:]), *item.parts[1:])
    kept = tuple(part for part in parts if part.text or part.scripts)
    return Word(kept or (Part("text", ""),))


def long_flag(flags: Flags, item: Word, queue: list[Word], otherwise: bool = False) -> Flag:
    """`--name`, `--name=value`, or `--name` with the next word of the queue as its value."""
    first = item.parts[0].text
    dashes = 2 if first.startswith("--") else 1
    name, equals, _ = first[dashes:].partition("=")
    size = dashes + len(name)
    name = f"--{name}" if len(name) == 1 and not name.isalnum() else name
    if equals:
        return Flag(flags.short.get(name, name), without_prefix(item, size + 1))
    name = flags.short.get(name, name)
    if name in flags.value and len(item.parts) == 1:
        return Flag(name, queue.pop(0) if queue else word(""))
    otherwise &= name not in flags.boolean and not name.startswith("no-")
    if otherwise and queue and not queue[0].text.startswith("-"):
        return Flag(name, queue.pop(0))
    return Flag(name if len(item.parts) == 1 else item.text[dashes:])


def cluster(flags: Flags, item: Word, queue: list[Word]) -> list[Flag]:
    """`-it`, `-nfoo`, `-n foo`, `-n=foo`; a letter nobody knows is a flag of its own."""
    found: list[Flag] = []
    letters = item.parts[0].text[1:]
    whole = letters.partition("=")[0]
    if len(whole) > 1 and whole[0] not in flags.short and whole in flags.value | flags.boolean:
        return [long_flag(flags, item, queue)]
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
            if name not in flags.boolean:
                return [Flag(f"-{letters}")]  # nobody knows what `-tail=50` is
            return [*found, Flag(name, without_prefix(item, index + 3))]
        if not letter.isalnum():
            return [Flag(f"-{letters}")]
        found.append(Flag(name))
    return found
