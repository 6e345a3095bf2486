"""One bundle, two decoders: llama.cpp's grammar and Ollama's schema give the same answers.

The schema wraps the command in JSON, so the model reads other tokens before it: where it is not
sure, its words may differ, and then neither may be shown as an answer.
"""

from __future__ import annotations

from pathlib import Path

import new_entries
import pytest
from flow_world import ALERTS
from trained_world import trained

from opslore import asking, config, config_deploy, steps
from opslore.answer import judged
from opslore.bundle.catalogue import grammar
from opslore.cards import Bundle
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import Staged
from opslore.store import sha256

pytest_plugins = ["real.fixtures"]
__all__ = ["trained"]

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
        assert grammar(one.catalogue) == grammar(other.catalogue)
    assert shown >= len(QUESTIONS) / 2, shown
    assert len(differ) <= len(QUESTIONS) * 0.05, differ
