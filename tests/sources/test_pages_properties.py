"""No text and no bytes break a reader, and what it gives is read the same by everybody."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from opslore.errors import SourceError
from opslore.sources import (
    pages_deepwiki,
    pages_html,
    pages_mediawiki,
    pages_parse,
    pages_robots,
    pages_sitemap,
)
from opslore.sources.pages_fences import Fences
from opslore.sources.pages_includes import Includes
from opslore.sources.pages_markdown import clean

LINES = st.sampled_from(
    [
        "# A", "## B {#x}", "text", "", "```", "```sh", "~~~", "  ```", "> ```", "- ```", "    # c",
        "===", "---", '=== "Tab"', "    in", "!!! note", "<Tabs>", "<TabItem value='x'>",
        "</TabItem>", "</Tabs>", "<TabItem", "label='y'>", "<!--", "-->", "{/*", "*/}", ":::note",
        ":::", '{{< tab "x" >}}', "{{< /tab >}}", "{{< highlight sh >}}", "{{< /highlight >}}",
        "<pre>", "</pre>", "<details><summary>s</summary>", '--8<-- "f.md"', "--8<--", "f.md",
        "{% tab title='z' %}", "{% endtab %}", '{% include "f.md" %}', "import X from './f.md'",
        "<X />", "export const a = 1", "- item", "1. item", "| a | b |", "|---|---|", "\t# tab",
        ".. code-block:: sh", "   # x", ".. tabs::", "   .. tab:: A", "::", "Title", "=====",
        ".. include:: f.md", ".. |x| replace:: y", "|x|_", ":ref:`a <b>`", "``x``", "`x`_", "__ x",
        ".. _x: y", "+--+", "|a |", "{|", "|}", "|-", "! a", "'''b", "== H ==", "{{x|{{y}}}}",
        "<syntaxhighlight lang='sh'>", "</syntaxhighlight>", "* a", "[[a|b]]", "# Page: A",
        "---\ntitle: x\n---", "+++\nx = 1\n+++",
    ]
)  # fmt: skip
TEXTS = st.lists(LINES | st.text(max_size=30), max_size=40).map("\n".join)
FILES = {"f.md": b'```\n--8<-- "f.md"\n', "docs/g.md": b"g"}
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(TEXTS, st.sampled_from([".md", ".mdx", ".rst", ".mediawiki"]))
def test_no_text_breaks_a_reader(text: str, suffix: str) -> None:
    found = pages_parse.page(f"docs/p{suffix}", text.encode("utf-8", "surrogatepass"), FILES.get)
    lines = text.count("\n") + text.count("\r") + 1
    assert 1 <= found.first <= found.last <= lines
    assert found.reason or found.text.endswith("\n")
    assert found.reason or found.title


@MANY
@given(st.binary(max_size=300), st.sampled_from([".md", ".mdx", ".rst", ".mediawiki"]))
def test_no_bytes_break_a_reader(data: bytes, suffix: str) -> None:
    pages_parse.page(f"docs/p{suffix}", data, FILES.get)


@MANY
@given(TEXTS)
def test_a_line_by_line_reader_sees_the_headings_of_a_parser(text: str) -> None:
    """Whoever splits a page at lines that begin with # outside fences never splits code."""
    found = clean(text, Includes(FILES.get, "docs/p.md"), True)
    code: set[int] = set()
    for token in MarkdownIt("commonmark").enable("table").parse(found):
        if token.type in ("fence", "code_block") and token.map:
            code.update(range(*token.map))
    fences = Fences()
    for at, line in enumerate(found.split("\n")):
        inside = fences.inside(line)
        if line.startswith("# ") and not inside:
            assert at not in code, (at, found)


@MANY
@given(
    st.binary(max_size=400) | TEXTS.map(str.encode) | TEXTS.map(lambda t: f"<p>{t}</p>".encode())
)
def test_no_html_breaks_the_reader(data: bytes) -> None:
    pages_html.extract(data, "https://example.com/")


@MANY
@given(TEXTS, TEXTS)
def test_no_wiki_answer_breaks_the_reader(structure: str, contents: str) -> None:
    known = {title for _, title in pages_deepwiki.titles(structure)}
    for title, text in pages_deepwiki.parts(contents, known):
        pages_deepwiki.page(title, text)
    pages_mediawiki.clean(contents)


@MANY
@given(st.text(max_size=200), st.text(max_size=50))
def test_no_robots_breaks_the_reader(text: str, path: str) -> None:
    pages_robots.parse("User-agent: *\n" + text).allows(path)


@MANY
@given(st.binary(max_size=200))
def test_no_sitemap_breaks_the_reader(data: bytes) -> None:
    with contextlib.suppress(SourceError):
        pages_sitemap.read("https://example.com/sitemap.xml", b"<urlset>" + data + b"</urlset>")


@pytest.mark.parametrize(
    "text",
    [
        "<TabItem>\n" * 20_000,
        "<!-- " * 20_000,
        "`" * 50_000,
        "{{< tab " * 10_000,
        '=== "a"\n    ' * 5_000,
        "".join(" " * (4 * n) + '=== "a"\n' for n in range(200)),
        "[" * 20_000,
        "- " * 5_000,
        "<pre>\n" * 20_000,
        "{{< highlight x >}}\n" * 20_000,
        "--8<--\n" * 20_001,
    ],
    ids=lambda text: text[:8].strip(),
)
def test_no_text_takes_long(text: str) -> None:
    start = time.monotonic()
    pages_parse.page("p.mdx", text.encode(), FILES.get)
    pages_parse.page("p.wiki", text.encode(), FILES.get)
    assert time.monotonic() - start < 10
