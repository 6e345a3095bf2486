"""A real Ollama: what is installed is what was sent, and it answers as llama.cpp does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ollama_world
import pytest
from ollama_world import SAYS, SYSTEM, client, one_thread  # noqa: F401

from opslore import ggufheader, progress
from opslore.bundle.catalogue import Catalogue, schema
from opslore.cards import Message
from opslore.errors import DataError, IntegrityError, MissingInput, ServerError
from opslore.release.ollama import probe, recipe_of
from opslore.servers import llamacpp
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import Recipe, install, prober, sent_digest, verify
from opslore.store import sha256

pytest_plugins = ["real.fixtures"]

MODEL = "tiny:v20260101-0123abcd"
TURNS = [Message(role="system", content=SYSTEM), Message(role="user", content='Disk "full"?\n ok')]
CONVERSATIONS = [
    TURNS,
    [Message(role="user", content="{{ .System }} <b>&amp;\té\u202e")],
    [*TURNS, Message(role="assistant", content="df -h"), Message(role="user", content="and then?")],
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ollama_world.bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def installed(client: Client, files: Path) -> Recipe:
    gguf, recipe = recipe_of(files)
    assert install(client, MODEL, gguf, sha256(gguf), recipe)
    return recipe


def test_what_is_there_is_what_was_sent(client: Client, files: Path, installed: Recipe) -> None:
    gguf = files / "model.gguf"
    digest = sha256(gguf)
    verify(client, MODEL, gguf, digest, installed, probe(files, gguf), 24)
    shown = client.show(MODEL)
    assert shown["system"] == SYSTEM
    assert shown["template"] == installed.template
    assert sent_digest(shown) == digest
    assert MODEL in client.tags()


def test_installing_again_writes_nothing(client: Client, files: Path, installed: Recipe) -> None:
    before = client.tags()
    heard: list[str] = []
    with progress.listening(lambda what, *rest: heard.append(what)):
        assert not install(
            client, MODEL, files / "model.gguf", sha256(files / "model.gguf"), installed
        )
    assert client.tags() == before
    assert heard == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system": "Be rude."}, "another SYSTEM"),
        ({"template": "{{ .Prompt }}"}, "another TEMPLATE"),
        ({"renderer": "functiongemma"}, "RENDERER none instead of functiongemma"),
        ({"parameters": {"num_ctx": 2048}}, "num_ctx 1024 instead of 2048"),
        ({"parameters": {}}, r"stop \['<|im_end|>'\] instead of None"),
    ],
)
def test_a_name_with_another_recipe_is_refused(
    client: Client, files: Path, installed: Recipe, change: dict[str, object], said: str
) -> None:
    from dataclasses import replace

    gguf = files / "model.gguf"
    before = client.tags()
    with pytest.raises(IntegrityError, match="is there, but is another model") as caught:
        install(client, MODEL, gguf, sha256(gguf), replace(installed, **change))  # type: ignore[arg-type]
    assert said.replace("\\", "") in caught.value.message
    assert f"ollama rm {MODEL}" in caught.value.hint
    assert client.tags() == before


def test_a_name_with_other_weights_is_refused(
    client: Client, installed: Recipe, tmp_path: Path
) -> None:
    other = ollama_world.bundle(tmp_path / "other", ["up", "time", "Ġ-", "p"])
    digest = sha256(other / "model.gguf")
    before = client.tags()
    with pytest.raises(IntegrityError, match=f"not {digest}"):
        install(client, MODEL, other / "model.gguf", digest, installed)
    assert client.tags() == before
    assert not client.has_blob(digest)


def test_bytes_that_are_not_the_digest_are_refused(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" * 1000)
    with pytest.raises(IntegrityError, match="not the file that was sent"):
        client.upload(path, hashlib.sha256(b"other").hexdigest())


def test_a_file_that_is_no_gguf_is_refused(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model " * 1000)
    digest = sha256(path)
    client.upload(path, digest)
    client.upload(path, digest)  # found by its digest, not sent again
    with pytest.raises(ServerError, match="says: "):
        client.create({"model": "broken:1", "files": {"model.gguf": f"sha256:{digest}"}})
    assert "broken:1" not in client.tags()


def test_the_prompt_is_equal_byte_for_byte(
    ollama_server: str, files: Path, installed: Recipe
) -> None:
    make = prober(files / "model.gguf")
    with Server(MODEL, url=ollama_server) as server:
        for turns in CONVERSATIONS:
            wanted = make(turns).prompt
            if turns[0].role != "system":  # a bare user gets the model's own system text
                wanted = make([TURNS[0], *turns]).prompt
            assert server.render(turns) == wanted


def test_a_model_with_another_prompt_is_not_accepted(client: Client, files: Path) -> None:
    from dataclasses import replace

    gguf, recipe = recipe_of(files)
    spaced = replace(recipe, template=recipe.template.replace("<|im_start|>{{", "<|im_start|> {{"))
    model = "tiny:spaced"
    install(client, model, gguf, sha256(gguf), spaced)
    with pytest.raises(DataError, match="reads another prompt than in training: character 12"):
        verify(client, model, gguf, sha256(gguf), spaced, probe(files, gguf), 24)


def test_a_model_that_does_not_stop_is_not_accepted(
    client: Client, tmp_path: Path, ollama_server: str
) -> None:
    """Its end of turn stays unsaid: the last word leads back to the first."""
    files = ollama_world.bundle(tmp_path / "endless", endless=True)
    gguf, recipe = recipe_of(files)
    install(client, "tiny:endless", gguf, sha256(gguf), recipe)
    with pytest.raises(DataError, match="does not stop within 24 tokens"):
        verify(client, "tiny:endless", gguf, sha256(gguf), recipe, probe(files, gguf), 24)


def test_it_says_what_llama_cpp_says_and_stops(
    ollama_server: str, files: Path, installed: Recipe
) -> None:
    with (
        Server(MODEL, url=ollama_server) as server,
        llamacpp.Server(files / "model.gguf", context=1024, threads=1) as local,
    ):
        for turns in CONVERSATIONS[:1]:
            there, here = server.chat(turns), local.chat(turns)
            raw = server.complete(local.render(turns))
            assert there.text == here.text == raw.text == "df -h"
            assert there.stopped
            assert raw.stopped
            assert there.tokens == here.tokens
            assert there.confidence == pytest.approx(here.confidence, abs=0.02)
        assert [reply.text for reply in server.chat_many([TURNS] * 2)] == ["df -h"] * 2


def test_a_schema_limits_what_is_said(ollama_server: str, installed: Recipe) -> None:
    known = Catalogue(templates=["uptime -p", "kubectl get deployment/<deployment> -n (x)"])
    with Server(MODEL, url=ollama_server) as server:
        reply = server.chat(TURNS, format=schema(known))
    assert '"command"' in reply.text
    assert any(word in reply.text for word in ("uptime -p", "kubectl get", "escalate_to_human"))


def test_a_prompt_beyond_the_context_is_an_error_not_a_cut(
    ollama_server: str, installed: Recipe
) -> None:
    long = [Message(role="user", content="disk " * 2000)]
    with Server(MODEL, url=ollama_server) as server:
        assert server.context == 1024
        with pytest.raises(DataError, match="the context has 1024"):
            server.chat(long)


def test_an_unknown_model_is_named(ollama_server: str) -> None:
    with pytest.raises(MissingInput, match="has no model nobody:1"):
        Server("nobody:1", url=ollama_server)


def test_the_name_of_the_server_is_a_backend(files: Path) -> None:
    from opslore import servers

    assert servers.names() == ["llamacpp", "ollama"]
    assert ggufheader.template(files / "model.gguf")
    assert SAYS
