"""reStructuredText to CommonMark, by docutils; nothing is read or run but included files.

Sphinx's directives and roles are known by what they hold, not by what they do: boxes and tabs are
their content with a label, code is a fence, lists of links to other pages are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles
from docutils.statemachine import StringList
from docutils.utils import Reporter

from opslore.sources.pages_includes import Includes
from opslore.sources.pages_normal import normal
from opslore.sources.pages_rst_writer import Writer
from opslore.sources.read import Unreadable

MAX_CHARACTERS = 4 << 20
"""Longer files are not parsed; docutils needs about a minute for this much."""

_INCLUDE = re.compile(r"(?P<indent>\s*)\.\. include:: (?P<name>\S.*?)\s*$")
_OPTION = re.compile(r"\s+:[\w-]+:")
_DIRECTIVE = re.compile(r"^\s*(?:\.\. )(?:\|[^|\n]+\|\s)?([\w.:+-]+)::", re.MULTILINE)
_ROLE = re.compile(r":([A-Za-z][\w.:+-]*):`|`:([A-Za-z][\w.:+-]*):")
_TARGET = re.compile(r"^~?(?P<text>.*?)\s*<[^<>]+>$", re.DOTALL)
_BROKEN = (AttributeError, AssertionError, IndexError, KeyError, TypeError, ValueError)
"""What docutils lets through for some texts that it should report."""


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HIDDEN = _names(
    "toctree index highlight default-role role contents sectnum meta raw tocdepth currentmodule "
    "module automodule autoclass autofunction autosummary automethod autoattribute graphviz uml "
    "raw-html title header footer target-notes sectionauthor codeauthor tabularcolumns"
)
_CODE = _names(
    "code-block sourcecode code prompt parsed-literal literalinclude highlight-code code-tab "
    "code-example console doctest testcode ipython"
)
_PLAIN = _names(
    "container compound only class tabs tab-set tabset grid rst-class glossary topic-body "
    "ifconfig centered hlist details rubric-body"
)
_TABS = frozenset(("tab", "tab-item", "group-tab"))
_OWN = _names(
    "note warning tip important caution danger hint attention error admonition image figure table "
    "csv-table list-table line-block math topic sidebar epigraph rubric pull-quote"
)
"""docutils' own, which only show what they hold."""


def clean(text: str, includes: Includes) -> str:
    """A reStructuredText page as CommonMark.

    Raises:
        Unreadable: too long, or docutils cannot parse it.
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"{len(text)} characters of reStructuredText; at most {MAX_CHARACTERS}")
    lines = _included(text.split("\n"), includes, (includes.page,))
    source = "\n".join(lines)
    _register(source, includes)
    try:
        tree = publish_doctree(source, settings_overrides=_SETTINGS)
        return normal(Writer(tree).lines())
    except RecursionError as error:
        raise Unreadable("nested too deep") from error
    except _BROKEN as error:
        raise Unreadable(f"docutils cannot parse it ({type(error).__name__})") from error


_SETTINGS: dict[str, Any] = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": Reporter.SEVERE_LEVEL + 1,
    "report_level": Reporter.SEVERE_LEVEL + 1,
    "warning_stream": False,
    "line_length_limit": MAX_CHARACTERS,
    "doctitle_xform": False,
    "docinfo_xform": False,
    "sectsubtitle_xform": False,
    "syntax_highlight": "none",
    "smart_quotes": False,
    "input_encoding": "unicode",
}


def _included(lines: list[str], includes: Includes, stack: Sequence[str]) -> list[str]:
    """The lines with every `.. include::` replaced by what it names."""
    out: list[str] = []
    at = 0
    while at < len(lines):
        found = _INCLUDE.match(lines[at])
        at += 1
        if not found:
            out.append(lines[at - 1])
            continue
        options: dict[str, str] = {}
        while at < len(lines) and _OPTION.match(lines[at]):
            name, _, value = lines[at].strip()[1:].partition(":")
            options[name] = value.strip()
            at += 1
        if found["name"].startswith("<"):  # docutils' own character lists
            continue
        path, inner = includes.lines(found["name"], stack)
        inner = _chosen(inner, options)
        if path and ("literal" in options or "code" in options):
            inner = [f".. code-block:: {options.get('code', '')}", "", *("   " + x for x in inner)]
        elif path:
            inner = _included(inner, includes, (*stack, path))
        out += ["", *(found["indent"] + line if line else line for line in inner), ""]
    return out


def _chosen(lines: list[str], options: dict[str, str]) -> list[str]:
    """The part of a file that `:lines:`, `:start-after:` and the like name."""
    start, end = options.get("start-after", ""), options.get("end-before", "")
    first = next((at + 1 for at, line in enumerate(lines) if start and start in line), 0)
    last = next((at for at in range(first, len(lines)) if end and end in lines[at]), len(lines))
    numbers = re.fullmatch(r"(\d+)-(\d*)", options.get("lines", ""))
    if numbers:
        first, last = max(0, int(numbers[1]) - 1), int(numbers[2] or len(lines))
    if re.fullmatch(r"\d+", options.get("start-line", "")):
        first = int(options["start-line"])
    if re.fullmatch(r"\d+", options.get("end-line", "")):
        last = int(options["end-line"])
    return lines[first:last]


class _Any(Directive):  # type: ignore[misc]  # docutils has no types
    """A directive by its name alone."""

    required_arguments = 0
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = None
    includes: ClassVar[Includes | None] = None

    def run(self) -> list[nodes.Node]:
        name = self.name.split(":")[-1].lower()
        argument, options, lines = self._parts()
        if name in _HIDDEN:
            return []
        if name in _CODE:
            return [self._code(name, argument, options, lines)]
        tab = name in _TABS and bool(argument)
        label = argument if tab else self._label(name, argument)
        box = nodes.container(label=label, tab=tab)
        self.state.nested_parse(StringList(lines, source=""), self.content_offset, box)
        return [box]

    def _parts(self) -> tuple[str, dict[str, str], list[str]]:
        """What stands behind `::`, the options, and the content.

        docutils takes the first paragraph for the argument, whatever is in it.
        """
        block = self.block_text.split("\n")
        behind = re.search(r"::\s*(.*)", block[0])
        argument = " ".join(self.arguments)
        first = behind[1].strip() if behind else ""
        lines = argument.split("\n") if argument else []
        lines = lines[1:] if first and lines else lines
        options: dict[str, str] = {}
        rest = [line.strip() for line in lines] + [*([""] if lines else []), *self.content]
        while rest and (found := re.match(r":([\w-]+):\s*(.*)", rest[0].strip())):
            options[found[1]] = found[2]
            del rest[0]
        return first, options, rest

    def _code(
        self, name: str, argument: str, options: dict[str, str], lines: list[str]
    ) -> nodes.literal_block:
        language = "" if name == "parsed-literal" else argument.split(" ")[0]
        if name == "literalinclude" and self.includes is not None:
            _, lines = self.includes.lines(argument, (self.includes.page,))
            lines = _chosen(lines, options)
            language = options.get("language", "")
        text = "\n".join(lines)
        return nodes.literal_block(text, text, language=language)

    def _label(self, name: str, argument: str) -> str:
        if name in _PLAIN:
            return ""
        return f"{name.replace('-', ' ').capitalize()} {argument}".strip()


def _register(source: str, includes: Includes) -> None:
    """Make every directive and role of a text known."""
    _Any.includes = includes
    for name in set(_DIRECTIVE.findall(source)):
        if name.lower() not in _OWN and name.lower() not in ("replace", "unicode", "date"):
            directives.register_directive(name.lower(), _Any)
    for pair in set(_ROLE.findall(source)):
        name = (pair[0] or pair[1]).lower()
        if name not in _ROLES:
            roles.register_local_role(name, _role)


_ROLES = _names("emphasis strong literal code math sub sup subscript superscript")
_WORDS = _names("ref doc term any numref abbr guilabel menuselection dfn pep rfc")


def _role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any,
    options: Any = None, content: Any = None,
) -> tuple[list[nodes.Node], list[nodes.Node]]:  # fmt: skip
    """`:ref:`words <target>`` is words; every other role names something, as code does."""
    found = _TARGET.match(text)
    words = (found["text"] if found else text).lstrip("~!")
    if found or name.split(":")[-1] in _WORDS:
        return [nodes.inline(rawtext, words)], []
    return [nodes.literal(rawtext, words)], []
