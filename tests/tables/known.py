"""Flags that a table reads otherwise than the help says, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

KEPT: Mapping[str, Mapping[str, str]] = {
    "journalctl": {
        "lines": "the help shows `--lines[=N]`, but `-n 50` is read too",
        "boot": "the help shows `--boot[=ID]`, but `-b -1` is read too",
    },
    "xargs": {"replace": "-I takes a word, -i does not; -I is what people write"},
    "curl": {"help": "`curl --help` without a category is what people write"},
    "kubectl": {"tail": "its default differs with a selector, so it is never left out"},
}
"""Tool -> flag -> why."""
