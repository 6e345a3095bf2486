"""A docutils tree as lines of CommonMark."""

from __future__ import annotations

import re
from collections.abc import Callable

from docutils import nodes

from opslore.sources.pages_fences import fenced

_SILENT = (
    nodes.comment,
    nodes.system_message,
    nodes.substitution_definition,
    nodes.target,
    nodes.raw,
    nodes.pending,
    nodes.meta,
    nodes.decoration,
    nodes.citation,
    nodes.problematic,
)


class Writer:
    """Walks a tree; each block is lines, each piece of prose is one string."""

    def __init__(self, tree: nodes.document) -> None:
        self.tree = tree
        self.labels: list[str] = []
        """Labels of the tabs that are open."""

    def lines(self) -> list[str]:
        """The whole document."""
        return self.blocks(self.tree, 0)

    def blocks(self, parent: nodes.Element, level: int) -> list[str]:
        """The children of a node, a blank line between them."""
        out: list[str] = []
        for child in parent.children:
            lines = self.block(child, level)
            if lines:
                out += [*lines, ""]
        return out

    def block(self, node: nodes.Node, level: int) -> list[str]:
        """One node; unknown ones are what they hold."""
        if isinstance(node, _SILENT):
            return []
        for kind, write in self._kinds().items():
            if isinstance(node, kind):
                return write(node, level)
        if isinstance(node, nodes.Element) and not isinstance(node, nodes.TextElement):
            return self.blocks(node, level)
        words = self.words(node)
        return [words] if words else []

    def _kinds(self) -> dict[type, Callable[..., list[str]]]:
        return {
            nodes.section: lambda node, level: self.blocks(node, level + 1),
            nodes.title: self.title,
            nodes.subtitle: self.title,
            nodes.rubric: lambda node, level: [f"**{self.words(node)}**"],
            nodes.paragraph: lambda node, level: [_safe(self.words(node))],
            nodes.literal_block: self.code,
            nodes.doctest_block: self.code,
            nodes.math_block: self.code,
            nodes.bullet_list: self.items,
            nodes.enumerated_list: self.items,
            nodes.definition_list_item: self.definition,
            nodes.option_list_item: self.option,
            nodes.field: self.field,
            nodes.table: self.table,
            nodes.line_block: lambda node, level: [
                self.words(line) + "  " for line in node.findall(nodes.line)
            ],
            nodes.block_quote: lambda node, level: _quoted(self.blocks(node, level)),
            nodes.container: self.box,
            nodes.Admonition: self.box,
            nodes.image: lambda node, level: [],
            nodes.transition: lambda node, level: [],
            nodes.footnote: lambda node, level: [],
        }

    def title(self, node: nodes.Element, level: int) -> list[str]:
        """A heading; inside tabs it says which."""
        words = self.words(node)
        missing = [label for label in self.labels if label.lower() not in words.lower()]
        more = f" ({', '.join(missing)})" if missing else ""
        if not isinstance(node.parent, nodes.section | nodes.document):
            return [f"**{words}**"]
        return [f"{'#' * min(6, max(1, level))} {words}{more}"]

    def code(self, node: nodes.Element, level: int) -> list[str]:
        """A block of code."""
        language = str(node.get("language", "") or "")
        if not language and len(node.get("classes", [])) > 1:
            language = str(node["classes"][1])
        text = node.astext().strip("\n")
        return fenced(text.split("\n"), re.sub(r"[^\w+.-]", "", language)) if text.strip() else []

    def items(self, node: nodes.Element, level: int) -> list[str]:
        """A list."""
        out: list[str] = []
        number = int(node.get("start", 1))
        for item in node.children:
            mark = f"{number}. " if isinstance(node, nodes.enumerated_list) else "- "
            number += 1
            lines = self.blocks(item, level) if isinstance(item, nodes.Element) else []
            out += _hanging(_stripped(lines), mark)
        return out

    def definition(self, node: nodes.Element, level: int) -> list[str]:
        """A term and what it means."""
        terms = [self.words(child) for child in node.children if isinstance(child, nodes.term)]
        body = [child for child in node.children if isinstance(child, nodes.definition)]
        return [f"**{', '.join(terms)}**", "", *(x for b in body for x in self.blocks(b, level))]

    def option(self, node: nodes.Element, level: int) -> list[str]:
        """An option of a program."""
        names = ", ".join(child.astext() for child in node.findall(nodes.option))
        words = " ".join(self.words(child) for child in node.findall(nodes.description))
        return [f"- `{names}`: {words}"]

    def field(self, node: nodes.Element, level: int) -> list[str]:
        """A name with its value."""
        name, *body = [self.words(child) for child in node.children]
        return [f"- {name}: {' '.join(body)}"]

    def table(self, node: nodes.Element, level: int) -> list[str]:
        """A table; cells are prose."""
        rows = [
            [self.words(entry).replace("|", r"\|") for entry in row.children]
            for row in node.findall(nodes.row)
        ]
        if not rows:
            return []
        width = max(len(row) for row in rows)
        rows = [row + [""] * (width - len(row)) for row in rows]
        drawn = [f"| {' | '.join(row)} |" for row in rows]
        return [drawn[0], "|" + " --- |" * width, *drawn[1:]]

    def box(self, node: nodes.Element, level: int) -> list[str]:
        """A note, a tab, or another box with a label."""
        label, tab = str(node.get("label", "")), bool(node.get("tab", False))
        if isinstance(node, nodes.Admonition) and not isinstance(node, nodes.admonition):
            label = node.tagname.capitalize()
        self.labels += [label] if tab else []
        inside = self.blocks(node, level)
        if tab:
            self.labels.pop()
        return [f"**{label.rstrip(':')}:**", "", *inside] if label else inside

    def words(self, node: nodes.Node) -> str:
        """A piece of prose on one line."""
        return " ".join(self._inline(node).split())

    def _inline(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Text):
            return str(node)
        if isinstance(node, nodes.problematic):
            return str(node.astext())
        if isinstance(node, (*_SILENT, nodes.image, nodes.footnote_reference)):
            return ""
        if isinstance(node, nodes.literal | nodes.math | nodes.literal_block):
            return _literal(node.astext())
        inner = "".join(self._inline(child) for child in node.children)
        gap = " " if isinstance(node, nodes.Body) else ""
        if isinstance(node, nodes.reference) and "://" in str(node.get("refuri", "")):
            return inner if inner == node["refuri"] else f"[{inner}]({node['refuri']})"
        mark = {"strong": "**", "emphasis": "*"}.get(getattr(node, "tagname", ""), "")
        return f"{mark}{inner}{mark}{gap}" if inner.strip() else inner + gap


def _literal(text: str) -> str:
    text = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    mark, pad = "`" * (longest + 1), " " if "`" in text else ""
    return f"{mark}{pad}{text}{pad}{mark}" if text else ""


def _safe(line: str) -> str:
    """Prose that would be a heading, a fence or an item at the start of its line is escaped."""
    return re.sub(r"^(?=#{1,6}(?: |$)|[-+*](?: |$)|>|`{3}|~{3}|=+$|-+$)", r"\\", line)


def _stripped(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def _hanging(lines: list[str], mark: str) -> list[str]:
    pad = " " * len(mark)
    return [
        (mark if at == 0 else pad) + line if line or at == 0 else ""
        for at, line in enumerate(lines or [""])
    ]


def _quoted(lines: list[str]) -> list[str]:
    return [f"> {line}".rstrip() for line in _stripped(lines)]
