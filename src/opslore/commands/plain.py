"""A fast way to read plain command lines: words, quotes, `|`, `&&`, `||`, `;`, and nothing else.

Most commands of a runbook are that plain, and the full grammar spends its time on what they do not
have. Whatever holds a variable, a backslash, a redirect, a group, a keyword, an assignment or a
comment is left to the grammar; `tests/commands/test_plain.py` compares both on every command.
"""

from __future__ import annotations

import re
from functools import lru_cache

from opslore.commands.scan import Slot
from opslore.commands.syntax import Part, Script, Simple, Word

_MARKS = "\ue000\ue001"
_BARE = rf"\w./:@%+=,^?*~\[\]{{}}{_MARKS}-"
_PIECE = rf"(?:[{_BARE}]|'[^']*'|\"[^\"$`\\]*\")++"
_WORD = re.compile(_PIECE, re.ASCII)
_TOKEN = re.compile(rf"{_PIECE}|\|\|?+|&&|[^ \t]", re.ASCII)
"""Words and operators; any other character is a token that is neither."""
_PIECES = re.compile(r"'[^']*'|\"[^\"]*\"|[^'\"]+")
_OPERATORS = frozenset({"|", "||", "&&", ";"})
_KEYWORDS = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "in", "select", "while", "until", "do", "done"}
    | {"case", "esac", "function", "time", "coproc", "{", "}", "!", "[", "unset", "unsetenv"}
    | {"declare", "typeset", "export", "readonly", "local"}
)
"""First words that are no program."""
_PROGRAM = re.compile(rf"(?![0-9]+$)(?:[\w./:{_MARKS}-]|'[^']*'|\"[^\"]*\")+", re.ASCII)
_ODD_WORD = re.compile(r"^[=~!+,@?*]|[\[\]{}]|\^|^-?$|=\[|==|=~|\+=")
"""Words that are left to the grammar: it takes some of them apart."""
_ACTIVE = re.compile(r"[*?]|^~|^,")


def plain(text: str, slots: tuple[Slot, ...] = ()) -> Script | None:
    """The tree of a plain command line; None when it needs the full grammar."""
    items: list[Simple] = []
    operators: list[str] = []
    words: list[Word] = []
    for token in _TOKEN.findall(text):
        if token in _OPERATORS:
            if not words:
                return None
            items.append(Simple(tuple(words)))
            operators.append(token)
            words = []
            continue
        found = _word(token, not words)
        if found is None:
            return None
        words.append(found)
    if words:
        items.append(Simple(tuple(words)))
    elif operators[-1:] == [";"]:
        operators.pop()
    else:
        return None
    return Script(tuple(items), tuple(operators), True, "", slots)


@lru_cache(maxsize=16_384)
def _word(token: str, first: bool) -> Word | None:
    """One word with its quotes taken off; None when the grammar should read it."""
    if not (_PROGRAM if first else _WORD).fullmatch(token):
        return None
    parts: list[Part] = []
    for piece in _PIECES.findall(token):
        quoted = piece[0] in "'\""
        if not quoted and _ODD_WORD.search(piece):
            return None
        text = piece[1:-1] if quoted else piece
        active = not quoted and _ACTIVE.search(piece)
        kind = "bare" if active else "text"
        if parts and parts[-1].kind == kind:
            parts[-1] = Part(parts[-1].kind, parts[-1].text + text)
        elif text or piece == token:
            parts.append(Part("bare" if active else "text", text))
    found = Word(tuple(parts) or (Part("text", ""),))
    return None if first and found.text in _KEYWORDS else found
