"""Gemma 3 and FunctionGemma in a real Ollama: the same prompts, the same replies, every stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gemma_world
import ollama_world
import pytest
from ollama_world import SYSTEM, client, one_thread  # noqa: F401

from opslore.bundle.catalogue import Catalogue, schema
from opslore.cards import Message
from opslore.config_deploy import Ollama
from opslore.errors import DataError, IntegrityError
from opslore.models import GEMMA_TEMPLATE
from opslore.release.ollama import OllamaTarget, probe, recipe_of
from opslore.servers import llamacpp
from opslore.servers.ollama import Server, parameters
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import install, prober, sent_digest, verify
from opslore.store import sha256

pytest_plugins = ["real.fixtures"]

TEMPLATES = {"base": GEMMA_TEMPLATE, "it": gemma_world.IT, "function": gemma_world.FUNCTION}
FAMILIES = pytest.mark.parametrize("kind", TEMPLATES)
TURNS = [Message(role="system", content=SYSTEM), Message(role="user", content='Disk "full"?\n ok')]
CONVERSATIONS = [
    TURNS,
    [Message(role="user", content=" \t{{ .System }} <b>&amp;\té \n\n")],
    [Message(role="user", content="\n")],
    [*TURNS, Message(role="assistant", content="df -h"), Message(role="user", content="and? ")],
]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, client: Client) -> dict[str, Path]:
    """A tiny Gemma for each template, installed and proved under its kind's name."""
    made = {}
    for kind, template in TEMPLATES.items():
        files = gemma_world.bundle(tmp_path_factory.mktemp(kind), template)
        gguf, recipe = recipe_of(files)
        digest = sha256(gguf)
        assert install(client, f"{kind}:1", gguf, digest, recipe)
        verify(client, f"{kind}:1", gguf, digest, recipe, probe(files, gguf), 24)
        made[kind] = files
    return made


@FAMILIES
def test_what_is_there_is_what_was_sent(
    kind: str,
    client: Client,
    bundles: dict[str, Path],
) -> None:
    shown = client.show(f"{kind}:1")
    gguf, recipe = recipe_of(bundles[kind])
    assert sent_digest(shown) == sha256(gguf)
    assert shown["system"] == SYSTEM
    assert parameters(shown)["stop"][0] == "<end_of_turn>"
    said = [line for line in shown["modelfile"].splitlines() if line.split(" ")[0].isupper()]
    rendered = {"RENDERER functiongemma", "PARSER functiongemma"}
    if kind == "function":
        assert rendered <= set(said)
        assert recipe.template == ""
    else:
        assert not rendered & set(said)
        assert shown["template"] == recipe.template


@FAMILIES
def test_the_prompt_is_equal_byte_for_byte(
    kind: str, ollama_server: str, bundles: dict[str, Path]
) -> None:
    make = prober(bundles[kind] / "model.gguf")
    with Server(f"{kind}:1", url=ollama_server) as server:
        for turns in CONVERSATIONS:
            whole = turns if turns[0].role == "system" else [TURNS[0], *turns]
            wanted = make(whole)
            assert wanted.bos == "<bos>"
            assert server.render(turns).removeprefix(wanted.bos) == wanted.prompt


@FAMILIES
def test_it_says_what_llama_cpp_says_from_one_first_token(
    kind: str,
    ollama_server: str,
    client: Client,
    bundles: dict[str, Path],
) -> None:
    with (
        Server(f"{kind}:1", url=ollama_server) as server,
        llamacpp.Server(bundles[kind] / "model.gguf", context=1024, threads=1) as local,
    ):
        there, here = server.chat(TURNS), local.chat(TURNS)
        raw = server.complete(local.render(TURNS).removeprefix("<bos>"))
        request = {**server._request(TURNS), "stream": False, "options": {"num_predict": 1}}
        read = client.once("POST", "/api/chat", request)["prompt_eval_count"]
        prompt = prober(bundles[kind] / "model.gguf")(TURNS).prompt
        asked = {"prompt": prompt, "max_tokens": 1, "cache_prompt": False}
        usage = local._engines[0].handle_completions(asked)["usage"]
    assert there.text == here.text == raw.text == "df -h"
    assert there.stopped
    assert there.tokens == here.tokens
    assert read == usage["prompt_tokens"]


@FAMILIES
def test_a_schema_limits_what_is_said(
    kind: str, ollama_server: str, bundles: dict[str, Path]
) -> None:
    known = Catalogue(templates=["uptime -p", "df -h"])
    with Server(f"{kind}:1", url=ollama_server) as server:
        reply = server.chat(TURNS, format=schema(known))
    assert '"command"' in reply.text
    assert reply.stopped


def test_a_model_without_its_parser_is_another_model(
    client: Client,
    bundles: dict[str, Path],
) -> None:
    gguf, recipe = recipe_of(bundles["function"])
    digest = sha256(gguf)
    assert install(client, "function:plain", gguf, digest, replace(recipe, parser=""))
    with pytest.raises(IntegrityError, match="PARSER none instead of functiongemma"):
        install(client, "function:plain", gguf, digest, recipe)


def test_a_renderer_that_writes_another_prompt_is_noticed_before_a_pointer_moves(
    client: Client,
    ollama_server: str,
    tmp_path: Path,
) -> None:
    files = gemma_world.bundle(tmp_path / "other", gemma_world.OTHER)
    target = OllamaTarget(Ollama(url=ollama_server), "other")
    with pytest.raises(DataError, match="reads another prompt than in training: character 25") as e:
        target.stage(ollama_world.staged(files, ollama_world.VERSIONS[0]))
    assert "RENDERER functiongemma is a part of Ollama" in e.value.hint
    assert target.now() is None
    assert "other:latest" not in client.tags()
