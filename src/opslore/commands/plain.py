"""A fast way to read plain command lines: words, quotes, redirects to files, and `| && || ; &`.

Most commands of a runbook are that plain, and the full grammar spends its time on what they do not
have. Whatever holds a variable, a backslash, a group, a keyword or a comment is left to the
grammar; `tests/commands/test_plain.py` compares both on every command.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from opslore.commands.scan import Slot
from opslore.commands.syntax import Assignment, Part, Redirect, Script, Simple, Word

_MARKS = "\ue000\ue001"
_BARE = rf"\w./:@%+=,^?*~\[\]{{}}{_MARKS}-"
_PIECE = rf"(?:[{_BARE}]|'[^']*'|\"[^\"$`\\]*\")++"
_WORD = re.compile(_PIECE, re.ASCII)
_REDIRECT = re.compile(r"[ \t]([0-9]?)(?:(>&)([0-9])(?![^ \t|;&])|(>>?+|<)(?![<>&|(]))")
_TOKEN = re.compile(
    rf"(?<![ \t])[ \t][0-9]?(?:>&[0-9](?![^ \t|;&])|>>?+(?![<>&|(]))|{_PIECE}"
    r"|(?<=[^ \t])[ \t]<(?![<>&|(])"
    r"|\|\|?+|&&?+(?!>)|(?<![^ \t])\\;(?![^ \t])|&>|[^ \t]",
    re.ASCII,
)
"""Words, redirects (with the blank before them) and operators; any other character is none."""
_PIECES = re.compile(r"'[^']*'|\"[^\"]*\"|[^'\"]+")
_SIGNS = re.compile("['\"|;&<>\n-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
"""Without these, words are what stands between blanks (`str.split` knows more of them)."""
_OPERATORS = frozenset({"|", "||", "&&", ";", "&"})
_KEYWORDS = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "in", "select", "while", "until", "do", "done"}
    | {"case", "esac", "function", "time", "coproc", "{", "}", "!", "[", "unset", "unsetenv"}
    | {"declare", "typeset", "export", "readonly", "local"}
)
"""First words that are no program."""
_PROGRAM = re.compile(rf"(?![0-9]+$|-$)(?:[\w./:{_MARKS}-]|'[^']*'|\"[^\"]*\")+", re.ASCII)
_ASSIGNMENT = re.compile(rf"([A-Za-z_]\w*)=([\w./:%{_MARKS}-]+)", re.ASCII)
_EASY_WORD = re.compile(r"[\w./:%-][\w./:%@,-]*+(?:=[\w./:%@,-]*+)?", re.ASCII)
"""Words without anything that the shell takes apart or expands."""
_ODD_WORD = re.compile(r"^[=~!,@?*]|[\[\]{}]|\^|^$|=\[|=~|\+=")
"""Words that are left to the grammar: it takes some of them apart."""
_ACTIVE = re.compile(r"[*?]|^~|^,")
_WHOLE = {"{}": Word((Part("bare", "{}"),)), "\\;": Word((Part("text", ";"),))}
"""Words of `find -exec` and `xargs -I`, as they stand alone."""


def plain(text: str, slots: tuple[Slot, ...] = ()) -> Script | None:
    """The tree of a plain command line; None when it needs the full grammar."""
    if ("$" in text or "`" in text) and "'" not in text:
        return None  # an expansion, which only single quotes make plain
    if not _SIGNS.search(text):
        return _one_command(text, slots)
    items: list[Simple] = []
    operators: list[str] = []
    rest: list[str] = []
    for token in _TOKEN.findall(text):
        if token not in _OPERATORS:
            rest.append(token)
            continue
        item = _simple(rest)
        if item is None:
            return None
        items.append(item)
        operators.append(token)
        rest = []
    if rest:
        item = _simple(rest)
        if item is None:
            return None
        items.append(item)
    elif operators and operators[-1] in (";", "&"):
        operators.pop()
    else:
        return None
    return Script(tuple(items), tuple(operators), True, "", slots)


def _one_command(text: str, slots: tuple[Slot, ...]) -> Script | None:
    """The tree of one command whose words stand between blanks."""
    tokens = text.split()
    if not tokens:
        return None
    first = _first(tokens[0])
    if first is None:
        item = _simple(tokens) if "=" in tokens[0] else None
        return Script((item,), (), True, "", slots) if item else None
    words = [found for token in tokens if (found := _word(token))]
    if len(words) < len(tokens):
        return None
    return Script((Simple(tuple(words)),), (), True, "", slots)


def _simple(tokens: list[str]) -> Simple | None:
    """One command with its assignments and redirects; None when the grammar should read it."""
    words: list[Word] = []
    assignments: list[Assignment] = []
    redirects: list[Redirect] = []
    rest = iter(tokens)
    for token in rest:
        if token[0] in " \t":
            sign = _REDIRECT.fullmatch(token)
            target = _word((sign and sign[3]) or next(rest, ""))
            if not (sign and words and target):
                return None
            redirects.append(Redirect(sign[2] or sign[4], sign[1], target))
            continue
        found = _word(token) if words else _first(token)
        if found is None:
            match = None if words else _ASSIGNMENT.fullmatch(token)
            if not match:
                return None
            assignments.append(Assignment(match[1], Word((Part("text", match[2]),))))
        else:
            words.append(found)
    # Behind an assignment the grammar takes `a:b` apart.
    if not words or (assignments and ":" in words[0].text):
        return None
    return Simple(tuple(words), tuple(assignments), tuple(redirects))


@lru_cache(maxsize=4096)
def _first(token: str) -> Word | None:
    """The word of a program."""
    if not _PROGRAM.fullmatch(token):
        return None
    found = _word(token)
    return None if found and found.text in _KEYWORDS else found


@lru_cache(maxsize=16_384)
def _word(token: str) -> Word | None:
    """One word with its quotes taken off; None when the grammar should read it."""
    if _EASY_WORD.fullmatch(token):
        return Word((Part("text", token),))
    if token in _WHOLE:
        return _WHOLE[token]
    if not _WORD.fullmatch(token):
        return None
    parts: list[Part] = []
    for piece in _PIECES.findall(token):
        quoted = piece[0] in "'\""
        if not quoted and _ODD_WORD.search(piece):
            return None
        text = piece[1:-1] if quoted else piece
        active = not quoted and _ACTIVE.search(piece)
        kind: Literal["bare", "text"] = "bare" if active else "text"
        if parts and parts[-1].kind == kind:
            parts[-1] = Part(kind, parts[-1].text + text)
        elif text or piece == token:
            parts.append(Part(kind, text))
    return Word(tuple(parts) or (Part("text", ""),))
