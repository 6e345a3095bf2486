"""Markdown as sites write it, to CommonMark: tabs, includes, components, and code as it is."""

from __future__ import annotations

import pytest

from opslore.sources import pages_front, pages_noise
from opslore.sources.markdown import parse
from opslore.sources.pages_choice import left_out
from opslore.sources.pages_includes import MAX_BYTES, Includes
from opslore.sources.pages_markdown import clean
from opslore.sources.pages_parse import Page, name_of, page

FILES = {
    "docs/_part.mdx": b"---\ntitle: Part\n---\nA partial.\n\n## Its heading\n",
    "snippets/values.yaml": b"# --8<-- [start:one]\na: 1\n# --8<-- [end:one]\nb: 2\n",
    "loop.md": b'Round.\n\n--8<-- "loop.md"\n',
    "one.md": b'{% include "two.md" %}\n',
    "two.md": b'Two.\n{% include "one.md" %}\n',
    "big.md": b"x" * (MAX_BYTES // 2),
}


def cleaned(text: str, path: str = "docs/page.md") -> str:
    return clean(text, Includes(FILES.get, path), path.endswith(".mdx"))


def read(text: str | bytes, path: str = "docs/page.md") -> Page:
    return page(path, text.encode() if isinstance(text, str) else text, FILES.get)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Title\n=====\n\nSub\n---\n", "# Title\n\n## Sub\n"),
        ("# A {#anchor}\n", "# A\n"),
        ("a\n\n    # code\n    b\n\nc\n", "a\n\n```\n# code\nb\n```\n\nc\n"),
        ("```sh\n# open\n", "```sh\n# open\n```\n"),
        ("- x\n  ```sh\n  # in a list\n- y\n", "- x\n  ```sh\n  # in a list\n  ```\n- y\n"),
        ("~~~\n```\n# x\n~~~\n", "~~~\n```\n# x\n~~~\n"),
        ("a <!-- b\n# c\n--> d\n", "a\n\n d\n"),
        ("`<!-- a -->` <!-- b\n", "`<!-- a -->` <!-- b\n"),
        ("```\n<!-- code -->\n```\n", "```\n<!-- code -->\n```\n"),
        ("a\n\n\n\n\nb\n\n\n", "a\n\nb\n"),
        ("> [!NOTE]\n> Mind.\n", "> [!NOTE]\n> Mind.\n"),
        ("Use `<POD>` in\n\n<POD>\n\nhere.\n", "Use `<POD>` in\n\n<POD>\n\nhere.\n"),
    ],
)
def test_commonmark_in_one_spelling(text: str, wanted: str) -> None:
    assert cleaned(text) == wanted
    assert cleaned(wanted) == wanted


TABS = [
    '=== "Linux"\n\n    ### Get it\n\n    ```sh\n    # comment\n    apt\n    ```\n\n'
    '=== "Mac"\n\n    brew\n',
    '<Tabs>\n<TabItem value="l" label="Linux">\n\n### Get it\n\n```sh\n# comment\napt\n```\n\n'
    '</TabItem><TabItem value="Mac">brew</TabItem></Tabs>\n',
    '<Tabs>\n  <TabItem\n    value="l"\n    label="Linux">\n\n    ### Get it\n\n    ```sh\n'
    '    # comment\n    apt\n    ```\n\n  </TabItem>\n  <TabItem value="Mac">\n    brew\n'
    "  </TabItem>\n</Tabs>\n",
    '{{< tabs >}}\n{{% tab name="Linux" %}}\n### Get it\n\n```sh\n# comment\napt\n```\n'
    '{{% /tab %}}\n{{< tab "Mac" >}}\nbrew\n{{< /tab >}}\n{{< /tabs >}}\n',
    '{% tabs %}\n{% tab title="Linux" %}\n### Get it\n\n```sh\n# comment\napt\n```\n{% endtab %}\n'
    '{% tab title="Mac" %}\nbrew\n{% endtab %}\n{% endtabs %}\n',
]


@pytest.mark.parametrize("text", TABS)
def test_tabs_are_labelled_sections(text: str) -> None:
    assert cleaned(text, "docs/page.mdx") == (
        "**Linux:**\n\n### Get it (Linux)\n\n```sh\n# comment\napt\n```\n\n**Mac:**\n\nbrew\n"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('!!! warning "Mind"\n    Not so.\n', "**Mind:**\n\nNot so.\n"),
        ("??? tip\n    So.\n\nafter\n", "**Tip:**\n\nSo.\n\nafter\n"),
        (":::note[Title]\nin\n:::\n", "**Title:**\n\nin\n"),
        ("::: tip\nin\n:::\n", "**Tip:**\n\nin\n"),
        ("{{< note >}}\nin\n{{< /note >}}\n", "in\n"),
        ("{{< highlight bash >}}\n# x\n{{< /highlight >}}\n", "```bash\n# x\n```\n"),
        ('{{< tab header="A" lang="sh" >}}\n# x\n{{< /tab >}}\n', "**A:**\n\n```sh\n# x\n```\n"),
        ("<pre><code class='language-go'>a &lt; b\n# c\n</code></pre>\n",
         "```go\na < b\n# c\n```\n"),
        ("<details>\n<summary>More <b>of it</b></summary>\n\nin\n\n</details>\n",
         "**More of it:**\n\nin\n"),
        ('See [a]({{< ref "/b.md" >}}).\n', "See [a](/b.md).\n"),
        ("!!! not a box\nprose\n", "!!! not a box\nprose\n"),
        ("Wow !!!\n===\n", "# Wow !!!\n"),
    ],
)  # fmt: skip
def test_boxes_and_shortcodes(text: str, wanted: str) -> None:
    assert cleaned(text) == wanted


def test_mdx() -> None:
    text = (
        "import Part from './_part.mdx';\nimport {A} from 'b';\nexport const x = {\n  y: 1,\n};\n\n"
        "{/* a comment */}\n<Card>\n\nText.\n\n</Card>\n\n<Part />\n"
    )
    assert cleaned(text, "docs/page.mdx") == "Text.\n\nA partial.\n\n## Its heading\n"


def test_includes() -> None:
    found = read(
        '```yaml\n--8<-- "values.yaml:one"\n```\n\n{{< include "_part.mdx" >}}\n\n'
        '--8<-- "../../etc/passwd"\n\n{% include "nowhere.md" %}\n'
    )
    assert found.text == "```yaml\na: 1\n```\n\nA partial.\n\n## Its heading\n"
    assert [row.reason for row in found.notes] == [
        "include: outside the documentation",
        "include: no such file",
    ]
    assert found.uses["docs/_part.mdx"]
    assert found.uses["docs/nowhere.md"] == ""


def test_includes_that_never_end() -> None:
    assert read('--8<-- "loop.md"\n').text == "Round.\n"
    assert read('{% include "one.md" %}\n').text == "Two.\n"
    found = read('--8<-- "big.md"\n' * 50)
    assert len(found.text) <= MAX_BYTES + 10
    assert "bytes" in found.notes[-1].reason


def test_front_matter() -> None:
    found = read(
        "---\ntitle: 'Install: the CLI'\nversion: 1.10\nlastmod: 2026-01-02\ntags: [a]\n---\n\n"
        "# Other\n\nText.\n"
    )
    assert (found.title, found.version, found.updated) == ("Install: the CLI", "1.10", "2026-01-02")
    assert (found.first, found.last, found.text) == (8, 10, "# Other\n\nText.\n")
    assert read('+++\ntitle = "T"\ndraft = true\n+++\nx\n').reason == "a draft"
    assert read("---\ntitle: a: b\ndraft: yes\n---\nx\n").reason == "a draft"
    assert pages_front.split("---\nnot front matter\n\n---\n")[0] == {}
    assert read("x\n", "docs/v1.28/a.md").version == "v1.28"
    bomb = "---\na: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\ntitle: T\n---\nx\n"
    assert read(bomb).title == "T"


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("getting-started.md", "Getting started"),
        ("tasks/_index.md", "Tasks"),
        ("README.md", "README"),
    ],
)
def test_a_title_from_the_name(path: str, title: str) -> None:
    assert name_of(path) == title


@pytest.mark.parametrize(
    ("raw", "text", "reason"),
    [
        (b"\xef\xbb\xbf# A\r\n\r\nb\r\n", "# A\n\nb\n", ""),
        ("# A\n\nb\n".encode("utf-16"), "# A\n\nb\n", ""),
        ("# Caf\xe9\n\nb\n".encode("latin-1"), "# Caf\xe9\n\nb\n", ""),
        (b"\0\1", "", "binary: NUL bytes (or UTF-16 without a byte order mark)"),
        (b"  \n", "", "empty"),
        (b"<!-- nothing -->\n", "", "nothing in it but front matter, comments or imports"),
        (b"version https://git-lfs.github.com/spec/v1\noid\n", "",
         "a Git LFS pointer, the file itself is elsewhere"),
    ],
)  # fmt: skip
def test_bytes(raw: bytes, text: str, reason: str) -> None:
    found = read(raw)
    assert (found.text, found.reason) == (text, reason)


def test_what_teaches_nothing() -> None:
    names = "# Adopters\n\n" + "".join(f"- [Firm {n}](https://f{n}.example)\n" for n in range(9))
    why = pages_noise.why_not
    assert why("ADOPTERS.md", "Adopters", names) == "a list of names or links"
    assert why("LICENSE.md", "x", "text") == "the text of a licence"
    assert why("a.md", "x", "Permission is hereby granted, free of charge, to") == (
        "the text of a licence"
    )
    assert why("CODE_OF_CONDUCT.md", "x", "text") == "a code of conduct"
    assert why("_Sidebar.md", "x", "text") == "navigation"
    steps = "# Steps\n\n" + "".join(
        f"- Run the installer again on the node with number {n} and wait for it\n" for n in range(9)
    )
    assert why("steps.md", "Steps", steps) == ""
    assert why("flags.md", "Flags", "- a\n- b\n- c\n- d\n- e\n\n```\nx\n```\n") == ""
    assert pages_noise.nature("x/CHANGELOG.md") == pages_noise.nature("CHANGES.md") == "changelog"
    assert pages_noise.nature("changing.md") == ""


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.md", "a/b.md", "a/b.rst"),
        ("docs/**", "docs/a/b.md", "x/docs/a.md"),
        ("docs/*.md", "docs/a.md", "docs/a/b.md"),
        ("**/old/*", "a/b/old/c.md", "a/old.md"),
        ("docs", "docs/a.md", "docsy/a.md"),
        ("/2/*/", "https://linkerd.io/2/tasks/x", "https://linkerd.io/1/tasks/x"),
    ],
)
def test_globs(pattern: str, yes: str, no: str) -> None:
    assert left_out(yes, [pattern], []) == ""
    assert left_out(no, [pattern], []) == "not in collect.include"
    assert left_out(yes, [], [pattern]) == f"in collect.exclude: {pattern}"


def test_headings_are_those_of_a_parser() -> None:
    text = cleaned("# A\n\n```sh\n# b\n```\n\n    # c\n\n- # d\n\n<pre>\n# e\n</pre>\n\nF\n---\n")
    headings = [block.raw for block in parse(text).blocks if block.kind == "heading"]
    assert headings == ["A", "F"]
