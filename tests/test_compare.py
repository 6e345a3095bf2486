"""Two real models side by side: what is kept, what is summed up, and whom a question goes to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ollama_world
import pytest
import test_ask
from ollama_world import VERSIONS, staged

from opslore import answer, compare, rounds, steps
from opslore.asking import deployed, unwrapped
from opslore.bundle import modelfile
from opslore.cards import ESCALATE
from opslore.compare import Contender, contender
from opslore.config import Agent
from opslore.config_deploy import Ollama
from opslore.errors import ConfigError, DataError, IntegrityError, MissingInput
from opslore.release.ollama import OllamaTarget

pytest_plugins = ["real.fixtures"]

agent = test_ask.agent
DISK = test_ask.DISK
QUESTIONS = [DISK, "the git repository could not be fetched"]


@pytest.fixture
def mine(agent: Agent, tmp_path: Path) -> Agent:
    """The agent with a store of this test's own, whose base says something else."""
    shutil.copytree(agent.store, tmp_path / "runs")
    base = test_ask.parrot(tmp_path / "base.gguf", ["up", "time", "Ġ-", "p"])
    return agent.model_copy(update={"store": str(tmp_path / "runs"), "base_model": str(base)})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPSLORE_OLLAMA_THREADS", "1")


def test_a_model_and_its_base_on_the_same_questions(mine: Agent) -> None:
    a, b = contender(mine, "latest"), contender(mine, "base")
    found = compare.compare(a, b, QUESTIONS, ["df -h", ESCALATE])
    assert (found.rounds, found.equal.count, found.equal.n) == (2, 1, 2)
    assert [found.answered[s].count for s in ("a", "b")] == [1, 0]
    assert [found.right[s].count for s in ("a", "b")] == [2, 1]
    assert found.p == 1.0  # one question that only one gets right proves nothing
    lines = [json.loads(line) for line in Path(found.kept).read_text().splitlines()]
    assert [line["question"] for line in lines] == QUESTIONS
    assert lines[0]["said"]["a"]["reply"] == "df -h"
    # It would say `uptime -p`, which its prompt does not show; of what it may say it is not sure.
    assert lines[0]["said"]["b"]["reply"] == "df -h"
    assert lines[0]["equal"] is False
    assert all(line["said"]["b"]["seconds"] > 0 for line in lines)
    assert Path(found.kept).is_relative_to(Path(mine.store) / mine.name / "compare")


def test_what_was_kept_is_only_ever_added_to(mine: Agent) -> None:
    a, b = contender(mine, "latest"), contender(mine, "latest@llamacpp")
    first = compare.compare(a, b, QUESTIONS[:1])
    before = Path(first.kept).read_bytes()
    second = compare.compare(a, b, QUESTIONS)
    assert Path(first.kept).read_bytes().startswith(before)
    assert (second.rounds, second.equal.count) == (3, 3)
    assert second.equal.low < 0.5 < second.equal.high == 1.0
    assert compare.summary(a, b) == second


def test_live_traffic_goes_to_one_of_them_and_always_to_the_same(mine: Agent) -> None:
    a, b = contender(mine, "latest"), contender(mine, "base")
    traffic = [f"{DISK} instance=node-{number}" for number in range(6)]
    found = compare.compare(a, b, traffic, split=0.5)
    assert found.rounds == 6
    assert found.equal.n == 0
    assert found.p is None
    assert found.answered["a"].n + found.answered["b"].n == 6
    for line in Path(found.kept).read_text().splitlines():
        kept = json.loads(line)
        assert list(kept["said"]) == [compare.side(kept["question"], 0.5)]
        assert kept["equal"] is None


def test_a_share_of_the_traffic_is_that_share() -> None:
    sides = [compare.side(f"question {number}", 0.1) for number in range(5000)]
    assert 400 < sides.count("b") < 600
    assert {compare.side("x", 0.0), compare.side("y", 0.0)} == {"a"}
    assert {compare.side("x", 1.0), compare.side("y", 1.0)} == {"b"}
    # Whoever moves from 10 % to 20 % takes nobody's model away again.
    ten = {n for n in range(999) if compare.side(f"q{n}", 0.1) == "b"}
    assert ten <= {n for n in range(999) if compare.side(f"q{n}", 0.2) == "b"}


def test_enough_disagreement_is_proof(tmp_path: Path) -> None:
    def said(right: bool) -> rounds.Said:
        return rounds.Said(reply="x", command="x", escalate=False, right=right, seconds=0.1)

    path = tmp_path / "rounds.jsonl"
    for number in range(20):
        both: dict[rounds.Side, rounds.Said] = {"a": said(True), "b": said(number > 9)}
        rounds.keep(path, rounds.Round(question="q", when="", a="A", b="B", equal=True, said=both))
    found = rounds.summed(path, "A", "B")
    assert found.p == pytest.approx(2 * 0.5**10)
    assert (found.right["b"].low, found.right["b"].high) == pytest.approx(
        (0.2993, 0.7007), abs=1e-3
    )


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("v20990101-00000000", MissingInput, "no release 'v20990101-00000000' of parrot"),
        ("lates", MissingInput, "no release 'lates'"),
        ("latest@vllm", ConfigError, "no server 'vllm'; there are llamacpp, ollama"),
        ("base@ollama", ConfigError, "Ollama knows no base"),
    ],
)
def test_a_name_that_means_nothing(
    agent: Agent, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        contender(agent, name)


def test_questions_that_cannot_be_asked(mine: Agent) -> None:
    a = contender(mine, "latest")
    for questions, expected, split, error in (
        ([], [], None, DataError),
        (["x", " "], [], None, DataError),
        (["x"], ["a", "b"], None, DataError),
        (["x"], [], 1.5, ConfigError),
    ):
        with pytest.raises(error):
            compare.compare(a, a, questions, expected, split)
    assert not compare.kept(a, a).exists()
    with pytest.raises(MissingInput, match="nothing was compared yet"):
        compare.summary(a, a)


def test_a_damaged_line_is_named(mine: Agent) -> None:
    a = contender(mine, "latest")
    compare.compare(a, a, QUESTIONS[:1])
    path = compare.kept(a, a)
    path.write_bytes(path.read_bytes() + b'{"question": "x"\n')
    with pytest.raises(IntegrityError, match=r"jsonl:2: a damaged line"):
        compare.summary(a, a)


@pytest.fixture
def in_ollama(mine: Agent, ollama_server: str) -> tuple[Agent, Contender]:
    """The agent's bundle, deployed under a version, and the agent that says where."""
    found = answer.shipped(steps.store_of(mine))
    ollama_world.speaks_json(found.folder / "model.gguf")
    template = ollama_world.CHATML
    text = modelfile.render(
        "model.gguf",
        template,
        mine.system_prompt,
        modelfile.stops(template),
        {"num_ctx": 1024, "temperature": 0, "num_predict": 160},
    )
    (found.folder / "Modelfile").write_text(text)
    section = Ollama(url=ollama_server, model="asked")
    target = OllamaTarget(section, mine.name)
    target.stage(staged(found.folder, VERSIONS[0], mine.name))
    target.move(target.aim(mine.name, VERSIONS[0]))
    there = mine.model_copy(update={"deploy": [section]})
    return there, contender(there, "asked:latest@ollama")


def test_llama_cpp_and_ollama_side_by_side(in_ollama: tuple[Agent, Contender]) -> None:
    mine, deployed = in_ollama
    found = compare.compare(contender(mine, "latest"), deployed, QUESTIONS, ["df -h", ESCALATE])
    assert (found.equal.count, found.right["b"].count) == (2, 2)


def test_asking_the_deployed_model(in_ollama: tuple[Agent, Contender]) -> None:
    mine, _ = in_ollama
    here, there = answer.ask(mine, DISK), answer.ask(mine, DISK, server="ollama")
    same = {"seconds": 0.0, "confidence": None}
    assert there.model_copy(update=same) == here.model_copy(update=same)
    assert there.confidence == pytest.approx(here.confidence, abs=0.02)
    free = answer.ask(mine, DISK, free=True, server="ollama")
    assert (free.command, free.reply) == ("df -h", "df -h")


def test_asking_an_ollama_that_has_no_such_model(agent: Agent, ollama_server: str) -> None:
    with pytest.raises(MissingInput, match="has no model parrot:latest") as caught:
        answer.ask(agent, DISK, server="ollama", url=ollama_server)
    assert "opslore deploy" in caught.value.hint


def test_where_the_deployed_model_is(agent: Agent) -> None:
    here = Ollama(url="http://there:11434", model="oncall")
    job = Ollama.model_validate(
        {"url": "http://in:1", "via": "job", "job": {"image": "x@sha256:0"}}
    )
    for targets, url, found in (
        ([], "", ("", "parrot")),
        ([here], "", ("http://there:11434", "oncall")),
        ([here], "http://other:1", ("http://other:1", "oncall")),
        ([job], "", ("", "parrot")),  # its name inside the cluster means nothing outside
        ([job], "http://forwarded:1", ("http://forwarded:1", "parrot")),
    ):
        assert deployed(agent.model_copy(update={"deploy": targets}), url) == found


def test_only_a_whole_object_is_unwrapped() -> None:
    assert unwrapped('{"command": "df -h"}') == "df -h"
    for text in ("df -h", '{"command": "df', '"df -h"', "[1]", "{}"):
        assert unwrapped(text) == text
