"""reStructuredText and MediaWiki text to CommonMark."""

from __future__ import annotations

import pytest

from opslore.sources import pages_mediawiki, pages_rst
from opslore.sources.pages_includes import Includes
from opslore.sources.pages_parse import page

FILES = {
    "docs/part.txt": b"Included *text*.\n\n.. include:: part.txt\n",
    "docs/a.py": b"# hi\nimport os\nprint(1)\n",
}


def rst(text: str) -> str:
    return pages_rst.clean(text, Includes(FILES.get, "docs/page.rst"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("=====\nTitle\n=====\n\nA\n-\n\nb\n", "# Title\n\n## A\n\nb\n"),
        (".. code-block:: bash\n   :linenos:\n\n   # no heading\n   ls\n",
         "```bash\n# no heading\nls\n```\n"),
        ("Run::\n\n   # no heading\n   ls\n", "Run:\n\n```\n# no heading\nls\n```\n"),
        (".. note:: Mind.\n\n   More.\n", "**Note:**\n\nMind.\n\nMore.\n"),
        (".. versionadded:: 2.1\n   The flag.\n", "**Versionadded 2.1:**\n\nThe flag.\n"),
        (".. seealso::\n   That.\n", "**Seealso:**\n\nThat.\n"),
        (".. toctree::\n   :maxdepth: 2\n\n   a\n   b\n\ntext\n", "text\n"),
        (":ref:`words <to>` :doc:`/a` :option:`--x` :c:func:`f` ``code``\n",
         "words /a `--x` `f` `code`\n"),
        ("`site <https://x.example/>`_ and **b**\n", "[site](https://x.example/) and **b**\n"),
        ("- a\n\n  - b\n- c\n\n  .. code:: sh\n\n     ls\n",
         "- a\n\n  - b\n- c\n\n  ```sh\n  ls\n  ```\n"),
        ("term\n  meaning\n", "**term**\n\nmeaning\n"),
        ("==  ==\na   b\n==  ==\n1   2\n==  ==\n", "| a | b |\n| --- | --- |\n| 1 | 2 |\n"),
        ("# no heading\n", "\\# no heading\n"),
        (".. raw:: html\n\n   <script>x</script>\n\ntext\n", "text\n"),
        (".. csv-table::\n   :file: /etc/passwd\n\ntext\n", "text\n"),
        (".. a comment\n\ntext\n", "text\n"),
    ],
)  # fmt: skip
def test_rst(text: str, wanted: str) -> None:
    assert rst(text) == wanted


def test_rst_tabs_and_includes() -> None:
    tabs = (
        ".. tabs::\n\n   .. tab:: Linux\n\n      .. code-block:: sh\n\n         # x\n"
        "         apt\n\n"
        "   .. group-tab:: Mac\n\n      brew\n"
    )
    assert rst(tabs) == "**Linux:**\n\n```sh\n# x\napt\n```\n\n**Mac:**\n\nbrew\n"
    assert rst(".. literalinclude:: a.py\n   :language: python\n   :lines: 1-2\n") == (
        "```python\n# hi\nimport os\n```\n"
    )
    found = page(
        "docs/page.rst",
        b".. include:: part.txt\n\n.. include:: /etc/passwd\n\n.. include:: ../../x\n",
        FILES.get,
    )
    assert found.text == "Included *text*.\n"
    assert [row.reason for row in found.notes] == [
        "include: a file that includes itself",
        "include: no such file",
        "include: outside the documentation",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("= A =\n== B ==\ntext\n", "# A\n\n## B\n\ntext\n"),
        ("'''b''' ''i'' [[Page|w]] [[A b]] [https://x.example w]\n",
         "**b** *i* [w](Page) [A b](A_b) [w](https://x.example)\n"),
        ('<syntaxhighlight lang="sh">\n# x\nls\n</syntaxhighlight>\n', "```sh\n# x\nls\n```\n"),
        ("<pre>\n== x ==\n&lt;a&gt;\n</pre>\n", "```\n== x ==\n<a>\n```\n"),
        ("a\n # x\n  y\nb\n", "a\n\n```\n# x\n y\n```\n\nb\n"),
        ("* a\n** b\n# c\n## d\n; t\n: m\n", "- a\n  - b\n1. c\n   1. d\n**t**\nm\n"),
        ("{{Warning|Do not}}\n{{Other|x}}text\n", "**Warning:** Do not\n\ntext\n"),
        ("{| class=x\n! a !! b\n|-\n| 1 || 2\n|}\n", "| a | b |\n| --- | --- |\n| 1 | 2 |\n"),
        ("a<!-- x --><ref>y</ref> <code>ls</code>\n[[File:x.png]]\n__TOC__\n", "a `ls`\n"),
    ],
)  # fmt: skip
def test_mediawiki(text: str, wanted: str) -> None:
    assert pages_mediawiki.clean(text) == wanted
