"""Every command that an answer in prose tells its reader to type, wherever it stands.

Fails closed: in a fence that says it is shell, each line that is no comment counts, also with a
program that no table knows; elsewhere what looks like a command counts, in the middle of a
sentence too. A row with one of these waits for a person when a maintainer wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from opslore import commands
from opslore.commands.tables import tools, vocabulary

_SHELL = frozenset(
    {
        *(
            "bash",
            "sh",
            "shell",
            "zsh",
            "ksh",
            "console",
            "terminal",
            "shell-session",
            "shellsession",
        ),
        *("sh-session", "bash-session", "powershell", "ps1", "cmd", "bat"),
    }
)
_PROMPT = re.compile(r"^(?:\$|#|>|PS [^>]*>|[\w.-]+@[\w.-]+[:~][^$#]*[$#]) +(?=\S)")
_WORDS = frozenset(
    ("which", "who", "factor", "hash", "column", "dash", "sleep", "paste", "dive", "arch", "w")
)
"""Programs whose names begin a clause of English: `which is hard`; in back-ticks they count."""
_LOOPS = frozenset(("for", "while", "until", "if", "case"))
_WORD = re.compile(r"(?:(?<=\s)|^)(?:\.?/[\w./-]+/)?[a-z][\w.-]*(?=\s)")


def prescribed(text: str) -> list[str]:
    """The commands of an answer, each once, in order."""
    found: dict[str, None] = {}
    for command in _all(text):
        found.setdefault(" ".join(command.split()) if "<<" not in command else command)
    return list(found)


def _all(text: str) -> Iterator[str]:
    from markdown_it import MarkdownIt

    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("fence", "code_block"):
            yield from _block(token.content, token.info)
        elif token.type == "inline":
            for child in token.children or []:
                if child.type == "code_inline" and _is_command(child.content):
                    yield child.content.strip()
                elif child.type in ("text", "html_inline"):
                    yield from _prose(child.content)
        elif token.type == "html_block":
            for line in re.sub(r"<[^>]*>", "\n", token.content).splitlines():
                yield from _prose(line)


def _block(code: str, info: str) -> Iterator[str]:
    language = (info.split() or [""])[0].strip("{}.").lower()
    shell = language in _SHELL
    if shell and "<<" in code and commands.parse(code).ok:
        yield code.strip()  # a here-document does not end with its line
        return
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", code).splitlines()]
    prompted = any(line.startswith("$ ") for line in lines)
    for bare in lines:
        prompt = _PROMPT.match(bare)
        said = bare[prompt.end() :] if prompt and not (shell and bare.startswith("# ")) else bare
        if not said or said.startswith("#"):
            continue
        typed = bool(prompt and bare[0] == "$") if prompted else shell  # the rest is output
        if typed or _is_command(said):
            yield said


def _prose(line: str) -> Iterator[str]:
    """Commands without back-ticks: from a program's name to the end of the line."""
    english = vocabulary("recognise", "english")
    for found in _WORD.finditer(line):
        name = found.group().rpartition("/")[2]
        rest = re.split(r"[,;:.!?](?:\s|$)", line[found.start() :], maxsplit=1)[0].strip()
        if name not in english and _is_program(name) and _is_command(rest):
            yield rest
            return


def _is_program(name: str) -> bool:
    """Whether a word begins a command that `looks_like_command` could know; parsing is slow."""
    return (name in tools() and name not in _WORDS) or name in _LOOPS


def _is_command(text: str) -> bool:
    return commands.looks_like_command(_PROMPT.sub("", text.strip()))
