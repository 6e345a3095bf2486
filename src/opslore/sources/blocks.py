"""A piece of code to its commands: prompts, output, comments, continuations, heredocs, loops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from opslore.sources.evidence import begins_command
from opslore.sources.shell import Lexer

MAX_ROWS = 200
"""Longest command in lines."""

MAX_CUTS = 10

_CONSOLE = {"console", "terminal", "shell-session", "shellsession", "sh-session", "bash-session"}
SHELL = _CONSOLE | {"bash", "sh", "shell", "zsh", "ksh", "shellscript", "shell-script", "commands"}
"""Fence languages that hold commands."""

_WHO = r"(?:\([\w.-]+\)\s*)?(?:\[[^\]\n]{1,60}\]|[\w.-]+@[\w.-]+(?::\S{0,80})?|(?:ba|z)?sh-[\d.]+)"
_PROMPT = re.compile(rf"\s*(?:\$ +|{_WHO}\s?[$#%] +)(?=\S)")
_ROOT = re.compile(r"\s*# +(?=\S)")
_SECOND = re.compile(r"\s*> ?")
_HOLE = re.compile(rb"(?<![<\w])<(?=[A-Za-z])[^<>|;&\n$`\\=]{0,80}[\w.'\")]>")


@dataclass(frozen=True, slots=True)
class Piece:
    """A candidate: text that stands where a command would, with its lines."""

    text: str
    first: int
    last: int
    comment: str = ""
    open: str = ""
    """What never closes (`a quote`), so that the text is no whole command."""
    prompt: bool = False
    """It stood behind a prompt."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the block with its number in the file."""

    text: str
    number: int


def language(info: str) -> str:
    """The language of a fence: the first word of `bash title="x"`, `{.bash}` or `language-bash`."""
    word = re.split(r"[\s,{}]+", info.strip().strip("{}").strip(), maxsplit=1)[0]
    return word.lstrip(".").removeprefix("language-").lower()


def pieces(content: str, first: int, info: str) -> list[Piece]:
    """Split a block into candidates, in order.

    Args:
        content: the block's text without its fence.
        first: line of its first row in the file, from 1.
        info: what stands behind the opening fence; in a console `# ` may be a prompt.
    """
    rows = _dedent(content, first)
    if language(info) in _CONSOLE and all(_ROOT.match(row.text) for row in rows if row.text):
        rows = [Row(_ROOT.sub("$ ", row.text), row.number) for row in rows]
    console = language(info) in _CONSOLE and any(_prompt_end(row.text) for row in rows)
    if console or any(_PROMPT.match(row.text) for row in rows):
        return list(_dialogue(rows))
    parsed = _script(rows)
    return list(_by_line(rows)) if parsed is None else parsed


def _dedent(content: str, first: int) -> list[Row]:
    lines = content.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [Row(line[margin:].rstrip(), first + at) for at, line in enumerate(lines)]


def _prompt_end(line: str) -> int:
    """Where the command behind a prompt begins; 0 without a prompt.

    `# chroot /host` is a root prompt, `# then restart it` is a comment.
    """
    found = _PROMPT.match(line)
    if found:
        return found.end()
    root = _ROOT.match(line)
    return root.end() if root and begins_command(line[root.end() :]) else 0


def _dialogue(rows: list[Row]) -> Iterator[Piece]:
    """Commands behind prompts; every other line is a comment or output."""
    comments: list[str] = []
    at = cuts = 0
    while at < len(rows):
        text = rows[at].text
        start = _prompt_end(text)
        if not start:
            if text.lstrip().startswith("#"):
                comments.append(_uncommented(text))
            at += 1
            continue
        count, still = _extent(rows, at, start, cuts)
        cuts += bool(still)
        lines = [text[start:], *(row.text for row in rows[at + 1 : at + count])]
        if count > 1 and all(_SECOND.match(line) for line in lines[1:]):
            lines[1:] = [_SECOND.sub("", line, count=1) for line in lines[1:]]
        body, remark = _trailing(lines)
        comment = "\n".join([*comments, *remark])
        yield Piece(body, rows[at].number, rows[at + count - 1].number, comment, still, True)
        comments = []
        at += count


def _extent(rows: list[Row], at: int, start: int, cuts: int) -> tuple[int, str]:
    """How many rows the command at a row takes, and what it leaves open.

    A command that never closes is no reason to swallow the output below it: then it takes the rows
    that are plainly continued. After MAX_CUTS of them the block is no shell, and not searched.
    """
    lexer = Lexer()
    lexer.feed(rows[at].text[start:])
    end = at + 1
    stop = min(len(rows), at + (MAX_ROWS if cuts < MAX_CUTS else 1))
    while lexer.open and end < stop and not _PROMPT.match(rows[end].text):
        lexer.feed(rows[end].text)
        end += 1
    if not lexer.open:
        return end - at, ""
    lexer = Lexer()
    lexer.feed(rows[at].text[start:])
    count = 1
    while at + count < end and rows[at + count - 1].text.endswith(("\\", "|", "&&")):
        lexer.feed(rows[at + count].text)
        count += 1
    return count, lexer.open or "a line"


def _trailing(lines: list[str]) -> tuple[str, list[str]]:
    """A one-line command without the comment behind it, and that comment."""
    if len(lines) == 1 and " #" in lines[0]:
        parsed = _script([Row(lines[0], 1)])
        if parsed and len(parsed) == 1:
            return parsed[0].text, [parsed[0].comment] if parsed[0].comment else []
    return "\n".join(lines).strip(), []


def _uncommented(text: str) -> str:
    return text.strip().lstrip("#").strip()


def _by_line(rows: list[Row]) -> Iterator[Piece]:
    """Commands of a block that is not all shell: each line that begins one, to where it closes."""
    comments: list[str] = []
    at = cuts = 0
    while at < len(rows):
        text = rows[at].text
        if not text or text.lstrip().startswith("#"):
            comments += [_uncommented(text)] if text else []
            at += 1
            continue
        count, still = (1, "")
        if begins_command(text):
            count, still = _extent(rows, at, 0, cuts)
            cuts += bool(still)
        body, remark = _trailing([row.text for row in rows[at : at + count]])
        comment = "\n".join([*comments, *remark])
        yield Piece(body, rows[at].number, rows[at + count - 1].number, comment, still)
        comments = []
        at += count


def _script(rows: list[Row]) -> list[Piece] | None:
    """Commands of a block that is all shell: its statements. None if it does not parse."""
    source = "\n".join(row.text for row in rows).encode("utf-8", "replace")
    # A hole would be read as two redirects; a word of the same length keeps every position.
    tree = _parser().parse(_HOLE.sub(lambda hole: b"x" * len(hole.group()), source)).root_node
    if tree.has_error:
        return None
    spans: list[tuple[int, int]] = []
    remarks: dict[int, tuple[int, str]] = {}
    for child in tree.children:
        (row, column), (last, end) = child.start_point, child.end_point
        if child.type == "comment":
            remarks[row] = (column, _uncommented(child.text.decode("utf-8", "replace")))
            continue
        last -= end == 0 and last > row
        if spans and row <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        elif child.is_named:
            spans.append((row, last))
    return _cut(rows, spans, remarks)


def _cut(
    rows: list[Row], spans: list[tuple[int, int]], remarks: dict[int, tuple[int, str]]
) -> list[Piece]:
    """The rows of each statement as text, with the comments above and behind it beside it."""
    found: list[Piece] = []
    above = 0
    for first, last in spans:
        lines = [row.text for row in rows[first : last + 1]]
        comments = [remarks[row][1] for row in range(above, first) if row in remarks]
        if last in remarks:
            column, words = remarks[last]
            lines[-1] = lines[-1].encode()[:column].decode("utf-8", "replace").rstrip()
            comments.append(words)
        above = last + 1
        if lines[-1].endswith("\\") and above in remarks:
            # `command \` with a comment for its next line: the comment ends it.
            lines[-1] = lines[-1][:-1].rstrip()
            comments.append(remarks[above][1])
            above += 1
        text = "\n".join(lines).strip()
        comment = "\n".join(comments)
        found.append(Piece(text, rows[first].number, rows[last].number, comment))
    return found


@cache
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
