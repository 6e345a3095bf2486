"""One bundle, two decoders: llama.cpp's grammar and Ollama's schema give the same answers.

Ollama knows no grammar, only a JSON schema, and JSON before the command changes what a model says.
So the reply without a limit counts where the grammar would let it through; the schema is the rest.
"""

from __future__ import annotations

from pathlib import Path

import new_entries
import pytest
from flow_world import ALERTS

from opslore import asking, config, config_deploy, steps
from opslore.answer import judged
from opslore.cards import Bundle
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged
from opslore.store import sha256

pytest_plugins = ["real.fixtures", "trained_world"]

VERSION = "v20260101-00000001"
QUESTIONS = [
    *(f"{title} namespace=shop pod=web-0 node=worker1" for _, title, _, _ in ALERTS),
    *(f"help, {symptoms}" for _, _, symptoms, _ in ALERTS),
    *(one.question for one in new_entries.ENTRIES[:6]),
]


@pytest.mark.slow
def test_grammar_and_schema_give_the_same_answers(
    trained: Path, ollama_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(QUESTIONS) >= 30
    monkeypatch.chdir(trained)
    monkeypatch.setenv("OPSLORE_OLLAMA_THREADS", "1")
    agent = config.load(Path("agent.yaml"))
    home = steps.store_of(agent)
    files = home.path(home.latest(Bundle))
    digest = sha256(files / "model.gguf")
    target = OllamaTarget(config_deploy.Ollama(url=ollama_server), agent.name)
    target.stage(Staged(agent.name, VERSION, files, str(files), digest))

    differ, shown = {}, 0
    with (
        asking.Asking(agent, files, server="llamacpp") as one,
        asking.Asking(
            agent,
            files,
            server=asking.OLLAMA,
            model=f"{target.model}:{VERSION}",
            url=ollama_server,
        ) as other,
    ):
        for question in QUESTIONS:
            hits, by_grammar = one.ask(question)
            _, by_schema = other.ask(question)
            answers = [judged(reply, hits, question, {}) for reply in (by_grammar, by_schema)]
            commands = [answer.command for answer in answers]
            if commands[0] != commands[1]:
                differ[question] = commands
                # Never two commands: one of the two asks a person.
                assert any(answer.escalate for answer in answers), commands
            shown += not answers[0].escalate
    assert shown >= len(QUESTIONS) / 2, shown
    assert len(differ) <= len(QUESTIONS) * 0.05, differ
