"""Deploying to a real Ollama: staged, pointed to, put back; readers never see half of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ollama_world
import pytest
from ollama_faults import Faults, lines, plain, serving
from ollama_world import VERSIONS, one_thread, staged  # noqa: F401

from opslore import progress
from opslore.config_deploy import Ollama
from opslore.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    MissingInput,
    OpsloreError,
    ServerError,
)
from opslore.release.ollama import OllamaTarget
from opslore.release.targets import switch
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client

pytest_plugins = ["real.fixtures"]

OTHER = ["up", "time", "Ġ-", "p"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles whose models say different things."""
    root = tmp_path_factory.mktemp("bundles")
    return [ollama_world.bundle(root / "one"), ollama_world.bundle(root / "two", OTHER)]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own in the one server."""
    plain = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())
    return plain.strip("-")[-60:].strip("-")


@pytest.fixture
def target(ollama_server: str, name: str) -> OllamaTarget:
    return OllamaTarget(Ollama(url=ollama_server, model=name), "parrot")


@pytest.fixture
def client(ollama_server: str) -> Iterator[Client]:
    with Client(ollama_server) as found:
        yield found


def written(client: Client) -> list[tuple[str, str, str]]:
    """Every tag, its digest and when it was written; the server tells them in any order."""
    listed = client.ask("GET", "/api/tags")["models"]
    return sorted((tag["name"], tag["digest"], tag["modified_at"]) for tag in listed)


def says(url: str, model: str) -> str:
    from opslore.cards import Message

    with Server(model, url=url) as server:
        return server.chat([Message(role="user", content="disk?")]).text


def test_from_nothing_to_a_live_answer_and_back(
    target: OllamaTarget, bundles: list[Path], ollama_server: str, client: Client
) -> None:
    first, second = VERSIONS[:2]
    target.stage(staged(bundles[0], first))
    assert target.now() is None
    assert (target.version(), target.versions()) == ("", [first])
    assert switch([target], "parrot", first) == [target.name]
    assert target.version() == first
    assert says(ollama_server, f"{target.model}:latest") == "df -h"

    target.stage(staged(bundles[1], second))
    assert says(ollama_server, f"{target.model}:latest") == "df -h"
    switch([target], "parrot", second)
    assert says(ollama_server, f"{target.model}:latest") == "uptime -p"
    assert target.versions() == [first, second]

    switch([target], "parrot", first)
    assert says(ollama_server, f"{target.model}:latest") == "df -h"
    assert says(ollama_server, f"{target.model}:{second}") == "uptime -p"


def test_a_second_time_writes_nothing(
    target: OllamaTarget, bundles: list[Path], client: Client
) -> None:
    target.stage(staged(bundles[0], VERSIONS[0]))
    switch([target], "parrot", VERSIONS[0])
    before = written(client)
    heard: list[str] = []
    with progress.listening(lambda what, *rest: heard.append(what)):
        target.stage(staged(bundles[0], VERSIONS[0]))
        assert switch([target], "parrot", VERSIONS[0]) == []
    assert written(client) == before
    assert set(heard) <= {"switch"}


def test_a_new_pointer_is_taken_away_when_another_target_refuses(
    target: OllamaTarget, bundles: list[Path], client: Client
) -> None:
    class Refusing:
        name = "values.yaml"

        def now(self) -> str | None:
            return "old"

        def aim(self, agent: str, version: str) -> str:
            return version

        def move(self, state: str | None) -> None:
            raise ServerError("the API refuses")

        def stage(self, release: object) -> None:
            pass

    target.stage(staged(bundles[0], VERSIONS[0]))
    with pytest.raises(ServerError, match="the API refuses"):
        switch([target, Refusing()], "parrot", VERSIONS[0])
    assert target.now() is None
    assert f"{target.model}:{VERSIONS[0]}" in client.tags()


def test_an_old_pointer_is_put_back_letter_by_letter(
    target: OllamaTarget, bundles: list[Path]
) -> None:
    target.stage(staged(bundles[0], VERSIONS[0]))
    target.move(target.aim("parrot", VERSIONS[0]))
    before = target.now()
    target.stage(staged(bundles[1], VERSIONS[1]))
    target.move(target.aim("parrot", VERSIONS[1]))
    assert target.now() != before
    target.move(before)
    assert target.now() == before
    assert target.version() == VERSIONS[0]


def test_a_latest_of_somebody_else_is_refused_and_left(
    target: OllamaTarget, bundles: list[Path], client: Client
) -> None:
    from opslore.store import sha256

    gguf = bundles[0] / "model.gguf"
    client.upload(gguf, sha256(gguf))
    theirs = {"model": f"{target.model}:latest", "files": {"m.gguf": f"sha256:{sha256(gguf)}"}}
    client.create({**theirs, "system": "I am somebody else's."})
    before = client.tags()
    with pytest.raises(ConfigError, match="opslore did not make it") as caught:
        target.stage(staged(bundles[1], VERSIONS[1]))
    assert "nothing was changed" in caught.value.hint
    assert client.tags() == before


def test_a_version_taken_by_another_model_is_refused_and_left(
    target: OllamaTarget, bundles: list[Path], client: Client
) -> None:
    target.stage(staged(bundles[0], VERSIONS[0]))
    before = client.tags()
    with pytest.raises(IntegrityError, match="is there, but is another model"):
        target.stage(staged(bundles[1], VERSIONS[0]))
    assert client.tags() == before


def test_a_latest_without_a_version_is_kept_when_it_moves_on(
    target: OllamaTarget, bundles: list[Path], client: Client, ollama_server: str
) -> None:
    for version, files in zip(VERSIONS, bundles, strict=False):
        target.stage(staged(files, version))
    target.move(target.aim("parrot", VERSIONS[0]))
    before = target.now()
    assert before is not None
    client.delete(f"{target.model}:{VERSIONS[0]}")  # somebody tidied up
    target.stage(staged(bundles[1], VERSIONS[1]))
    target.move(target.aim("parrot", VERSIONS[1]))
    target.move(before)
    assert target.now() == before
    assert says(ollama_server, f"{target.model}:latest") == "df -h"
    assert f"{target.model}:kept-{before[:12]}" in client.tags()


def test_a_version_that_was_never_staged_is_named(target: OllamaTarget) -> None:
    with pytest.raises(MissingInput, match=f"has no {target.model}:{VERSIONS[2]}"):
        target.aim("parrot", VERSIONS[2])
    with pytest.raises(MissingInput, match="with digest 0123456789ab"):
        target.move("0123456789abcdef" * 4)
    with pytest.raises(DataError, match="not a release version"):
        target.aim("parrot", "../../etc")


def test_a_bundle_whose_modelfile_was_touched_is_refused_before_anything_is_sent(
    target: OllamaTarget, tmp_path: Path, client: Client
) -> None:
    files = ollama_world.bundle(tmp_path / "b")
    (files / "Modelfile").write_text((files / "Modelfile").read_text() + "ADAPTER ./x.gguf\n")
    before = client.tags()
    with pytest.raises(IntegrityError, match="not what `export` writes"):
        target.stage(staged(files, VERSIONS[0]))
    assert client.tags() == before


def test_no_reader_sees_nothing_while_the_pointer_moves(
    target: OllamaTarget, bundles: list[Path], ollama_server: str
) -> None:
    states = []
    for version, files in zip(VERSIONS, bundles, strict=False):
        target.stage(staged(files, version))
        states.append(target.aim("parrot", version))
    target.move(states[0])
    latest, wrong, seen = f"{target.model}:latest", [], set()
    stop = threading.Event()

    def read() -> None:
        with Client(ollama_server) as client:
            while not stop.is_set():
                answer = client.http.post("/api/show", json={"model": latest})
                if answer.status_code != 200:
                    wrong.append(answer.text)
                else:
                    seen.add(answer.json()["license"])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 6
    moves = 0
    while time.monotonic() < end:
        moves += 1
        target.move(states[moves % 2])
    stop.set()
    for reader in readers:
        reader.join(10)
    assert wrong == []
    assert len(seen) == 2
    assert moves > 5


def test_a_server_of_another_machine_moves_by_its_own_copy(
    target: OllamaTarget, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server's folder is not ours, only its API is left."""
    monkeypatch.setattr(OllamaTarget, "_folder", lambda *given: None)
    for version, files in zip(VERSIONS, bundles, strict=False):
        target.stage(staged(files, version))
        target.move(target.aim("parrot", version))
        assert target.version() == version


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("POST /api/blobs/sha256:{}", "no space left on device"),
        ("POST /api/create", "no space left on device"),
    ],
)
def test_a_deploy_that_fails_leaves_every_pointer(
    bundles: list[Path], call: str, said: str
) -> None:
    """Over a server that breaks at this call; whatever would change a tag is never called."""
    from opslore.store import sha256

    digest = sha256(bundles[0] / "model.gguf")
    with serving(Faults()) as faults:
        faults.on("GET /api/version", plain(200, {"version": "0.32.15"}))
        faults.on("GET /api/tags", plain(200, {"models": []}))
        faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(404))
        faults.on(f"POST /api/blobs/sha256:{digest}", plain(201))
        faults.on("POST /api/create", lines({"status": "success"}))
        faults.on(call.format(digest), plain(500, {"error": said}))
        target = OllamaTarget(Ollama(url=faults.url), "parrot")
        with pytest.raises(OpsloreError, match="has no space left"):
            target.stage(staged(bundles[0], VERSIONS[0]))
        changed = [c for c, _ in faults.heard if c in ("POST /api/copy", "DELETE /api/delete")]
    assert changed == []


def test_an_answer_that_was_lost_after_the_work_was_done(bundles: list[Path]) -> None:
    """`create` breaks off, but the model is there and is the one: nothing is made twice."""
    from opslore.release.ollama import recipe_of
    from opslore.servers.ollama_install import install
    from opslore.store import sha256

    gguf, recipe = recipe_of(bundles[0])
    digest, model = sha256(gguf), "parrot:v20260101-00000001"
    shown = {
        "license": f"opslore model.gguf sha256:{digest}",
        "template": recipe.template,
        "system": recipe.system,
        "parameters": "repeat_penalty 1\nnum_ctx 1024\ntemperature 0\nnum_predict 24\n"
        'stop "<|im_end|>"',
    }
    listed = plain(200, {"models": [{"name": model, "digest": "0"}]})
    with serving(Faults()) as faults, Client(faults.url) as client:
        faults.on("GET /api/version", plain(200, {"version": "0.32.15"}))
        faults.on("GET /api/tags", plain(200, {"models": []}), listed)
        faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(200))
        faults.on("POST /api/create", lines({"status": "writing manifest"}, cut=True))
        faults.on("POST /api/show", plain(200, shown))
        assert install(client, model, gguf, digest, recipe)
        assert faults.count("POST /api/create") == 1
        faults.on("GET /api/tags", plain(200, {"models": []}))
        with pytest.raises(ServerError, match="broke the connection"):
            install(client, model, gguf, digest, recipe)
