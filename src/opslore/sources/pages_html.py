"""An HTML page to clean Markdown: trafilatura finds the text, code is kept to the letter.

Code is taken out before and put back after, since extractors join its lines and lose its language.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from opslore.sources.pages_fences import fenced
from opslore.sources.pages_normal import normal
from opslore.sources.pages_parse import title_of

FEWEST_WORDS = 30
"""A page with fewer words and with scripts is one that scripts make."""

_TOKEN = "opslorecode{}endofcode"
_FOUND = re.compile(r"opslorecode(\d+)endofcode")
_LANGUAGE = re.compile(r"(?:language|lang|highlight|brush:?)-?\s?([\w+#-]+)")
_NO_LANGUAGE = frozenset(
    ("highlight", "default", "none", "text", "plaintext", "fallback", "js-file")
)
_GUTTER = (
    ".//*[contains(concat(' ', @class, ' '), ' linenos ') or contains(@class, 'lineno')"
    " or contains(@class, 'gutter') or contains(@class, 'line-numbers-rows')]|.//button"
)


_ANCHORS = "//*[self::h1 or self::h2 or self::h3 or self::h4 or self::h5 or self::h6]//a"


@dataclass(frozen=True)
class Extract:
    """What an HTML page holds."""

    kind: Literal["page", "login", "scripts", "empty"]
    title: str = ""
    text: str = ""


def extract(data: bytes | str, url: str) -> Extract:
    """Read a page; never raises on any bytes.

    Args:
        data: the page as it was sent.
        url: where it is, for its links.
    """
    tree = _tree(data)
    if tree is None:
        return Extract("empty")
    title = " ".join((tree.findtext(".//title") or "").split())
    if tree.xpath("//input[translate(@type, 'PASWORD', 'pasword') = 'password']"):
        return Extract("login", title)
    scripts = bool(tree.xpath("//script"))
    _label_tabs(tree)
    for node in [*tree.iter("button"), *tree.xpath(_ANCHORS)]:
        if node.getparent() is not None and (node.tag == "button" or not _said(node)):
            node.drop_tree()
    codes = _take_code(tree)
    _escape(tree)
    text = normal(_put_code(_text(tree, url), codes).split("\n"))
    words = len(text.split())
    if words < FEWEST_WORDS and scripts and not codes:
        return Extract("scripts", title, text)
    if not words:
        return Extract("empty", title)
    cut = re.split(r"\s+[|\u2013\u2014\u00b7]\s+|\s+-\s+", title)[0]
    return Extract("page", title_of(text) or cut, text)


def _tree(data: bytes | str) -> Any:
    from lxml import etree, html

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = html.HTMLParser(remove_comments=True, huge_tree=False)
            raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
            if isinstance(data, str) or _is_utf8(raw):
                parser = html.HTMLParser(remove_comments=True, encoding="utf-8")
            return html.document_fromstring(raw, parser=parser)
    except (etree.LxmlError, ValueError, AssertionError, UnicodeError):
        return None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _said(link: Any) -> str:
    """The words of a link; none when it only marks a heading."""
    return str(link.text_content()).strip(" \t\n\u200b\ufeff#\u00b6\u00a7\U0001f517")


def _label_tabs(tree: Any) -> None:
    """Write the name of each tab above what it shows."""
    from lxml import etree

    for row in tree.xpath("//*[@role='tablist']"):
        around = row.getparent()
        tabs = row.xpath(".//*[@role='tab']")
        panels = around.xpath(".//*[@role='tabpanel']") if around is not None else []
        if not tabs or len(tabs) != len(panels):
            continue
        for tab, panel in zip(tabs, panels, strict=True):
            label = etree.Element("p")
            etree.SubElement(label, "strong").text = f"{' '.join(tab.text_content().split())}:"
            label.tail, panel.text = panel.text, None
            panel.insert(0, label)
            panel.attrib.pop("hidden", None)
        row.drop_tree()


def _take_code(tree: Any) -> list[list[str]]:
    """Put a word in the place of every block of code; the blocks as fences."""
    codes: list[list[str]] = []
    for pre in list(tree.iter("pre")):
        if any(above.tag == "pre" for above in pre.iterancestors()):
            continue
        for gutter in pre.xpath(_GUTTER):
            gutter.drop_tree()
        for line_break in pre.iter("br"):
            line_break.tail = "\n" + (line_break.tail or "")
        text = pre.text_content().replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        token = _TOKEN.format(len(codes))
        codes.append(fenced([line.rstrip() for line in text.split("\n")], _language(pre)))
        tail = pre.tail
        pre.clear()
        pre.tag, pre.text, pre.tail = "p", token, tail
    return codes


def _language(pre: Any) -> str:
    around = [pre, *pre.iter("code"), *list(pre.iterancestors())[:3]]
    for node in around:
        said = node.get("data-lang") or node.get("data-language") or ""
        names = [said] if said else [hit[1] for hit in _LANGUAGE.finditer(node.get("class") or "")]
        for name in names:
            if name.lower() not in _NO_LANGUAGE:
                return name.lower()
    return ""


def _escape(tree: Any) -> None:
    """Words that look like a heading or a fence at the start of an element are not one."""
    for node in tree.iter("p", "li", "td", "div", "dd", "blockquote"):
        start = (node.text or "").lstrip()
        if re.match(r"#{1,6}(?:\s|$)|`{3}|~{3}", start):
            node.text = "\\" + start


def _text(tree: Any, url: str) -> str:
    """The page's text as Markdown.

    trafilatura gives up the structure of pages it finds short, and documentation has many of them:
    its fallbacks are used only when there is nothing else.
    """
    from trafilatura.settings import use_config

    config = use_config()
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", "1")
    config.set("DEFAULT", "MIN_OUTPUT_SIZE", "1")
    return _extracted(tree, url, config, True) or _extracted(tree, url, config, False)


def _extracted(tree: Any, url: str, config: Any, fast: bool) -> str:
    import trafilatura

    try:
        found = trafilatura.extract(
            tree,
            url=url,
            fast=fast,
            config=config,
            output_format="markdown",
            include_links=True,
            include_tables=True,
            include_formatting=True,
            include_comments=False,
            favor_recall=True,
        )
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
        return ""  # trafilatura's own faults with broken pages
    return found or ""


def _put_code(text: str, codes: list[list[str]]) -> str:
    out: list[str] = []
    for line in text.split("\n"):
        rest = line
        pad = " " * (2 if re.match(r"\s*(?:[-*+]|\d+\.)\s", line) else 0)
        while found := _FOUND.search(rest):
            before = rest[: found.start()].rstrip()
            number = int(found[1])
            out += [before] if before.strip(" -*+|") else [""]
            block = codes[number] if number < len(codes) else []
            out += ["", *(pad + row if row else row for row in block), ""]
            rest = pad + rest[found.end() :].strip()
        out += [rest] if rest.strip() or rest == line else []
    return "\n".join(out)
