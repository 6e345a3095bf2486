"""The real Gemma 3 270M, trained a little, in a real Ollama: as in llama.cpp, word for word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import flow_world
import pytest
from ollama_world import client, one_thread  # noqa: F401
from real.ollama import llama_quantize

from opslore import answer, asking, steps
from opslore.bundle.catalogue import accepts
from opslore.cards import Adapter, Bundle, Dataset, Message
from opslore.config import Agent
from opslore.evaluation import columns
from opslore.evaluation.run import read
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged
from opslore.release.version import version
from opslore.servers import llamacpp
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import prober
from opslore.store import sha256

pytest_plugins = ["real.fixtures"]
pytestmark = pytest.mark.slow

SHARE = 0.9
"""Gate G7 asks for 0.98 of a model that is sure of what it says. This one saw 80 small batches, so
some of its next tokens are near ties that two builds of llama.cpp round differently; with a wrong
template or other weights nearly every reply differs."""


@dataclass(frozen=True)
class Deployed:
    """A bundle whose `latest` was moved to it by the deploy target."""

    agent: Agent
    files: Path
    model: str
    asked: list[list[Message]]
    """The prompts of the held-out questions."""


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, ollama_server: str
) -> tuple[Agent, Dataset, Bundle]:
    """Few alerts, one entry a prompt: in a minute the model is sure of what it says."""
    folder = tmp_path_factory.mktemp("gemma")
    (folder / "RUNBOOK.md").write_text(flow_world.runbook())
    agent = Agent.model_validate(
        {
            "name": "gemma",
            "store": str(folder / "runs"),
            "base_model": "gemma-3-270m",
            "collect": [{"path": str(folder / "RUNBOOK.md")}],
            "prepare": {
                **{"s1": 20, "s2": 2, "s3": 2, "s4": 0, "phrasings": 4, "entries": 1},
                **{"closed_book": 0, "unknown": 0, "traps": 0, "test": 0.1},
            },
            "train": {"iters": 80, "batch_size": 2, "lora_layers": 18, "general": 0},
            "export": {"num_ctx": 1024},
            "evaluate": {"max_tokens": 48},
            "deploy": [{"kind": "ollama", "url": ollama_server}],
        }
    )
    dataset = steps.prepare(agent, steps.collect(agent))
    return agent, dataset, steps.export(agent, steps.train(agent, dataset))


def deployed(agent: Agent, dataset: Dataset, bundle: Bundle) -> Deployed:
    """Install, prove and point to a bundle as `opslore deploy` does."""
    home = steps.store_of(agent)
    files, name = home.path(bundle), version(bundle.id, bundle.created)
    target = OllamaTarget(agent.deploy[0], agent.name)
    target.stage(Staged(agent.name, name, files, str(files), sha256(files / "model.gguf")))
    target.move(target.aim(agent.name, name))
    questions = [e for e in read(home.path(dataset)) if e.split in ("s1", "s2")]
    asked = [columns.open_book(example) for example in questions]
    return Deployed(agent, files, f"{agent.name}:{name}", asked)


def compared(there: Deployed, url: str) -> list[str]:
    """What differs between the model in Ollama and its file in llama.cpp, over every prompt."""
    odd = []
    make = prober(there.files / "model.gguf")
    with (
        Server(there.model, url=url) as server,
        llamacpp.Server(there.files / "model.gguf", context=1024, threads=1) as local,
    ):
        for turns in there.asked:
            wanted = make(turns)
            assert server.render(turns).removeprefix(wanted.bos) == wanted.prompt
            reply = server.chat(turns, max_tokens=48)
            assert reply.stopped, reply.text
            if reply.text != (here := local.chat(turns, max_tokens=48)).text:
                odd.append(f"{reply.text!r} in Ollama, {here.text!r} in llama.cpp")
    return odd


def test_it_says_what_llama_cpp_says(
    trained: tuple[Agent, Dataset, Bundle], ollama_server: str, client: Client
) -> None:
    there = deployed(*trained)
    assert len(there.asked) >= 20
    odd = compared(there, ollama_server)
    assert len(odd) <= (1 - SHARE) * len(there.asked), odd
    assert client.tags()[there.model] == client.tags()["gemma:latest"]
    assert client.show(there.model)["system"] == there.agent.system_prompt


def test_ask_is_limited_to_the_runbook(trained: tuple[Agent, Dataset, Bundle]) -> None:
    """Whatever so short a training has taught, nothing outside the catalogue is said."""
    there = deployed(*trained)
    with asking.Asking(there.agent, there.files, server=asking.OLLAMA) as model:
        for question in ("the filesystem of the node is almost full of old files", "who are you?"):
            hits, reply = model.ask(question)
            if reply.stopped:
                assert accepts(model.catalogue, reply.text), reply.text
            else:  # still inside a hole's value when its tokens were used up: never an answer
                assert reply.text.startswith('{"command":'), reply.text
                assert answer.judged(reply, hits, question, {}).escalate


def test_four_bits_are_the_same_four_bits(
    trained: tuple[Agent, Dataset, Bundle], ollama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ollama does not quantise anew what is quantised already."""
    monkeypatch.setenv("OPSLORE_LLAMA_QUANTIZE", str(llama_quantize()))
    agent, dataset, whole = trained
    export = agent.export.model_copy(update={"quantization": "q4_k_m"})
    agent = agent.model_copy(update={"export": export})
    small = steps.export(agent, steps.parent(steps.store_of(agent), whole, Adapter))
    there = deployed(agent, dataset, small)
    odd = compared(there, ollama_server)
    assert len(odd) <= (1 - SHARE) * len(there.asked), odd
