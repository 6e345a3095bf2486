"""`make docs`: every command's help as one Markdown page, checked by a test to be up to date."""

from __future__ import annotations

import os
import sys


def page() -> str:
    """docs/help.md, from the commands themselves."""
    os.environ["COLUMNS"] = "100"
    from typer.main import get_command
    from typer.testing import CliRunner

    from opslore.cli import app

    runner = CliRunner()
    names = ["", *sorted(getattr(get_command(app), "commands", {}))]
    parts = ["# Commands\n\nWritten by `make docs`.\n"]
    for name in names:
        arguments = [name, "--help"] if name else ["--help"]
        text = runner.invoke(app, arguments, prog_name="opslore", terminal_width=100).output
        title = f"opslore {name}".strip()
        parts.append(f"## {title}\n\n```\n{text.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
