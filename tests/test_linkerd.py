"""The Linkerd agents: the recipe says what it lacks here, and its small variant runs whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import flow_world
import pytest

from opslore import cli, config, steps
from opslore.cards import Bundle, Evaluation
from opslore.evaluation.scores import find

ROOT = Path(__file__).parents[1]
AGENTS = ROOT / "agents"

FEWER = {
    "iters: 24": "iters: 16",
    "prose: 30": "prose: 8",
    "loss: 60": "loss: 24",
    "parity: 30": "parity: 6\n  general: 60\n  gate: {min_test: 8}",
}
"""What a test asks less of than the agent's file does."""


def test_the_recipe_loads_and_pins_its_base() -> None:
    recipe = config.load(AGENTS / "linkerd.yaml")
    assert (recipe.base_model, len(recipe.revision)) == ("meta-llama/Llama-3.1-8B-Instruct", 40)
    assert {source.kind for source in recipe.collect} == {"issues", "docs", "wiki", "corrections"}
    assert (recipe.train.backend, recipe.export.quantization) == ("unsloth", "q4_k_m")
    assert recipe.prepare.task == config.load(AGENTS / "linkerd-cpu.yaml").prepare.task == "answers"


def test_doctor_and_status_say_what_the_recipe_lacks_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_TOKEN", "OPSLORE_LLAMA_QUANTIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    file = str(AGENTS / "linkerd.yaml")
    assert cli.main(["doctor", file, "--json"]) == 1
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["source linkerd/linkerd2, linkerd/linkerd2-proxy"]["state"] == "warn"
    assert "GITHUB_TOKEN" in found["source linkerd/linkerd2, linkerd/linkerd2-proxy"]["mend"]
    assert found["source https://github.com/linkerd/website.git"]["found"] == "git is not installed"
    assert found["llama-quantize"]["state"] == "fail"
    assert found["base model"]["state"] == "warn"
    trainer = found.get("trainer unsloth")
    assert trainer is None or trainer["state"] == "fail"


@pytest.mark.slow
def test_the_small_variant_runs_from_sources_to_an_evaluated_bundle(
    tmp_path: Path, shared_data: Path
) -> None:
    """Fewer steps and prompts; all gates need not hold, but each of them must say something."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(shared_data)
    here = tmp_path / "work"
    here.mkdir()
    text = (AGENTS / "linkerd-cpu.yaml").read_text()
    for many, few in FEWER.items():
        assert text.count(many) == 1
        text = text.replace(many, few)
    file = here / "linkerd-cpu.yaml"
    file.write_text(text)
    command = [sys.executable, "-m", "opslore"]
    environment = {**flow_world.environment(), "OPSLORE_CACHE": os.environ.get("OPSLORE_CACHE", "")}
    done = subprocess.run(
        [*command, "run", str(file)], cwd=here, env=environment, capture_output=True, text=True,
        timeout=3000,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr[-2000:]
    settings = config.load(file).model_copy(update={"store": str(here / "runs")})
    home = steps.store_of(settings)
    evaluation, bundle = home.latest(Evaluation), home.latest(Bundle)
    tuned, base = (find(evaluation, column, "test", "loss") for column in ("tuned", "base"))
    assert tuned is not None
    assert base is not None
    assert tuned.value < base.value
    gates = {gate.name: gate for gate in evaluation.gates}
    assert gates["G0"].passed, gates["G0"].measured
    assert gates["G1"].passed, gates["G1"].measured
    assert gates["G8"].passed, gates["G8"].measured
    assert bundle.commands > 10  # those of the docs, to mark what an answer makes up
    asked = subprocess.run(
        [*command, "ask", str(file), "How do I build Linkerd?", "--json"], cwd=here,
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["reply"]
    report = subprocess.run(
        [*command, "report", str(file)], cwd=here, env=environment, capture_output=True, text=True
    )
    assert report.returncode == 0, report.stderr
    assert "Known questions (3)" in (here / "report.html").read_text()
