"""`opslore.commands` as a library: its pages are true, and importing it loads nothing else."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from opslore import commands

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "opslore" / "commands"


def test_the_page_is_true() -> None:
    found = doctest.testfile(str(ROOT / "docs" / "commands.md"), module_relative=False)
    assert found.attempted > 15
    assert found.failed == 0


def test_the_docstrings_are_true() -> None:
    found = doctest.testmod(commands)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("name", commands.__all__)
def test_what_is_public_says_what_it_is(name: str) -> None:
    assert getattr(commands, name).__doc__
    assert name in (ROOT / "docs" / "commands.md").read_text("utf-8") or name[0].isupper()


def test_it_imports_no_other_part_but_records_and_their_errors() -> None:
    allowed = {"opslore.cards", "opslore.record", "opslore.errors", "opslore.cards_scores"}
    found = {
        node.module
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("opslore.")
    }
    assert {name for name in found if not name.startswith("opslore.commands")} <= allowed


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "numpy", "scipy", "mlflow", "httpx", "bm25s", "xllamacpp"]
    code = (
        "import sys; from opslore import commands\n"
        "commands.canonical('kubectl get pods'); commands.risk('ls > x')\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "print(sorted(name for name in sys.modules if name.startswith('opslore.') "
        "and not name.startswith('opslore.commands')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, parts = done.stdout.splitlines()
    assert loaded == "[]"
    assert set(ast.literal_eval(parts)) <= {
        "opslore.cards",
        "opslore.cards_scores",
        "opslore.record",
        "opslore.errors",
        "opslore.source_table",  # records of the cards
    }
