"""What a text in prose names: commands, flags, ports and identifiers, and what the sources name.

Commands are read from code fences, back-ticks and lines of their own, by the same parser that
reads runbooks; everything else is found by its spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from opslore import commands
from opslore.cards import Document
from opslore.commands.canonical import form
from opslore.commands.tables import tools
from opslore.evaluation.scorers import flat_units
from opslore.sources.blocks import SHELL, language, pieces
from opslore.sources.evidence import is_command

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})([^\n`]*)\n(.*?)(?:\n[ \t]*\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
_ADDRESS = re.compile(r"\w+://\S+")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?![\w-])")
_PORTS = re.compile(
    r"\bports?\b[^\w\n]{0,4}(?:number |is |are |of )?(\d{2,5}(?:(?:, ?| and | or )\d{2,5})*)", re.I
)
_AT_PORT = re.compile(
    r"(?:[A-Za-z\]]|\d\.\d{1,3}):(\d{2,5})(?![\w.:])|\b(\d{2,5})/(?:tcp|udp)\b", re.I
)
_KEYED = re.compile(r"\b[\w]*port[\"']?[:=] ?[\"']?(\d{2,5})\b", re.I)
_CAMEL = re.compile(
    r"(?<![\w.-])(?:[A-Z]+[a-z0-9]+(?:[A-Z]+[a-z0-9]*)+|[a-z]+(?:[A-Z][a-z0-9]+)+)(?![\w-])"
)
_SLASHED = re.compile(r"(?<![\w./-])[a-z0-9-]+(?:\.[a-z0-9-]+)+/[A-Za-z0-9._-]*[A-Za-z0-9]")
_DOTTED = re.compile(r"(?<![\w./@-])[A-Za-z][\w-]+(?:\.[A-Za-z][\w-]+)+(?![\w/-]|\.\w)")
_KEBAB = re.compile(r"(?<![\w./-])[a-z][a-z0-9]*(?:-[a-z0-9]+)+(?![\w./-])")
_JOINING = re.compile(
    r"-(?:a|and|as|at|by|for|in|is|it|not|of|off|on|or|out|than|the|to|up)-|^(?:non|re|self|well)-"
)
_CALL = re.compile(r"[a-z][a-z0-9._-]*(?: \S+)*? -{1,2}[A-Za-z]")
_WORD = re.compile(r"[A-Za-z0-9_](?:[\w./:@-]*\w)?")
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|\n")
LONGEST_NAME = 60
"""Characters of a code span that is still a name."""
NAMES = frozenset({"linux", "macos", "windows"})
"""Words in code spans that name nothing of a project."""


@dataclass(frozen=True)
class Terms:
    """What a text names, each once, in the order of the text."""

    commands: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)


def terms(text: str) -> Terms:
    """Everything a text names."""
    found = commands_in(text)
    flags = [name for name in _FLAG.findall(text)]
    flags += [
        name for one in found for unit in flat_units(form(one).units) for name, _ in unit.flags
    ]
    return Terms(found, _once(flags), ports_in(text), identifiers_in(text))


def commands_in(text: str) -> list[str]:
    """The commands of a text: in shell fences, in back-ticks, and lines that are nothing else."""
    found: list[str] = []
    for info, body in fences(text):
        name = language(info) if info.strip() else ""
        if name and name not in SHELL:
            continue
        for piece in pieces(body, 1, info):
            place = "prompt" if piece.prompt else "shell" if name else "bare"
            if is_command(piece.text, place) and not commands.is_setup(piece.text):  # type: ignore[arg-type]
                found.append(piece.text)
    prose = _FENCE.sub("\n", text)
    spans = [span.strip() for _, span in _SPAN.findall(prose)]
    found += [span for span in spans if commands.looks_like_command(span) or _is_call(span)]
    for line in _SPAN.sub(" ", prose).splitlines():
        bare = line.strip().removeprefix("$ ")
        if bare and commands.looks_like_command(bare):
            found.append(bare)
    return _once(found)


def _is_call(span: str) -> bool:
    """Whether a code span calls a program that no table knows: a project's own, with a flag."""
    return bool(_CALL.match(span)) and commands.parse(span).ok


def dangers_in(text: str) -> list[str]:
    """Commands of a text, and those inside its sentences too (`just run rm -rf / and ...`)."""
    found = commands_in(text)
    prose = _SPAN.sub(" ", _FENCE.sub("\n", text))
    for sentence in _SENTENCE.split(prose):
        words = sentence.split()
        for at, word in enumerate(words):
            rest = " ".join(words[at:]).rstrip(".,;:!?")
            if word in tools() and commands.looks_like_command(rest):
                found.append(rest)
                break
    return _once(found)


def fences(text: str) -> Iterator[tuple[str, str]]:
    """The code fences of a text as (what stands behind the opening one, content)."""
    for match in _FENCE.finditer(text):
        yield match.group(2), match.group(3)


def ports_in(text: str) -> list[str]:
    """Port numbers: behind the word, behind a host, before a protocol, as a value of a key."""
    found = [number for many in _PORTS.findall(text) for number in re.findall(r"\d+", many)]
    found += [one or other for one, other in _AT_PORT.findall(text)]
    found += _KEYED.findall(text)
    return [number for number in _once(found) if 0 < int(number) < 65536]


def identifiers_in(text: str) -> list[str]:
    """Names: code spans without a command, CamelCase, `a.b/c`, dotted and dashed names."""
    text = _ADDRESS.sub(" ", text)
    prose = _FENCE.sub("\n", text)
    code = [body for _, body in fences(text)] + [span for _, span in _SPAN.findall(prose)]
    names = [span.strip() for _, span in _SPAN.findall(prose)]
    found = [
        name
        for name in names
        if len(name) <= LONGEST_NAME
        and re.fullmatch(r"\S+", name)
        and re.search(r"[A-Za-z]{2}", name)
        and not name.startswith("-")
    ]
    for pattern in (_SLASHED, _CAMEL, _DOTTED):
        found += pattern.findall(text)
    found += _KEBAB.findall("\n".join(code))
    found += [name for name in _KEBAB.findall(_SPAN.sub(" ", prose)) if _is_name(name)]
    return [name for name in _once(found) if name.lower() not in NAMES]


def _is_name(kebab: str) -> bool:
    """Whether a dashed word outside code is a name: English joins two words, or with small ones."""
    parts = kebab.split("-")
    if any(part.isdigit() for part in parts):
        return False
    digits = any(letter.isdigit() for letter in kebab)
    return digits or (len(parts) > 2 and not _JOINING.search(kebab))


def says(text: str, term: str) -> bool:
    """Whether a text has a name, and not as a part of a longer one."""
    return bool(re.search(rf"(?<![\w-]){re.escape(term)}(?![\w-])", text))


class Known:
    """What the sources name, to tell what a reply made up.

    Only text of the trust tiers T1 and T2 grounds a command: what a stranger wrote in an issue is
    no proof that it is right. A name may come from anybody.
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self.commands: dict[str, list[str]] = {}
        self.words: set[str] = set()
        self.add(listed)

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Known:
        """Everything that documents name."""
        known = cls()
        for document in documents:
            for text, trusted in texts(document):
                known.words.update(_WORD.findall(text))
                if trusted:
                    known.add(commands_in(text))
        return known

    def add(self, listed: Iterable[str]) -> None:
        """Take commands as the sources'."""
        for command in listed:
            among = self.commands.setdefault(commands.template(command) or command, [])
            if command not in among:
                among.append(command)

    def listed(self) -> list[str]:
        """Every command, each once, in order."""
        return [command for among in self.commands.values() for command in among]

    def near(self, command: str) -> list[str]:
        """The sources' commands of the same shape."""
        return self.commands.get(commands.template(command) or command, [])

    def has(self, command: str, said: frozenset[str] = frozenset()) -> bool:
        """Whether the sources have a command; its holes may be filled with what was said."""
        return any(commands.equivalent(command, one, {}, said).equal for one in self.near(command))

    def names(self, name: str) -> bool:
        """Whether the sources have a name."""
        return all(word in self.words for word in _WORD.findall(name))


def texts(document: Document) -> Iterator[tuple[str, bool]]:
    """A document's texts, each with whether a maintainer or a reviewed repository wrote it."""
    if not document.turns:
        trusted = document.trust != "T3"
        yield f"{document.title}\n{document.text}", trusted
        for command in document.commands:
            yield f"`{command.text}`" if "\n" not in command.text else command.text, trusted
        return
    yield document.title, False
    for turn in document.turns:
        yield turn.text, turn.trust != "T3" and not turn.bot


def _once(found: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(found))
