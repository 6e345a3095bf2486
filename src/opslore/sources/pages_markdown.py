"""Markdown as sites write it (MDX, Hugo, MkDocs, Docusaurus) to clean CommonMark.

Front matter, comments and imports go; includes are put in; a tab becomes a label in bold, and the
headings inside it carry the label too, so that each section says which tab it belongs to.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from opslore.sources import pages_tags
from opslore.sources.markdown import front_matter
from opslore.sources.pages_fences import Fences, fenced
from opslore.sources.pages_includes import Includes, part
from opslore.sources.pages_lines import Rows, bold, closing, dedented, indent
from opslore.sources.pages_normal import normal

DEEPEST = 12
"""How many tabs and boxes may stand in each other."""

_INDENTED = re.compile(
    r"(?P<indent>\s*)(?P<mark>===[!+]?|!!!\+?|\?\?\?\+?)\s+"
    r"(?:(?P<type>[\w -]+?)\s*)?(?:\"(?P<title>[^\"]*)\")?\s*$"
)
_COLONS = re.compile(
    r"\s*:{3,}\s*\{?(?P<type>[a-z]+)?\}?\s*(?:\[(?P<title>[^\]]*)\]|(?P<more>[^{\[]*))(?:\{.*\})?"
)
_SNIPPET = re.compile(r"(?P<indent>\s*)-{1,}8<-{1,}\s+[\"'](?P<name>[^\"']+)[\"']\s*$")
_BLOCK = re.compile(r"^\s*-{1,}8<-{1,}\s*$")
_INCLUDE = re.compile(
    r"(?P<indent>\s*)(?:"
    r"\{\{[<%]\s*(?:include|readfile|md-include|include-markdown|snippet)\b(?P<hugo>.*?)[%>]\}\}"
    r"|\{%-?\s*(?:include|include-markdown|include_relative)\s+(?P<jinja>.*?)-?%\})\s*$"
)
_NAME = re.compile(r"(?:(?:file|src|path)\s*=\s*)?[\"']?([^\"'\s]+)")
_IMPORT = re.compile(r"import\s+(?:(?P<name>\w+)|[\w{},*\s]+)\s+from\s+[\"'](?P<file>[^\"']+)[\"']")
_EXPORT = re.compile(r"(?:import\s+[\"'{*]|export\s+(?:const|let|default|function)\s)")
_TAGS = re.compile(
    r"\s*(?:</?(?:Tabs|TabGroup|CodeGroup|CodeBlock|Admonition|Details)\b[^<>]*>"
    r"|\{\{[<%][^{}]*[%>]\}\}|\{%[^{}%]*%\}|(?P<component></?[A-Z][a-z]\w*(?:\s[^<>]*)?/?>))\s*$"
)
_SUMMARY = re.compile(r"\s*(?:<details[^>]*>\s*)?<summary[^>]*>(.*?)</summary>\s*$")
_HTML = re.compile(
    r"\s*(?:</?(?:details|div|p|br|center|section|span|a|img|picture|source|hr|su[bp])\b"
    r"[^<>]*>\s*)+$"
)
_CODE = re.compile(
    r"\s*(?:\{\{[<%]\s*highlight\s+|\{%-?\s*highlight\s+)[\"']?(?P<language>[\w+-]+)"
)
_CODE_END = re.compile(r"(?:\{\{[<%]\s*/\s*highlight|\{%-?\s*endhighlight)")
_PRE = re.compile(r"\s*<pre\b[^<>]*>\s*(?:<code\b(?P<attributes>[^<>]*)>)?", re.IGNORECASE)
_PRE_END = re.compile("</pre>", re.IGNORECASE)
_HEADING = re.compile(r"(?P<open>\s{0,3}#{1,6}\s+)(?P<title>.*?)(?P<close>\s+#+)?\s*$")
_ANCHOR = re.compile(r"\s*\{\s*#[^{}]*\}\s*$")
_REFERENCE = re.compile(r"\{\{[<%]\s*(?:rel)?ref\s+[\"']?([^\"'\s]+)[\"']?\s*[%>]\}\}")


@dataclass(frozen=True)
class _Place:
    """Where a run of lines stands."""

    stack: tuple[str, ...]
    """The page, and the files that include each other down to these lines."""
    labels: tuple[str, ...] = ()
    """Labels of the tabs around them."""
    depth: int = 0


def clean(text: str, includes: Includes, mdx: bool = False) -> str:
    """A page's text, without its front matter, as CommonMark; never raises on any text."""
    cleaner = _Cleaner(includes, mdx)
    lines = cleaner.run(pages_tags.prepared(text.split("\n")), _Place((includes.page,)))
    return normal(lines)


@dataclass
class _Cleaner:
    includes: Includes
    mdx: bool
    partials: dict[str, str] = field(default_factory=dict)
    """Name of an imported component -> the file it stands for."""

    def run(self, lines: list[str], place: _Place) -> list[str]:
        """The lines with everything that is no CommonMark resolved."""
        out: list[str] = []
        lines = Rows(lines)
        fences = Fences()
        at = 0
        while at < len(lines):
            line = lines[at]
            if fences.inside(line):
                found = _SNIPPET.match(line) if fences.mark else None
                out += self.snippet(found["name"], found["indent"], place) if found else [line]
                at += 1
                continue
            for step in _STEPS:
                end = step(self, lines, at, place, out)
                if end > at:
                    break
            else:
                out.append(_words(line, place))
                end = at + 1
            at = end
        return out

    def inner(self, lines: list[str], place: _Place, label: str = "") -> list[str]:
        """What stands in a tab or a box, its own indent taken off."""
        if place.depth >= DEEPEST:
            return lines
        labels = (*place.labels, label) if label else place.labels
        return self.run(dedented(lines), replace(place, labels=labels, depth=place.depth + 1))

    def snippet(self, name: str, indent: str, place: _Place) -> list[str]:
        """The lines of an included file as they are, for code."""
        path, section = name.strip(), ""
        if found := re.match(r"(.+?\.\w+):([\w:-]+)$", path):
            path, section = found[1], found[2]
        _, lines = self.includes.lines(path, place.stack)
        lines = part(lines, section) if section else lines
        while lines and not lines[-1].strip():
            lines = lines[:-1]
        return [indent + line if line else line for line in lines]

    def page(self, name: str, place: _Place) -> list[str]:
        """The lines of an included page, resolved themselves."""
        path, section = name.strip(), ""
        if found := re.match(r"(.+?\.\w+):([\w:-]+)$", path):
            path, section = found[1], found[2]
        path, lines = self.includes.lines(path, place.stack)
        if not path:
            return []
        _, body = front_matter("\n".join(lines))
        lines = part(body.split("\n"), section) if section else body.split("\n")
        below = replace(place, stack=(*place.stack, path), depth=0)
        return ["", *self.run(pages_tags.prepared(lines), below), ""]


def _include(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`--8<-- "file"`, `{{< include "file" >}}`, `{% include "file" %}`, an imported page."""
    line = lines[at]
    names: list[str] = []
    end = at + 1
    component = re.fullmatch(r"\s*<(\w+)\b[^<>]*/>\s*", line) if self.partials else None
    if found := _SNIPPET.match(line):
        names = [found["name"]]
    elif found := _INCLUDE.match(line):
        said = _NAME.match((found["hugo"] or found["jinja"] or "").strip())
        names = [said[1]] if said else []
    elif component and component[1] in self.partials:
        names = [self.partials[component[1]]]
    elif _BLOCK.match(line):
        close = closing(lines, end, _BLOCK)
        names = [name.strip() for name in lines[end : max(close, end)] if name.strip()]
        end = close + 1
    for name in names:
        out += self.page(name, place)
    return end if names else at


def _import(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`import X from "./x.mdx"`, `export const ...`: code of the page, not text."""
    line = lines[at]
    found = _IMPORT.match(line)
    if found and (self.mdx or found["file"][0] in "@./!"):
        if found["name"] and found["file"].endswith((".md", ".mdx")):
            self.partials[found["name"]] = found["file"]
        return at + 1
    if not (self.mdx and _EXPORT.match(line)):
        return at
    if line.rstrip().endswith(";"):
        return at + 1
    return next((n for n in range(at, len(lines)) if not lines[n].strip()), at + 1)


def _indented(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`=== "Tab"` and `!!! note`, whose text stands four columns deeper."""
    found = _INDENTED.match(lines[at]) if len(lines[at]) < 500 else None
    tab = bool(found and found["mark"][0] == "=")
    if not found or not (found["title"] or (found["type"] and not tab)):
        return at
    deep = len(found["indent"].expandtabs(4)) + 4
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or indent(lines[end]) >= deep):
        end += 1
    if not any(line.strip() for line in lines[at + 1 : end]):
        return at
    label = found["title"] or str(found["type"]).split()[0].capitalize()
    inside = self.inner(lines[at + 1 : end], place, label if tab else "")
    # Boxes stand in lists too: what is inside stays part of the item.
    out += ["", *(found["indent"] + row if row else row for row in [bold(label), "", *inside]), ""]
    return end


def _tab(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`<TabItem label="Tab">`, `{{< tab "Tab" >}}`, `{% tab title="Tab" %}` up to its end."""
    tab = pages_tags.opened(lines[at])
    if tab is None or place.depth >= DEEPEST:
        return at
    fences, depth, end = Fences(), 1, at + 1
    while end < len(lines):
        if not fences.inside(lines[end]):
            depth += (pages_tags.opened(lines[end]) is not None) - pages_tags.closes(lines[end])
            if not depth:
                break
        end += 1
    inside = lines[at + 1 : end]
    has_fence = any(line.lstrip().startswith(("```", "~~~")) for line in inside)
    if tab.language and not has_fence:
        inside = fenced(dedented(inside), tab.language)
    out += ["", bold(tab.label), ""] if tab.label else [""]
    out += [*self.inner(inside, place, tab.label), ""]
    return end + 1


def _box(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`:::note[Title]` and its end `:::`."""
    found = _COLONS.fullmatch(lines[at].rstrip()) if ":::" in lines[at] else None
    if not found:
        return at
    label = (found["title"] or found["more"] or "").strip() or (found["type"] or "").capitalize()
    out += ["", bold(label), ""] if label else [""]
    return at + 1


def _code(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """`{{< highlight bash >}}` and `<pre>` as fences."""
    shortcode = _CODE.match(lines[at])
    pre = None if shortcode else _PRE.match(lines[at])
    if not (shortcode or pre):
        return at
    stop = _CODE_END if shortcode else _PRE_END
    end = closing(lines, at, stop)
    if end < 0:
        return at
    if shortcode:
        out += ["", *fenced(lines[at + 1 : end], shortcode["language"].lower()), ""]
        return end + 1
    assert pre is not None
    text = "\n".join(lines[at : end + 1])[pre.end() :]
    text, _, rest = re.split("(</pre>)", text, maxsplit=1, flags=re.IGNORECASE)
    text = html.unescape(re.sub(r"</?[a-zA-Z][^<>]*>", "", text)).strip("\n")
    language = re.search(r"language-([\w+-]+)", pre["attributes"] or "")
    out += ["", *fenced(text.split("\n"), language[1] if language else ""), "", rest]
    return end + 1


def _tag(self: _Cleaner, lines: list[str], at: int, place: _Place, out: list[str]) -> int:
    """Tags alone on their line; the words of a `<summary>` stay."""
    line = lines[at]
    if len(line) > pages_tags.LONGEST_LINE or not line.lstrip().startswith(("<", "{")):
        return at
    if found := _SUMMARY.match(line):
        words = re.sub(r"<[^<>]*>", "", found[1]).strip()
        out += ["", bold(words), ""] if words else [""]
        return at + 1
    if pages_tags.closes(line) or _HTML.match(line):
        out.append("")
        return at + 1
    found = _TAGS.match(line)
    if not found or (found["component"] and not self.mdx):
        return at
    out.append("")
    return at + 1


_Step = Callable[[_Cleaner, list[str], int, _Place, list[str]], int]
_STEPS: tuple[_Step, ...] = (_include, _import, _indented, _tab, _box, _code, _tag)
"""Each returns the line to go on at, or the same line when it had nothing to do there."""


def _words(line: str, place: _Place) -> str:
    """A line of prose; a heading inside tabs says which."""
    if len(line) > pages_tags.LONGEST_LINE:
        return line
    line = _REFERENCE.sub(r"\1", line)
    found = _HEADING.match(line)
    if not found:
        return line
    title = _ANCHOR.sub("", found["title"])
    missing = [label for label in place.labels if label.lower() not in title.lower()]
    more = f" ({', '.join(missing)})" if missing and title else ""
    return f"{found['open'].strip()} {title}{more}"
