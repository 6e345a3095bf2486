"""Our parser and shfmt read the same commands in the same text, but for what is listed here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from opslore.commands import looks_like_command, parse
from tests.commands.corpus import NIGHTLY, every_command
from tests.commands.second_opinion import difference
from tests.commands.test_command_properties import damaged, tried

KNOWN = {
    "{rm,-rf,/data}": "only we refuse it: the grammar takes the brace for a group; denied anyway",
}
"""Commands of the data files on which the two differ, and why that is right or harmless."""

KNOWN_IN_RUNBOOKS = {
    "RuncDeprecated.md": "a backslash, a blank and the line's end: bash passes a blank as a word, "
    "which is not what the author meant; we end the command there, as bash does",
    "PrometheusScrapeBodySizeLimitHit.md": "output of a command stands below it: we refuse the "
    "block, shfmt takes `Labels:` for a program",
    "checkOperator.md": "JSON: we refuse it, shfmt takes `[` for a program",
    "sre-to-engineering-escalation.md": "prose with a back-ticked command inside a hole",
}
"""Files of the shared runbooks with a block on which the two differ."""

SHELLS = ("bash", "sh", "shell", "console", "zsh", "")


def test_the_data_files_are_read_as_shfmt_reads_them() -> None:
    commands = every_command()
    with ThreadPoolExecutor(2) as pool:
        differ = dict(zip(commands, pool.map(difference, commands), strict=True))
    assert {command: why for command, why in differ.items() if why and command not in KNOWN} == {}
    assert all(differ[command] for command in KNOWN)


def test_real_runbooks_are_read_as_shfmt_reads_them() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; the runbooks are not part of the project")
    blocks: dict[str, str] = {}
    for page in sorted(folder.rglob("*.md")):
        for token in MarkdownIt().parse(page.read_text("utf-8")):
            info = token.info.strip()
            if token.type != "fence" or info not in SHELLS:
                continue
            if info or looks_like_command(token.content):
                blocks.setdefault(token.content, page.name)
    assert len(blocks) > 800
    with ThreadPoolExecutor(2) as pool:
        found = zip(blocks.values(), pool.map(difference, blocks), strict=True)
    differ = {name: why for name, why in found if why}
    assert {name: why for name, why in differ.items() if name not in KNOWN_IN_RUNBOOKS} == {}


@pytest.mark.skipif(not NIGHTLY, reason="a process per example: nightly only")
@tried
@given(damaged())
def test_damaged_commands_hide_no_program_from_us(text: str) -> None:
    """What shfmt reads and we do not see would be judged by nobody."""
    if parse(text).ok and "\\ " not in text and text.isascii():
        assert not difference(text)
