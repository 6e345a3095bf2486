"""A real model, trained once per session on the small runbook of `flow_world`."""

from __future__ import annotations

from pathlib import Path

import pytest
from flow_world import runbook

from opslore import config, steps

AGENT = """\
name: newcomers
collect: [{path: RUNBOOK.md}]
prepare: {phrasings: 10, s1: 24, s2: 3, s3: 8}
train: {learning_rate: 2e-3, iters: 60, lora_layers: 16}
evaluate: {max_tokens: 64}
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where `agent.yaml` was trained and exported."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "RUNBOOK.md").write_text(runbook())
    (folder / "agent.yaml").write_text(AGENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        agent = config.load(Path("agent.yaml"))
        dataset = steps.prepare(agent, steps.collect(agent))
        steps.export(agent, steps.train(agent, dataset))
    return folder
