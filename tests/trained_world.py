"""A real model, trained once per test run on the small runbook of `flow_world`."""

from __future__ import annotations

from pathlib import Path

import pytest
from flow_world import runbook

from opslore import config, files, steps

AGENT = """\
name: newcomers
collect: [{path: RUNBOOK.md}]
prepare: {phrasings: 10, s1: 24, s2: 3, s3: 8}
train: {learning_rate: 2e-3, iters: 60, lora_layers: 16}
evaluate: {max_tokens: 64}
"""


WAIT = 3600.0
"""Seconds that another process of the test run may take to train."""


@pytest.fixture(scope="session")
def trained(room: Path) -> Path:
    """The folder where `agent.yaml` was trained and exported; for reading."""
    folder = room / "trained"
    folder.mkdir(exist_ok=True)
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "agent.yaml").write_text(AGENT)
    # Whoever comes second finds the steps made.
    with files.alone(room / "trained.lock", wait=WAIT), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        agent = config.load(Path("agent.yaml"))
        dataset = steps.prepare(agent, steps.collect(agent))
        steps.export(agent, steps.train(agent, dataset))
    return folder
