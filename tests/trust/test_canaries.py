"""Twenty canaries in a tiny corpus: none comes out of the functions that every text passes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from test_secrets import KINDS

from opslore import config, steps
from opslore.dataset.quarantine import suspicious, visible
from opslore.dataset.secrets import Scanner


def test_no_canary_leaves() -> None:
    canaries = [
        (kind, *plant(random.Random(f"canary/{kind}"))) for kind, plant in list(KINDS.items())[:20]
    ]
    assert len(canaries) == 20
    scanner, out = Scanner(), []
    for number, (_, line, secret) in enumerate(canaries):
        post = (
            f"Hello,\n<!-- describe it -->\npod {number} fails:\n```\n{line % secret}\n```\nThanks"
        )
        assert suspicious(post) == ""
        out.append(scanner.masked(visible(post)).text)
    written = "\n".join(out)
    for kind, _, secret in canaries:
        for part in secret.splitlines():
            assert part.startswith("---") or part not in written, kind
    assert "describe it" not in written


AGENT = """
name: canaries
store: runs
collect:
  - kind: archive
    path: archive.json
prepare:
  task: answers
"""


def test_no_prepared_file_has_a_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planted = [
        (kind, *plant(random.Random(f"canary/{kind}"))) for kind, plant in list(KINDS.items())[:20]
    ]
    issues = []
    for number, (kind, line, secret) in enumerate(planted, 1):
        said = line % secret
        about = f"The {kind} gateway number {number} restarts after the upgrade of {kind} nodes"
        issues.append(
            {
                "number": number,
                "title": f"{about}?",
                "author": f"ann{number}",
                "authorAssociation": "NONE",
                "body": f"{about}. The log says:\n\n```\n{said}\n```\n\nWhat is wrong with it?",
                "createdAt": "2024-01-01T00:00:00Z",
                "state": "CLOSED",
                "comments": [
                    {
                        "author": f"bob{number}",
                        "authorAssociation": "MEMBER",
                        "createdAt": "2024-01-02T00:00:00Z",
                        "body": f"The {kind} gateway holds an old session for {kind}. Rotate what "
                        f"you posted, since {number} readers saw it, and give it a new one:\n\n"
                        f"    {said}\n\nThen the {kind} nodes start again within a minute.",
                    }
                ],
            }
        )
    Path("archive.json").write_text(json.dumps({"repo": "o/r", "issues": issues, "pulls": []}))
    Path("agent.yaml").write_text(AGENT)
    settings = config.load(Path("agent.yaml"))
    dataset = steps.prepare(settings, steps.collect(settings))
    folder = steps.store_of(settings).path(dataset)
    assert sum(dataset.splits.values()) > 10
    leaked = [
        f"{path.name}: {kind}"
        for path in sorted(folder.iterdir())
        if path.is_file()
        for kind, _, secret in planted
        for part in secret.splitlines()
        if not part.startswith("---") and json.dumps(part)[1:-1] in path.read_text("utf-8")
    ]
    assert leaked == []
