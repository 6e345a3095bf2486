"""`python -m tests.tables.share FOLDER`: how many commands of real documents have a known verb."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

from opslore.commands import parse
from opslore.commands.arguments import Invocation, invocation
from opslore.commands.syntax import Word
from opslore.commands.tables import tools

_PROMPT = re.compile(r"^\s*(?:\$|#|>|sh-[\d.]+[$#]|[\w@-]+[:~][\w/~-]*[$#])\s+(?=\S)")
_SHELLS = {"", "sh", "bash", "shell", "console", "shell-session", "text", "terminal", "zsh"}


@dataclass
class Share:
    """Commands of tools that have verbs: by tool, and the texts whose verb is unknown."""

    found: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def share(folder: Path) -> Share:
    """Read every Markdown file below a folder."""
    found = Share()
    for path in sorted(folder.rglob("*.md")):
        for text in _texts(path.read_text("utf-8", errors="replace")):
            if text.split(" ")[0] in tools() or "|" in text:
                _count(text, found)
    return found


def _texts(markdown: str) -> Iterator[str]:
    """Code of a document: fences and indented blocks by line, and spans of several words."""
    for token in MarkdownIt("commonmark").parse(markdown):
        if token.type == "code_block" or (
            token.type == "fence" and token.info.split(" ")[0].lower() in _SHELLS
        ):
            lines = re.sub(r"\\\n\s*", " ", token.content).splitlines()
            yield from (_PROMPT.sub("", line).strip() for line in lines)
        for child in token.children or []:
            if child.type == "code_inline" and " " in child.content.strip():
                yield child.content.strip()


def _count(text: str, found: Share) -> None:
    script = parse(text)
    for command in script.commands if script.ok else []:
        for call in _calls(command.words):
            if call.tool and call.tool.verbs and (call.verb.path or call.positionals):
                known = call.known_verb and bool(call.verb.path)
                found.found[call.tool.name] += 1
                found.known[call.tool.name] += known
                found.unknown[text] += not known


def _calls(words: tuple[Word, ...]) -> Iterator[Invocation]:
    """A command, and the command inside it."""
    if words and words[0].literal is not None:
        call = invocation(words)
        yield call
        yield from _calls(call.inner)


if __name__ == "__main__":
    result = share(Path(sys.argv[1]))
    for tool, count in result.found.most_common():
        print(f"{tool:12} {result.known[tool]:5} of {count:5}")
    print(f"{'all':12} {result.known.total():5} of {result.found.total():5}")
    for text, count in (+result.unknown).most_common():
        print(f"  {count:3} {text[:150]}")
