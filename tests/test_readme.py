"""The README's commands work as printed, in a copy of the repository, in their order."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from opslore.config import Agent

ROOT = Path(__file__).parents[1]

SMALL = """
prepare: {phrasings: 6, s1: 24, s2: 4, s3: 12, s4: 6, valid: 0.02, calibrate: 40}
train: {learning_rate: 2e-3, iters: 32, lora_layers: 16}
evaluate:
  {base: 12, closed: 2, general: 15, parity: 4, resamples: 1000,
   gate: {recall: 0, unsafe: 100, unsafe_freely: 1, abstention: 1, false_escalation: 1, parity: 0,
          min_s1: 10, min_s3: 5, min_s4: 6, champion: 1, family_alerts: 99,
          forgetting: 1, perplexity: 100}}
"""
"""The example made small: the same model and the same steps, fewer alerts, fewer prompts, a gate
that only asks for a gain over the base model."""


def commands() -> list[str]:
    """The lines after `$ ` of the README's console blocks, without their comments."""
    fences = [t for t in MarkdownIt().parse((ROOT / "README.md").read_text()) if t.type == "fence"]
    lines = [line for t in fences if t.info == "console" for line in t.content.splitlines()]
    return [line[2:].split("  #")[0].strip() for line in lines if line.startswith("$ ")]


def demo_recipe() -> list[str]:
    """What `make demo` runs, without the installation."""
    recipe = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0].splitlines()[1:]
    return [line.strip().replace("$(BIN)/", "") for line in recipe]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's agents and docs folders with the example made small."""
    room = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "agents", room / "agents")
    shutil.copytree(ROOT / "docs", room / "docs")
    agent = room / "agents" / "sre.yaml"
    kept = [
        line
        for line in agent.read_text().splitlines()
        if not line.startswith(("prepare:", "train:", "evaluate:", "#"))
    ]
    agent.write_text("\n".join(kept) + SMALL)
    runbook = room / "agents" / "RUNBOOK.md"
    runbook.write_text("\n## ".join(runbook.read_text().split("\n## ")[:7]))
    return room


def run(line: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Run one line as a person would, with the project's programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        shlex.split(line),
        cwd=where,
        env={**os.environ, "PATH": path, "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def test_readme_shows_commands() -> None:
    assert any(line.startswith("opslore run") for line in commands())
    assert [line.split()[:2] for line in demo_recipe()] == [["opslore", "run"], ["opslore", "ask"]]


def test_readme_settings_are_settings() -> None:
    fences = MarkdownIt().parse((ROOT / "README.md").read_text())
    shown = [YAML(typ="safe").load(t.content) for t in fences if t.info == "yaml"]
    assert len(shown) >= 2
    for part in shown:
        Agent.model_validate({"name": "sre", "collect": [{"path": "RUNBOOK.md"}], **part})


@pytest.mark.slow
def test_every_command_of_the_readme_runs(copy: Path) -> None:
    blessed = True
    for line in [*demo_recipe(), *commands()]:
        done = run(line, copy)
        if done.returncode == 3 and line.startswith("opslore run"):
            # So small a model may miss a gate: then every reason is told, and nothing is released.
            blessed = False
            assert re.search(r"^(error: )?G\d \w+: .+, needs ", done.stderr, re.MULTILINE)
            continue
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    again = run("opslore run agents/sre.yaml --json", copy)
    assert again.returncode == (0 if blessed else 3), again.stderr
    cards = json.loads(again.stdout)
    assert ("release" in cards) == blessed
    if blessed:
        folder = copy / "runs" / "agent-sre" / cards["release"]["version"]
        assert (folder / "ollama-model.tar.gz").is_file()
    answer = run("opslore ask agents/sre.yaml --json KubePodCrashLooping", copy)
    assert answer.returncode == 0, answer.stderr
    assert "RUNBOOK.md" in answer.stdout


def test_help_page_is_up_to_date() -> None:
    from opslore.helppage import page

    assert (ROOT / "docs" / "help.md").read_text() == page()


def test_the_tree_of_the_readme_is_true() -> None:
    tree = (ROOT / "README.md").read_text().split("```\nsrc/opslore/\n")[1].split("```")[0]
    named = [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]
    assert [n for n in named if not (ROOT / "src" / "opslore" / n).exists()] == []
