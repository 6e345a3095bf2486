"""Asking a model that answers in prose, in llama.cpp and in a real Ollama; its commands are marked.

The model is real, but every weight is chosen (test_ask.parrot): it says one sentence and ends.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation import prose_world
from ollama_world import VERSIONS, one_thread, staged  # noqa: F401
from test_ask import parrot
from tiny_models import CHATML

from opslore import answer_prose, cli, cli_prose, compare, config, contents, steps, store
from opslore.answer_prose import Prose, mentioned
from opslore.bundle import modelfile
from opslore.cards import Adapter, Bundle
from opslore.config import Agent
from opslore.config_deploy import Ollama
from opslore.errors import ConfigError
from opslore.evaluation.prose_terms import Known
from opslore.release.ollama import OllamaTarget, probe, recipe_of

pytest_plugins = ["real.fixtures"]

SAYS = ["In", "Ġ`", "d", "f", "Ġ-", "h", "`"]
SAID = "In `df -h`"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent with a bundle that says one sentence, and no release."""
    folder = tmp_path_factory.mktemp("prose")
    settings = prose_world.agent(parrot(folder / "base.gguf", ["The", "."]), folder / "runs")
    home = steps.store_of(settings)
    dataset = prose_world.dataset(home)
    trained = {"base_model": "parrot", "base_digest": "0" * 64, "steps": 7, "loss": 0.5,
               "valid_loss": None, "seconds": 3.0}  # fmt: skip
    adapter = home.made(Adapter, {}, [dataset], lambda work: trained)

    def make(work: Path) -> dict[str, Any]:
        parrot(work / "model.gguf", SAYS)
        known = contents.write(settings, home.path(dataset), work)
        parameters = {"num_ctx": 1024, "temperature": 0.0, "num_predict": 16, "top_p": 0.9}
        stops = modelfile.stops(CHATML)
        text = modelfile.render("model.gguf", CHATML, settings.system_prompt, stops, parameters)
        store.write(work / "Modelfile", text)
        return {
            "base_model": "parrot",
            "quantization": "f16",
            "gguf_sha256": store.sha256(work / "model.gguf"),
            "template_sha256": "0" * 64,
            "commands": known,
        }

    home.made(Bundle, {}, [adapter], make)
    return settings


@pytest.fixture
def file(agent: Agent, tmp_path: Path) -> str:
    path = tmp_path / "ferry.yaml"
    path.write_text(json.dumps(agent.model_dump(mode="json")))
    return str(path)


def test_a_whole_answer_with_its_command_marked(
    agent: Agent, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer_prose.ask(agent, " Is the disk full? ")
    assert (found.question, found.reply, found.stopped) == ("Is the disk full?", SAID, True)
    assert [(one.text, one.risk, one.known) for one in found.commands] == [("df -h", "read", False)]
    assert cli.main(["ask", file, "Is the disk full?"]) == 0
    out = capsys.readouterr().out
    assert "In df -h" in out  # Markdown is drawn, not printed
    assert "command     df -h  [read, NOT in the sources]" in out


def test_an_agent_file_and_a_bundle_of_another_task_do_not_mix(agent: Agent) -> None:
    folder = steps.store_of(agent).path(steps.store_of(agent).latest(Bundle))
    told = json.loads((folder / "settings.json").read_text())
    assert answer_prose.is_prose(folder)
    (folder / "settings.json").write_text(json.dumps({**told, "task": "commands"}))
    try:
        with pytest.raises(ConfigError, match="answers with commands"):
            answer_prose.ask(agent, "Is the disk full?")
    finally:
        (folder / "settings.json").write_text(json.dumps(told))


def test_commands_are_marked_by_risk_and_by_source() -> None:
    known = Known(["ferry check --proxy", "kubectl delete pod <pod> -n <namespace>"])
    text = "Run `ferry check --proxy`, then `kubectl delete pod web-0 -n shop`. Or rm -rf /var/lib"
    found = {one.text.split()[0]: one for one in mentioned(text, known, "web-0 in shop hangs")}
    assert (found["ferry"].risk, found["ferry"].known) == ("unknown", True)
    assert found["kubectl"].known
    assert (found["rm"].risk, found["rm"].known) == ("destructive", False)
    assert found["rm"].findings


def test_an_answer_repaints_no_terminal_and_hides_no_link(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reply = "\x1b[2J\x1b]8;;https://evil.example\x07[docs](https://evil.example/x)\n\nrm -rf /"
    found = Prose(
        question="q", reply=reply, stopped=True, commands=mentioned(reply, Known()),
        model="m", released=False, seconds=0.1,
    )  # fmt: skip
    cli_prose.show_answer(found)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "https://evil.example/x" in out
    assert out.index("WARNING: the answer has a destructive command: rm -rf /") < out.index("docs")


def test_the_first_agent_file_of_answers_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expert.yaml"
    assert cli.main(["init", str(path), "--task", "answers"]) == 0
    assert "your documentation" in capsys.readouterr().out
    made = config.load(path)
    assert (made.name, made.prepare.task, made.collect[0].kind) == ("expert", "answers", "docs")
    assert made.prepare.model_copy(update={"task": "commands"}) == config.Prepare()
    assert cli.main(["init", str(tmp_path / "b.yaml"), "--task", "poems"]) == 2
    assert not (tmp_path / "b.yaml").exists()


class TestOllama:
    """The bundle in a real Ollama."""

    @pytest.fixture(scope="class")
    def deployed(self, agent: Agent, ollama_server: str) -> Agent:
        home = steps.store_of(agent)
        folder = home.path(home.latest(Bundle))
        section = Ollama(url=ollama_server, model="ferry-prose")
        target = OllamaTarget(section, agent.name)
        target.stage(staged(folder, VERSIONS[0], agent.name))
        target.move(target.aim(agent.name, VERSIONS[0]))
        return agent.model_copy(update={"deploy": [section]})

    def test_the_deployment_asks_a_trained_question(self, agent: Agent) -> None:
        home = steps.store_of(agent)
        folder = home.path(home.latest(Bundle))
        gguf, recipe = recipe_of(folder)
        told = json.loads((folder / "settings.json").read_text())
        assert probe(folder, gguf).messages[-1].content == told["probe"]
        assert recipe.parameters["top_p"] == 0.9

    def test_it_answers_as_llama_cpp_does(
        self, deployed: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "ferry.yaml"
        path.write_text(json.dumps(deployed.model_dump(mode="json")))
        assert cli.main(["ask", str(path), "Is it full?", "--server", "ollama", "--json"]) == 0
        there = json.loads(capsys.readouterr().out)
        here = answer_prose.ask(deployed, "Is it full?").model_dump()
        assert {**there, "seconds": 0} == {**here, "seconds": 0}
        assert there["reply"] == SAID

    def test_both_are_compared_word_by_word(
        self, deployed: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
        pair = [compare.contender(deployed, name) for name in ("latest", "ferry-prose@ollama")]
        found = compare.compare(pair[0], pair[1], ["Is it full?"], [SAID])
        assert (found.equal.count, found.answered["b"].count, found.right["b"].count) == (1, 1, 1)
        base = compare.compare(pair[0], compare.contender(deployed, "base"), ["Is it full?"])
        assert (base.equal.count, base.answered["b"].count) == (0, 1)
