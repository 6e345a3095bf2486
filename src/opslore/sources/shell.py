"""Is a command finished at the end of this line, or does the shell wait for more?

A parser needs the whole command to answer; here the answer decides where the command ends, for
prompts with output below them and for blocks that are not all shell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NORMAL = re.compile(
    r"""\\.|\\$|\$\{|\$\(|<<<|<<-?[ \t]*(['"]?)(?P<end>[A-Za-z_]\w*)\1|\|\|?|&&?|;;?|['"`(){}]
    |\s+|[^\s\\'"`$(){}<|&;]+|.""",
    re.X,
)
_DOUBLE = re.compile(r"""\\.|\\$|\$\(|["`]|[^\\"`$]+|.""")
_OPENERS = {"if": "fi", "for": "done", "while": "done", "until": "done", "select": "done"} | {
    "case": "esac"
}
_AFTER = frozenset({"then", "do", "else", "elif", "!", "time"})
_NAMES = {
    "'": "a quote", '"': "a quote", "`": "a back-tick", ")": "a parenthesis", "}": "a brace",
    "fi": "an if", "done": "a loop", "esac": "a case",
}  # fmt: skip


@dataclass(slots=True)
class Lexer:
    """Follows quotes, brackets, here-documents and blocks through the lines of a script."""

    stack: list[str] = field(default_factory=list)
    """What has to come to close what was opened, innermost last."""
    documents: list[str] = field(default_factory=list)
    """End words of the here-documents whose text comes next."""
    pending: bool = False
    """The line ended with a backslash, a pipe, `&&` or `||`."""
    start: bool = True
    """The next word is a program or a keyword."""
    before: str = ""

    @property
    def open(self) -> str:
        """What the shell still waits for, in words; empty when the command is whole."""
        if self.documents:
            return "a here-document"
        if self.stack:
            return _NAMES[self.stack[-1]]
        return "a pipe or a backslash" if self.pending else ""

    def feed(self, line: str) -> None:
        """Read one more line, without its line end."""
        if self.documents and not self._quoted():
            if line.strip() == self.documents[0]:
                self.documents.pop(0)
            return
        self.pending = False
        waiting: list[str] = []
        at = 0
        while at < len(line):
            at = self._quote(line, at) if self._quoted() else self._token(line, at, waiting)
        self.documents += waiting
        if not self._quoted() and not self.pending:
            self.start = True
        if self.before in ("|", "||", "&&"):
            self.pending = True

    def _quoted(self) -> bool:
        return bool(self.stack) and self.stack[-1] in ("'", '"')

    def _quote(self, line: str, at: int) -> int:
        if self.stack[-1] == "'":
            end = line.find("'", at)
            if end < 0:
                return len(line)
            self.stack.pop()
            return end + 1
        found = _DOUBLE.match(line, at)
        assert found
        token = found.group()
        if token == '"':
            self.stack.pop()
        elif token == "$(":
            self._enter(")")
        elif token == "`":
            self._tick()
        return found.end()

    def _token(self, line: str, at: int, waiting: list[str]) -> int:
        found = _NORMAL.match(line, at)
        assert found
        token = found.group()
        if token.isspace():
            return found.end()
        if token[0] == "#" and (at == 0 or line[at - 1].isspace()):
            return len(line)
        if token == "\\":
            self.pending = True
        elif found["end"]:
            waiting.append(found["end"])
        elif token in ("'", '"'):
            self.stack.append(token)
            self.start = False
        else:
            self._word(token, line, found.end())
        self.before = token
        return found.end()

    def _word(self, token: str, line: str, end: int) -> None:
        if token in ("$(", "("):
            self._enter(")")
        elif token == "${":
            self.stack.append("}")
        elif token == "{":
            group = (self.start or self.before == ")") and line[end : end + 1] in ("", " ", "\t")
            if group:
                self._enter("}")
        elif token in (")", "}"):
            self._leave(token)
        elif token == "`":
            self._tick()
        elif token in (";", ";;", "|", "||", "&", "&&"):
            self.start = True
        elif self.start:
            self._keyword(token)

    def _keyword(self, token: str) -> None:
        if token in _OPENERS:
            self._enter(_OPENERS[token])
            self.start = token in ("if", "while", "until")
        elif token in ("fi", "done", "esac"):
            self._leave(token)
        else:
            self.start = token in _AFTER

    def _enter(self, closer: str) -> None:
        self.stack.append(closer)
        self.start = True

    def _leave(self, closer: str) -> None:
        if self.stack and self.stack[-1] == closer:
            self.stack.pop()
        self.start = False

    def _tick(self) -> None:
        if "`" in self.stack:
            while self.stack.pop() != "`":
                continue
            self.start = False
        else:
            self._enter("`")


def unfinished(text: str) -> str:
    """What a command leaves open (`a quote`); empty when it is whole."""
    lexer = Lexer()
    for line in text.split("\n"):
        lexer.feed(line)
    return lexer.open
