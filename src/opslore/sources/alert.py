"""One alert of a runbook: from its headings and blocks to a document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from opslore.cards import Command, Dropped, Span
from opslore.commands import looks_like_command
from opslore.sources.blocks import SHELL, Piece, language, pieces
from opslore.sources.evidence import Place, is_command
from opslore.sources.fields import Fields, Key
from opslore.sources.markdown import Block, Line, Page, lines
from opslore.sources.outline import Node, Tier, label, tier

_SENTENCE = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+")
_INLINE_PROMPT = re.compile(r"^[$#] +")
# `kubectl exec` in a sentence is the name of a tool, not something to run: these words want more.
_VERBS = """apply annotate cordon cp create debug delete describe drain edit exec expose get install
    label logs patch port-forward pull push replace restart rollout rsh run scale scp set start
    stop taint uncordon uninstall upgrade wait enable disable mask reload kill log project"""
_WANTS_MORE = frozenset(_VERBS.split())
_LABEL = re.compile(r"^[^:\uff1a]{0,60}[:\uff1a]\s*")
_SEVERITY = re.compile(r"[\w-]+")
_RULE = re.compile(r"[ ]{0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")


@dataclass
class Draft:
    """What an alert's lines say, before it has an id."""

    title: str
    section: str
    first: int
    last: int
    severity: str = ""
    symptoms: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    prose: int = 0
    """Pieces of prose, whatever field they belong to."""


@dataclass(frozen=True, slots=True)
class Part:
    """Prose or code of an alert with the field it belongs to."""

    key: Key | None
    under: str
    """The heading that it stands under when that is no field; empty right below the title."""
    text: str = ""
    bare: str = ""
    codes: tuple[tuple[str, int, int], ...] = ()
    code: Block | None = None
    heading: bool = False


class Reader:
    """Reads the alerts of one file."""

    def __init__(self, page: Page, fields: Fields, name: str, dropped: list[Dropped]) -> None:
        self.page = page
        self.fields = fields
        self.name = name
        self.dropped = dropped

    def read(self, node: Node, section: str, end: int) -> Draft:
        """The alert at a heading; `end` is the last line that can be its own."""
        draft = Draft(node.title, section, node.first, end)
        parts = list(self._parts(node, tier(node), None, "", end))
        keys = {part.key for part in parts} - {None, "severity"}
        spare: Literal["investigation", "resolution"] = (
            "investigation" if "resolution" in keys else "resolution"
        )
        for before, part in zip([None, *parts], parts, strict=False):
            if part.heading:
                continue
            if part.code is None:
                draft.prose += 1
                self._prose(draft, part, spare)
                continue
            if part.key is None and part.under and keys:
                self._drop(part.code, f"under {part.under!r}, which is no field of an alert")
                continue
            # Something to run among the symptoms is there to look, never to mend.
            looks = part.key in ("symptoms", "severity")
            role = "investigation" if looks else part.key or spare
            assert role in ("investigation", "resolution")
            above = before.text if before and before.code is None else ""
            self._code(draft, part.code, role, above)
        return draft

    def _parts(
        self, node: Node, how: Tier, key: Key | None, under: str, end: int
    ) -> Iterator[Part]:
        for block in node.own:
            if block.kind == "code":
                yield Part(key, under, code=block)
                continue
            for opened, part in self._labelled(block, how, key, under):
                key = opened
                yield part
        for child in node.children:
            if child.alert or child.first > end:
                continue
            inner = child.name if child.name and (key is None or child.name != "symptoms") else key
            beneath = "" if inner else child.title
            # A field's own name says nothing about the command below it.
            yield Part(inner, beneath, "" if child.name else child.title, heading=True)
            yield from self._parts(child, how, inner, beneath, end)

    def _labelled(
        self, block: Block, how: Tier, key: Key | None, under: str
    ) -> Iterator[tuple[Key | None, Part]]:
        """The prose of a block, cut where a label opens another field."""
        gathered: list[Line] = []
        for line in lines(block, self.page):
            found, way, rest = label(line, block, self.fields)
            severity = found == "severity" and way != "words"
            if severity or (found and way == how):
                if gathered:
                    yield key, _join(key, under, gathered)
                    gathered = []
                if severity:
                    yield key, Part("severity", "", rest)
                    if how != way:
                        gathered.append(line)
                    continue
                key = found
                line = replace(line, text=rest, bare=_LABEL.sub("", line.bare, count=1))
                if not rest and not line.codes:
                    # The field is open though it says nothing on this line.
                    yield key, Part(key, "")
                    continue
            gathered.append(line)
        if gathered:
            yield key, _join(key, under, gathered)

    def _prose(
        self, draft: Draft, part: Part, spare: Literal["investigation", "resolution"]
    ) -> None:
        if part.key == "severity":
            word = _SEVERITY.search(part.text)
            draft.severity = draft.severity or (word.group().lower() if word else "")
        elif part.text and (part.key or ("" if part.under else "symptoms")) == "symptoms":
            draft.symptoms.append(part.text)
        if part.key in ("symptoms", "severity") or (part.key is None and part.under):
            return
        role = part.key or spare
        assert role in ("investigation", "resolution")
        known = {(command.role, command.text) for command in draft.commands if part.codes}
        for code, first, last in part.codes:
            text = _INLINE_PROMPT.sub("", code.strip())
            if (role, text) in known or not _inline(text):
                continue
            comment = _sentence(part.bare)
            draft.commands.append(
                Command(text=text, role=role, first=first, last=last, comment=comment)
            )

    def _code(
        self, draft: Draft, block: Block, role: Literal["investigation", "resolution"], above: str
    ) -> None:
        name = language(block.info)
        if name and name not in SHELL:
            self._drop(block, f"{name}, not shell")
            return
        found = pieces(block.raw, block.first, name)
        if not found or (not name and not is_command(found[0].text, _place(found[0], name))):
            self._drop(block, "no command in it")
            return
        refused: list[tuple[Piece, str]] = []
        for at, piece in enumerate(found):
            reason = _refusal(piece, name)
            if reason:
                refused.append((piece, reason))
                continue
            comment = piece.comment or (_sentence(above) if at == 0 else "")
            draft.commands.append(
                Command(
                    text=piece.text, role=role, first=piece.first, last=piece.last, comment=comment
                )
            )

        for reason, run in groupby(refused, key=lambda pair: pair[1]):
            rows = [piece for piece, _ in run]
            self._note(rows[0].text, reason, rows[0].first, rows[-1].last)

    def _drop(self, block: Block, reason: str) -> None:
        self._note(block.raw.strip(), reason, block.first, max(block.first, block.last))

    def _note(self, text: str, reason: str, first: int, last: int) -> None:
        line = text.split("\n", 1)[0]
        what = line if line == text and len(line) <= 100 else line[:97] + "..."
        span = Span(file=self.name, first=first, last=last)
        self.dropped.append(Dropped(what=what, reason=reason, span=span))


def _join(key: Key | None, under: str, gathered: list[Line]) -> Part:
    text = " ".join(" ".join(line.text for line in gathered).split())
    bare = " ".join(" ".join(line.bare for line in gathered).split())
    return Part(key, under, text, bare, tuple(code for line in gathered for code in line.codes))


def _place(piece: Piece, name: str) -> Place:
    if piece.prompt:
        return "prompt"
    return "shell" if name else "bare"


def _refusal(piece: Piece, name: str) -> str:
    if piece.open:
        return f"cut off: {piece.open} is never closed"
    return "" if is_command(piece.text, _place(piece, name)) else "not a command"


def _inline(text: str) -> bool:
    words = text.split()
    if len(words) < 2 or (len(words) == 2 and words[1] in _WANTS_MORE):
        return False
    return looks_like_command(text)


def _sentence(text: str) -> str:
    """The last sentence, which is the one that speaks of the command below or in it."""
    return _SENTENCE.split(text)[-1].strip(" :\uff1a.,;-\u2013") if text else ""


def ends(order: list[Node], text_lines: list[str]) -> dict[Node, int]:
    """The last line of each alert; `order` has every heading of the file from the top.

    An alert ends before the next heading that is not below it, or is an alert itself. Blank lines
    and rules at the end belong to nobody.
    """
    found: dict[Node, int] = {}
    for at, node in enumerate(order):
        if not node.alert:
            continue
        inside = set(node.inside())
        rest = (other for other in order[at + 1 :] if other not in inside)
        following = next(rest, None)
        last = following.first - 1 if following else len(text_lines)
        while last > node.first and _empty(text_lines[last - 1]):
            last -= 1
        found[node] = last
    return found


def _empty(line: str) -> bool:
    return not line.strip() or bool(_RULE.match(line))
