"""The fast ways of reading a command say what the full grammar and the full road say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from markdown_it import MarkdownIt

from opslore.commands import canonical
from opslore.commands.canonical import form
from opslore.commands.parse import _grammar, holeless
from opslore.commands.plain import plain
from opslore.commands.render import render
from opslore.commands.scan import mask, prepare, scan
from tests.commands.corpus import every_command
from tests.commands.test_command_properties import damaged, tried

SIGNS = (
    *("cmd > x", "cmd >x y", "cmd 2>&1 | tee x", "cmd   2> x", "cmd a2>x", "cmd -2>x", "cmd 0<x"),
    *("cmd >x>y", "cmd 2>1", "cmd >&2", "cmd &> x", "cmd >& x", "cmd <>x", "cmd >|x", "cmd <<<x"),
    *("cmd > > x", "cmd > '*' *", "> x", "cmd >", "cmd '>' x", "cmd ' >' x", "a>x", "cmd >x;"),
    *("cmd &", "cmd a&", "cmd & b &", "cmd &; x", "cmd |& b", "cmd ;; b", "a &&& b", "a &&", "&"),
    *("A=b cmd", "A=b C=d cmd x=y", "A=b", "A=b; cmd", "A=b time x", "A=b c:d", "A=~ cmd", "A= b"),
    *("cmd {} \\;", "cmd a\\;", "cmd \\;x", "cmd -I{}", "cmd {} +", "cmd -", "- x", "cmd a==b"),
    *("a\xa0b c", "a\u2003b c", "a\x0bb", "a\tb  c", "'' x", "\"a\"'b'c d", "[ -f x ]", "é x"),
)
"""Lines on which the ways parted while this was written, and their neighbours."""


def differences(command: str) -> list[str]:
    """Where the fast ways differ from the slow ones on a command."""
    text = prepare(command)
    found: list[str] = []
    slots = scan(text)
    source = mask(text, slots)
    fast = plain(source, slots)
    if fast and fast != _grammar(source, slots):
        found.append("tree")
    if canonical(command) != render(form(command).units) and holeless(command):
        found.append("canonical")
    return found


@pytest.mark.parametrize("line", SIGNS)
def test_every_sign_is_read_as_the_grammar_reads_it(line: str) -> None:
    assert differences(line) == []


def test_the_data_files_are_read_as_the_grammar_reads_them() -> None:
    commands = every_command()
    assert {command: found for command in commands if (found := differences(command))} == {}
    fast = [command for command in commands if plain(command)]
    assert len(fast) > len(commands) / 2


def test_real_runbooks_are_read_as_the_grammar_reads_them() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; the runbooks are not part of the project")
    texts: set[str] = set()
    for page in folder.rglob("*.md"):
        for token in MarkdownIt().parse(page.read_text("utf-8")):
            if token.type == "fence":
                texts |= {token.content, *token.content.splitlines()}
            texts |= {one.content for one in token.children or () if one.type == "code_inline"}
    assert len(texts) > 5000
    assert {text: found for text in sorted(texts) if (found := differences(text))} == {}


@tried
@given(damaged())
@example("cmd > x")
def test_damaged_commands_are_read_as_the_grammar_reads_them(text: str) -> None:
    assert differences(text) == []
