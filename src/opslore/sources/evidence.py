"""Is this piece of a code block a command? A prompt says so, a language half, a bare fence not.

Runbooks put PromQL, YAML, tables and log lines under "bash". The first program decides: a known
one is enough; an unknown one must look like a call, and stand where calls are announced.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from opslore.commands import is_setup, looks_like_command, parse

Place = Literal["prompt", "shell", "bare"]
"""Behind a prompt; in a fence that says it is shell; in one that says nothing."""

_WORD = re.compile(
    r"\s*(?:[A-Z_][A-Z0-9_]*=[\w./:<>-]+\s+)*(?:sudo\s+)?"
    r"((?:\./|/|~/)?[\w.+@-]+(?:/[\w.+-]+)*)(?=[\s;|&]|$)"
)
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?[A-Za-z_]\w*\+?=(?!=)")
_ASSIGNED_FIRST = re.compile(r"""\s*\w+=(?:"[^"]*"|'[^']*'|[^\s;]*)\s*(?:;|&&)\s*\S""")
_KEYWORD = re.compile(r"\s*(?:for|while|until|if|case|function)\s|\s*\w+\s*\(\)\s*\{|\s*[({]\s")
_PROGRAM = re.compile(r"(?:\./|/|~/)?[a-z][a-z0-9+-]*(?:[._/][a-z0-9+-]+)*")
_CALL = re.compile(r"(?:^|\s)-{1,2}[A-Za-z]|[/$|<>'\"=@]|\s[a-z0-9-]+\.[a-z]")
_COLUMNS = re.compile(r"\S {3,}\S")
_COMPARISON = re.compile(r"\s*[A-Za-z_:][\w:]*(?:\{[^}]*\})?\s*(?:[<>]=?|[=!]=)\s*[\d.]+\s*$")
_LOGFMT = re.compile(r"""\s*[a-z_]+=(?:"[^"]*"|\S*)\s+[a-z_]+=""")
_NO_CALL = re.compile(r"\s*(?:[=!*%:(]|<(?!<|[A-Za-z][\w-]*>)|>(?!>)|-+>|[-+]\s)")
"""What follows a metric, a setting or a mapping, and no program: `a == 1`, `a -> b`, `a = b`.
A hole such as `<instance>` is an argument."""
_PLAIN = re.compile(r"[a-z][a-z0-9-]*(?: [a-z0-9<][\w<>./:=-]*){1,6}")
_ENGLISH = re.compile(r"\b(?:the|an?|is|are|to|of|and|or|for|with|if|not|this|that|in|on|your)\b")
_PROSE = re.compile(r"[A-Za-z][,;:!?](?:\s|$)|[a-z]\.(?:\s|$)")
_VERBS = frozenset({"get", "describe", "delete", "apply", "edit", "logs", "create", "scale"})
"""A line that begins with one of these has lost its program."""


def begins_command(line: str) -> bool:
    """Whether a line, which need not be the whole of it, begins with something to run."""
    if _ASSIGNMENT.match(line) or _KEYWORD.match(line):
        return True
    word = _WORD.match(line)
    return bool(word and (_known(word[1]) or _plausible(line)))


def is_command(text: str, place: Place) -> bool:
    """Whether a whole piece is a command."""
    first = text.split("\n", 1)[0]
    if _COMPARISON.match(text) or _LOGFMT.match(text) or text.startswith(":"):
        return False
    word = _WORD.match(text)
    if place == "bare":
        called = bool(word and _known(word[1]) and _plausible(text) and parse(text).ok)
        return looks_like_command(text) or called or (is_setup(text) and not _COLUMNS.search(first))
    if word and word[1] in _VERBS:
        return False
    if word and _known(word[1]):
        return place == "prompt" or not _COLUMNS.search(first) or looks_like_command(text)
    if not parse(text).ok:
        return False
    if _KEYWORD.match(text) or _ASSIGNED_FIRST.match(text) or is_setup(text):
        return True
    return looks_like_command(text) or bool(word and (place == "prompt" or _plausible(text)))


@lru_cache(maxsize=1024)
def _known(program: str) -> bool:
    return looks_like_command(f"{program.rsplit('/', 1)[-1]} x --y")


def _plausible(line: str) -> bool:
    """Whether an unknown program looks like one that is being called."""
    word = _WORD.match(line)
    if not word or not _PROGRAM.fullmatch(word[1]) or word[1] in _VERBS or word[1].count("_") > 1:
        return False
    first = line.split("\n", 1)[0]
    rest = first[word.end() :]
    if _NO_CALL.match(rest) or _COLUMNS.search(first) or _PROSE.search(rest):
        return False
    called = word[1][0] in "./~" or _CALL.search(rest)
    return bool(called or (_PLAIN.fullmatch(first) and not _ENGLISH.search(first)))
