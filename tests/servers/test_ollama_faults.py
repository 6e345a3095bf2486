"""What an Ollama can do wrong, each over a real socket: one clear error, nothing half done."""

from __future__ import annotations

import hashlib
import math
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import ollama_faults
import pytest
from ollama_faults import Faults, lines, plain, reset, silent

from opslore import progress
from opslore.cards import Message
from opslore.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    MissingInput,
    OpsloreError,
    ServerError,
)
from opslore.servers import ollama_wire
from opslore.servers.ollama import Server, parameters
from opslore.servers.ollama_client import Client

TURNS = [Message(role="user", content="Pod down?")]
VERSION = plain(200, {"version": "0.32.15"})
SHOWN = {"parameters": 'num_ctx                        64\nstop      "<|im_end|>"\nstop  "\\n\\""'}
DONE = {"done": True, "done_reason": "stop", "eval_count": 3, "prompt_eval_count": 9}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_wire, "WAIT", 0.01)


@pytest.fixture
def faults() -> Iterator[Faults]:
    with ollama_faults.serving() as found:
        yield found.on("GET /api/version", VERSION).on("POST /api/show", plain(200, SHOWN))


@pytest.fixture
def client(faults: Faults) -> Iterator[Client]:
    with Client(faults.url) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(range(256)) * 20_000)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def piece(text: str, logprob: float = -0.1) -> dict[str, object]:
    return {
        "message": {"role": "assistant", "content": text},
        "done": False,
        "logprobs": [{"token": text, "logprob": logprob}],
    }


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ServerError) as caught:
        client.version()
    assert f"127.0.0.1:{port} cannot be reached" in caught.value.message
    assert "ollama serve" in caught.value.hint
    assert caught.value.retryable
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("url", ["ftp://here", "http://", "http://me:word@here:11434"])
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client(url)
    assert "word" not in str(caught.value).replace("name or password", "")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("0.17.0", "is version 0.17.0, too old"),
        ("0.9.12", "is version 0.9.12, too old"),
        ("", "says that it is version ''"),
    ],
)
def test_a_version_that_is_too_old(faults: Faults, client: Client, said: str, error: str) -> None:
    faults.on("GET /api/version", plain(200, {"version": said}))
    with pytest.raises(ServerError, match=error):
        client.version()


@pytest.mark.parametrize("said", ["0.17.1", "0.32.15", "1.0.0-rc1", "0.0.0"])
def test_a_version_that_will_do(faults: Faults, client: Client, said: str) -> None:
    faults.on("GET /api/version", plain(200, {"version": said}))
    assert client.version() == said


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(faults: Faults, client: Client, status: int) -> None:
    busy = plain(status, {"error": "server busy"})
    faults.on("GET /api/tags", busy, busy, plain(200, {"models": [{"name": "a:b", "digest": "c"}]}))
    assert client.tags() == {"a:b": "c"}
    assert faults.count("GET /api/tags") == 3


def test_a_server_that_stays_broken_is_reported_after_three_tries(
    faults: Faults, client: Client
) -> None:
    faults.on("POST /api/show", plain(500, {"error": "EOF"}))
    with pytest.raises(ServerError, match="says: EOF") as caught:
        client.show("a:b")
    assert caught.value.retryable
    assert faults.count("POST /api/show") == 3


def test_patience_is_what_the_server_asks_for_and_no_more(faults: Faults, client: Client) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    busy = plain(503, {"error": "busy"}, Retry_After=later)
    faults.on("GET /api/tags", plain(503, {"error": "busy"}, Retry_After="1"), busy)
    started = time.monotonic()
    with pytest.raises(ServerError, match="busy"):
        client.tags()
    assert 1 <= time.monotonic() - started < 5
    assert faults.count("GET /api/tags") == 2


@pytest.mark.parametrize("call", ["copy", "delete", "create"])
def test_what_changes_something_is_asked_once(faults: Faults, client: Client, call: str) -> None:
    faults.on("POST /api/copy", plain(500, {"error": "x"}))
    faults.on("DELETE /api/delete", plain(500, {"error": "x"}))
    faults.on("POST /api/create", plain(500, {"error": "x"}))
    with pytest.raises(ServerError, match="says: x"):
        {
            "copy": lambda: client.copy("a:b", "a:c"),
            "delete": lambda: client.delete("a:b"),
            "create": lambda: client.create({"model": "a:b"}),
        }[call]()
    assert len(faults.heard) == 1


def test_an_unknown_model(faults: Faults) -> None:
    faults.on("POST /api/show", plain(404, {"error": "model 'a:b' not found"}))
    with pytest.raises(MissingInput, match="has no model a:b") as caught:
        Server("a:b", url=faults.url)
    assert "opslore deploy" in caught.value.hint
    assert faults.count("POST /api/show") == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (plain(200, b"<html>Sign in</html>"), "answers '<html>Sign in</html>', which is no JSON"),
        (plain(200, b"[1]"), "which is no JSON object"),
        (plain(200, {"models": [1]}), r"lists its models as \[1\]"),
        (plain(302, b"", Location="http://169.254.169.254/"), "sends us on to http://169.254"),
        (plain(401, b"<html>"), "asks for a login"),
        (plain(400, {"error": "bad"}), "says: bad"),
        (plain(418, b"teapot"), "says: HTTP 418"),
    ],
)
def test_something_that_is_no_ollama(
    faults: Faults, client: Client, answer: ollama_faults.Answer, said: str
) -> None:
    faults.on("GET /api/tags", answer)
    with pytest.raises(ServerError, match=said):
        client.tags()
    assert faults.count("GET /api/tags") == 1


def test_a_server_that_says_nothing(
    faults: Faults, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "http", httpx.Client(base_url=faults.url, timeout=0.2))
    monkeypatch.setattr(ollama_wire, "TRIES", 2)
    faults.on("HEAD /api/blobs/sha256:0", silent(2))
    with pytest.raises(ServerError, match="stopped answering") as caught:
        client.has_blob("0")
    assert caught.value.retryable


def test_a_file_is_sent_whole_and_reported(
    faults: Faults, client: Client, file: tuple[Path, str]
) -> None:
    path, digest = file
    faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(404))
    faults.on(f"POST /api/blobs/sha256:{digest}", plain(201))
    heard: list[tuple[str, int, int]] = []
    with progress.listening(lambda what, done, total, note: heard.append((what, done, total))):
        client.upload(path, digest)
    size = path.stat().st_size
    sent = [body for call, body in faults.heard if call.startswith("POST")]
    assert [hashlib.sha256(body).hexdigest() for body in sent] == [digest]
    assert heard[-1] == ("upload", size, size)
    assert len(heard) == -(-size // (1 << 20))


def test_a_file_that_is_there_is_not_sent(
    faults: Faults, client: Client, file: tuple[Path, str]
) -> None:
    faults.on(f"HEAD /api/blobs/sha256:{file[1]}", plain(200))
    client.upload(*file)
    assert [call for call, _ in faults.heard] == [f"HEAD /api/blobs/sha256:{file[1]}"]


def test_a_broken_upload_is_looked_up_before_it_is_sent_again(
    faults: Faults, client: Client, file: tuple[Path, str]
) -> None:
    path, digest = file
    faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(404), plain(404), plain(200))
    faults.on(f"POST /api/blobs/sha256:{digest}", reset, plain(500, {"error": "EOF"}))
    client.upload(path, digest)  # the second answer was lost after the work was done
    assert faults.count(f"HEAD /api/blobs/sha256:{digest}") == 3
    assert faults.count(f"POST /api/blobs/sha256:{digest}") == 1


def test_a_wrong_digest(faults: Faults, client: Client, file: tuple[Path, str]) -> None:
    path, digest = file
    said = f'digest mismatch, expected "sha256:{digest}", got "sha256:0"'
    faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(404))
    faults.on(f"POST /api/blobs/sha256:{digest}", plain(400, {"error": said}))
    with pytest.raises(IntegrityError, match="not the file that was sent"):
        client.upload(path, digest)
    assert faults.count(f"POST /api/blobs/sha256:{digest}") == 1


@pytest.mark.parametrize("said", ["write /m/x: no space left on device", "disk quota exceeded"])
def test_a_full_disk(faults: Faults, client: Client, file: tuple[Path, str], said: str) -> None:
    path, digest = file
    faults.on(f"HEAD /api/blobs/sha256:{digest}", plain(404))
    faults.on(f"POST /api/blobs/sha256:{digest}", plain(500, {"error": said}))
    faults.on("POST /api/create", lines({"status": "parsing GGUF"}, {"error": said}))
    for call in (lambda: client.upload(path, digest), lambda: client.create({"model": "a:b"})):
        with pytest.raises(ServerError, match="has no space left") as caught:
            call()
        assert "nothing was deleted" in caught.value.hint
    assert faults.count("DELETE /api/delete") == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lines({"status": "parsing GGUF"}, {"error": "bad template"}), "says: bad template"),
        (lines({"status": "parsing GGUF"}), "broke off while it made a:b, after 'parsing GGUF'"),
        (lines({"status": "parsing GGUF"}, cut=True), "broke the connection"),
        (lines({"status": "x"}, b'{"status": "suc'), "which is no JSON object"),
        (lines(), "broke off"),
    ],
)
def test_a_creation_that_goes_wrong_after_the_first_byte(
    faults: Faults, client: Client, answer: ollama_faults.Answer, said: str
) -> None:
    faults.on("POST /api/create", answer)
    with pytest.raises(ServerError, match=said):
        client.create({"model": "a:b"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lines(piece("ku"), {"error": "llama runner died"}), "says: llama runner died"),
        (lines(piece("ku"), piece("be")), "broke off in the middle of an answer of a:b"),
        (lines(piece("ku"), cut=True), "broke the connection"),
        (plain(503, {"error": "server busy"}), "server busy"),
    ],
)
def test_an_answer_that_goes_wrong_after_the_first_byte(
    faults: Faults, answer: ollama_faults.Answer, said: str
) -> None:
    faults.on("POST /api/chat", answer)
    with Server("a:b", url=faults.url) as server, pytest.raises(ServerError, match=said):
        server.chat(TURNS)
    assert faults.count("POST /api/chat") == 1


def test_an_answer(faults: Faults) -> None:
    faults.on("POST /api/chat", lines(piece("ku", -0.2), piece("be", -0.4), DONE))
    with Server("a:b", url=faults.url, threads=1) as server:
        assert server.context == 64
        reply = server.chat(TURNS, max_tokens=5)
    assert (reply.text, reply.stopped, reply.tokens) == ("kube", True, 3)
    assert reply.confidence == pytest.approx(0.7408, abs=1e-4)
    (sent,) = faults.bodies("POST /api/chat")
    assert "format" not in sent
    assert sent["truncate"] is False
    assert sent["options"] == {
        "temperature": 0,
        "top_k": 1,
        "seed": 0,
        "repeat_penalty": 1.0,
        "num_predict": 5,
        "num_thread": 1,
    }


def test_confidence_in_json_is_that_of_the_value(faults: Faults) -> None:
    """Braces and keys do not count; a token that holds one letter of the value does."""
    said = [piece('{"', -9), piece("command", -8), piece('": "d', -0.3), piece("f -h", -0.1)]
    faults.on("POST /api/chat", lines(*said, piece('"}', -7), DONE))
    with Server("a:b", url=faults.url) as server:
        limit = {"type": "object"}
        assert server.chat(TURNS, format=limit).confidence == pytest.approx(0.8187, abs=1e-4)
        assert faults.bodies("POST /api/chat")[0]["format"] == limit
        faults.on("POST /api/chat", lines(piece("no json", -0.1), DONE))
        assert math.isnan(server.chat(TURNS, format={}).confidence)


def test_an_answer_that_was_cut_did_not_stop(faults: Faults) -> None:
    faults.on("POST /api/chat", lines(piece("ku"), {**DONE, "done_reason": "length"}))
    with Server("a:b", url=faults.url) as server:
        assert not server.chat(TURNS).stopped


def test_an_answer_that_ollama_gave_up_as_endless_did_not_stop(faults: Faults) -> None:
    faults.on("POST /api/chat", lines(piece("no"), *[piece(" ha")] * 32))
    with Server("a:b", url=faults.url) as server:
        reply = server.chat(TURNS)
    assert not reply.stopped
    assert reply.text.startswith("no ha ha")


@pytest.mark.parametrize(
    "answer",
    [
        plain(400, {"error": "request (99 tokens) exceeds the available context size (64 tokens)"}),
        lines(piece("ku"), {**DONE, "prompt_eval_count": 62}),
    ],
)
def test_a_prompt_beyond_the_context_is_an_error_not_a_cut(
    faults: Faults, answer: ollama_faults.Answer
) -> None:
    faults.on("POST /api/chat", answer)
    with (
        Server("a:b", url=faults.url) as server,
        pytest.raises(DataError, match="the context has 64") as caught,
    ):
        server.chat(TURNS)
    assert "prepare.entries" in caught.value.hint


def test_what_this_server_cannot_do(faults: Faults, tmp_path: Path) -> None:
    with Server("a:b", url=faults.url) as server:
        with pytest.raises(ConfigError, match="no GBNF grammar"):
            server.chat(TURNS, grammar='root ::= "x"')
        faults.on("POST /api/chat", plain(200, {"message": {"content": "hello"}, "done": True}))
        with pytest.raises(ServerError, match="does not show the prompt"):
            server.render(TURNS)
    with pytest.raises(ConfigError, match="by its name"):
        Server(tmp_path / "model.gguf")


def test_parameters_are_read_as_go_writes_them() -> None:
    said = 'num_ctx   4096\ntemperature 0\nstop "<|im_end|>"\nstop "a\\tb\\"\\u00e9"\nuse_mmap true'
    assert parameters({"parameters": said}) == {
        "num_ctx": 4096,
        "temperature": 0,
        "use_mmap": True,
        "stop": ["<|im_end|>", 'a\tb"\u00e9'],
    }
    assert parameters({}) == {}


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b'{"models": 5}', b"null", b"{}"])
def test_odd_bytes_are_no_traceback_of_a_library(
    faults: Faults, client: Client, body: bytes
) -> None:
    faults.on("GET /api/tags", plain(200, body))
    try:
        found = client.tags()
    except OpsloreError:
        found = {}
    assert found == {}
