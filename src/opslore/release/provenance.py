"""Where a release comes from: an in-toto statement with a SLSA v1 provenance predicate.

It names every input by its digest. The builder is whoever ran opslore, on a machine of their own,
so this is SLSA build level 1: provenance exists, and is signed along with the release.
https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from opslore.release.facts import Facts, settings
from opslore.sources import git
from opslore.store import VERSION

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD, BUILDER = "opslore:build/release/v1", "opslore:builder/local"

_COMMIT = re.compile("[0-9a-f]{40}")


def statement(facts: Facts, byproducts: dict[str, str]) -> dict[str, Any]:
    """The statement about a release.

    Args:
        facts: the release.
        byproducts: SHA-256 of the release's other papers by name.
    """
    bundle, evaluation = facts.cards[3], facts.cards[4]
    subjects = {**facts.archives, "model.gguf": bundle.gguf_sha256}
    return {
        "_type": STATEMENT,
        "subject": [_file(name, digest) for name, digest in sorted(subjects.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {"agent": settings(facts.agent)},
                "internalParameters": {
                    "version": facts.version,
                    "counter": facts.counter,
                    "chat_template_sha256": bundle.template_sha256,
                    "made_with": {card.kind: card.made_with for card in facts.cards},
                },
                "resolvedDependencies": _dependencies(facts),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"opslore": VERSION}},
                "metadata": {
                    "invocationId": f"{facts.agent.name}/{evaluation.id}",
                    "finishedOn": facts.made,
                },
                "byproducts": [_file(name, digest) for name, digest in sorted(byproducts.items())],
            },
        },
    }


def _dependencies(facts: Facts) -> list[dict[str, Any]]:
    corpus, dataset = facts.cards[0], facts.cards[1]
    found = [
        base(facts),
        {
            "name": "dataset",
            "uri": f"opslore:dataset/{dataset.id}",
            "digest": {"sha256": dataset.digest},
        },
        {
            "name": "corpus",
            "uri": f"opslore:corpus/{corpus.id}",
            "digest": {"sha256": corpus.digest},
        },
    ]
    if _COMMIT.fullmatch(corpus.commit):
        found.append({"name": "runbook", "digest": {"gitCommit": corpus.commit}})
    commit, modified = code()
    program: dict[str, Any] = {"name": "opslore", "uri": f"pkg:pypi/opslore@{VERSION}"}
    if commit:
        program["digest"] = {"gitCommit": commit}
        program["annotations"] = {"modified": modified}
    return [*found, program]


def base(facts: Facts) -> dict[str, Any]:
    """The base model as an in-toto resource: a hub model by its commit, a file by its digest."""
    name, adapter = facts.agent.base_model, facts.cards[2]
    repo, _, inside = name.partition("@")
    commit = facts.agent.revision or inside
    if _COMMIT.fullmatch(commit) and not Path(name).expanduser().exists():
        uri = f"pkg:huggingface/{repo}@{commit}"
        return {"name": "base model", "uri": uri, "digest": {"gitCommit": commit}}
    resource: dict[str, Any] = {
        "name": "base model",
        "uri": f"opslore:base/{facts.base}",
        "digest": {"sha256": adapter.base_digest},
    }
    if Path(name).expanduser().is_dir():
        resource["annotations"] = {"digest_of": "the list of its files, each with its SHA-256"}
    return resource


@cache
def code() -> tuple[str, bool]:
    """The commit of the running opslore and whether its files differ from it; "" outside git."""
    folder = Path(__file__).parents[1]
    files = sorted(folder.rglob("*.py"))
    history = git.history(files)
    if not history.head:
        return "", False
    return git.last(folder, "*.py"), len(history.commits) < len(files)


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}
