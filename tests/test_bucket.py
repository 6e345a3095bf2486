"""The store in a bucket, against a real S3 server: whole, found again, honest when it breaks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flow_world
import pytest
from between import CUT, LOST, Answer, Between, Call, between
from obstore.store import MemoryStore

from opslore import bucket, claim, config, mirror, s3, steps, store
from opslore.bucket import Bucket
from opslore.cards import Bundle, Corpus, Dataset
from opslore.errors import ConfigError, IntegrityError, MissingInput, OpsloreError, ServerError
from opslore.store import NotMade, Store

pytest_plugins = ["real.fixtures"]

FIELDS = {"documents": 1, "dropped": 0, "digest": "d"}
BIG = bytes(range(256)) * (80 << 10)
"""20 MiB: three parts of a multipart upload."""
NAMES = ["card.json", "documents.jsonl", "empty", "files.json", "merged/deep/weights"]


def make(work: Path) -> dict[str, Any]:
    (work / "documents.jsonl").write_text("{}\n")
    (work / "empty").touch()
    (work / "merged" / "deep").mkdir(parents=True)
    (work / "merged" / "deep" / "weights").write_bytes(b"weights")
    return FIELDS


def big(work: Path) -> dict[str, Any]:
    (work / "weights").write_bytes(BIG)
    return FIELDS


def never(work: Path) -> dict[str, Any]:
    pytest.fail("made anew")


@dataclass
class World:
    """An S3 server behind a proxy, and machines that share nothing but it."""

    proxy: Between
    uri: str
    folder: Path
    patch: pytest.MonkeyPatch
    environment: dict[str, str] = field(default_factory=dict)

    def machine(self, name: str) -> Store:
        self.patch.setenv("OPSLORE_CACHE", str(self.folder / name))
        return store.opened(self.uri, "sre")

    def run(self, name: str, script: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, self.uri, *words],
            env={**os.environ, **self.environment, "OPSLORE_CACHE": str(self.folder / name)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def writes(self) -> list[str]:
        return self.proxy.methods("PUT", "POST", "DELETE")


@pytest.fixture
def world(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with between(s3_server.url) as proxy:
        environment = {**s3_server.environment(), "AWS_ENDPOINT_URL": proxy.url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        uri = f"s3://ml-{secrets.token_hex(6)}/team/models"
        yield World(proxy, uri, tmp_path, monkeypatch, environment)


@pytest.fixture
def memory(tmp_path: Path) -> Callable[[str], Store]:
    """Machines on a bucket in memory: for what needs no server."""
    client = MemoryStore()
    place = s3.Place("ml", "p")
    return lambda name: Store(tmp_path / name, "sre", Bucket(place, client))


# What was made is found, on this machine and on every other.


def test_a_second_machine_finds_everything_and_makes_nothing(world: World) -> None:
    here = world.machine("here")
    corpus = here.made(Corpus, {}, [], make, facts=["a"])
    dataset = {"splits": {"train": 1}, "dropped": 0, "digest": "e"}
    here.made(Dataset, {}, [corpus], lambda work: dataset)

    there = world.machine("there")
    assert there.root != here.root
    world.proxy.forget()
    assert there.made(Corpus, {}, [], never, facts=["a"]) == corpus
    assert there.latest(Corpus) == corpus
    assert there.cards(Corpus) == [corpus]
    found = there.made(Dataset, {}, [corpus], never)
    assert there.find(Corpus, found.parents[0]) == corpus
    assert world.writes() == []
    assert not there.folder(Corpus, corpus.id).exists()  # cards alone, until files are asked for
    assert mirror.listing(there.path(corpus)) == mirror.listing(here.path(corpus))
    assert sorted(p.name for p in there.path(corpus).parent.iterdir()) == [corpus.id[:16]]

    keys = there.bucket.sizes("sre/corpus")  # type: ignore[union-attr]
    folder = f"sre/corpus/{corpus.id[:16]}"
    assert sorted(keys) == [*(f"{folder}/{name}" for name in NAMES), "sre/corpus/latest"]


def test_the_id_is_the_one_on_disk(world: World, tmp_path: Path) -> None:
    inside = world.machine("here").made(Corpus, {"x": 1}, [], make, facts=["a"])
    on_disk = Store(tmp_path / "runs", "sre").made(Corpus, {"x": 1}, [], make, facts=["a"])
    assert inside.model_copy(update={"created": on_disk.created}) == on_disk


def test_a_run_with_nothing_to_do_writes_nothing(world: World) -> None:
    home = world.machine("here")
    first = home.made(Corpus, {}, [], make)
    archive = world.folder / "x.tar.gz"
    archive.write_bytes(BIG)
    home.upload(archive, "sre/v1/x.tar.gz")
    home.point("current", "v1", None)
    puts = len(world.proxy.methods("PUT"))
    assert puts >= len(NAMES)
    world.proxy.forget()
    for _ in range(3):
        home = world.machine("here")
        assert home.made(Corpus, {}, [], never) == first
        home.upload(archive, "sre/v1/x.tar.gz")
        home.point("current", "v1", "v1")
    assert world.writes() == []


def test_latest_moves_with_the_run_that_was_last(world: World) -> None:
    here, there = world.machine("here"), world.machine("there")
    first = here.made(Corpus, {}, [], make, facts=["a"])
    second = there.made(Corpus, {}, [], make, facts=["b"])
    assert here.latest(Corpus) == second
    here.made(Corpus, {}, [], never, facts=["a"])
    assert there.latest(Corpus) == first


def test_a_large_file_goes_in_parts_with_digests_and_comes_in_ranges(world: World) -> None:
    here = world.machine("here")
    card = here.made(Corpus, {}, [], big)
    parts = [path for path in world.proxy.methods("PUT") if "partNumber" in path]
    assert len(parts) == 3
    weights = next(c for c in world.proxy.calls if c.method == "POST" and "uploads" in c.path)
    assert "weights" in weights.path
    world.proxy.forget()
    there = world.machine("there")
    assert (there.path(card) / "weights").read_bytes() == BIG
    assert sum("weights" in path for path in world.proxy.methods("GET")) == 3


def test_what_was_made_before_the_bucket_was_reached_is_not_made_again(world: World) -> None:
    here = world.machine("here")
    assert here.bucket is not None
    here.bucket.ready()
    world.proxy.rule = lambda call: CUT if call.method == "PUT" else None
    world.patch.setattr(s3, "RETRIES", 0)
    with pytest.raises(ServerError, match="does not answer"):
        world.machine("here").made(Corpus, {}, [], make)
    world.proxy.forget()
    with store.finding(), pytest.raises(NotMade) as caught:
        here.made(Corpus, {}, [], never)
    assert caught.value.begun
    card = here.made(Corpus, {}, [], never)
    assert world.machine("there").latest(Corpus) == card


# Killed, and beside others.

SCRIPT = """
import sys, os
from pathlib import Path
from opslore import claim, store
from opslore.cards import Corpus
def make(work):
    (work / "documents.jsonl").write_text(sys.argv[2] * 1000)
    (work / "more").write_text(sys.argv[2] * 10)
    return {"documents": 1, "dropped": 0, "digest": sys.argv[2]}
home = store.opened(sys.argv[1], "sre")
card = home.made(Corpus, {}, [], make)
print(card.id, card.digest, flush=True)
"""


def _whole(world: World, name: str) -> Corpus:
    """The corpus as a fresh machine fetches it, every file checked."""
    home = world.machine(name)
    card = home.latest(Corpus)
    assert (home.path(card) / "documents.jsonl").read_text() == card.digest * 1000
    assert (home.path(card) / "more").read_text() == card.digest * 10
    assert home.unfinished() == []
    return card


@pytest.mark.slow
def test_killed_at_any_request_the_next_run_completes_the_same_card(world: World) -> None:
    base = world.uri
    world.machine("here").bucket.ready()  # type: ignore[union-attr]
    world.proxy.forget()
    world.uri = f"{base}/whole"
    done = world.run("whole", SCRIPT, "a")
    identity = done.communicate(timeout=120)[0].split()[0]
    total = len(world.proxy.calls)
    assert total >= 10
    for number in range(1, total + 1):
        world.uri = f"{base}/{number}"
        world.proxy.forget()
        process: list[subprocess.Popen[str]] = []
        started = threading.Event()

        def kill(
            call: Call,
            at: int = number,
            process: list[Any] = process,
            started: threading.Event = started,
        ) -> Answer | None:
            if call.number != at:
                return None
            started.wait(60)
            process[0].send_signal(signal.SIGKILL)
            return LOST if at % 2 else CUT

        world.proxy.rule = kill
        process.append(world.run(f"m{number}", SCRIPT, "a"))
        started.set()
        process[0].communicate(timeout=120)
        assert process[0].returncode == -9, number
        world.proxy.forget()
        reader = world.machine(f"reader{number}")
        if (found := reader.find(Corpus, identity)) is not None:
            assert (reader.path(found) / "more").read_text() == "a" * 10  # never half a card
        again = world.run(f"m{number}", SCRIPT, "b")  # what was made before the kill is kept
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
        assert out.split()[0] == identity
        assert _whole(world, f"fresh{number}").id == identity


def test_many_make_the_same_card_at_once_and_agree_on_one(world: World) -> None:
    runs = [world.run(letter, SCRIPT, letter) for letter in "abcd"]
    said = [run.communicate(timeout=180) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said
    assert len({out for out, _ in said}) == 1
    winner = _whole(world, "fresh")
    assert said[0][0].split() == [winner.id, winner.digest]
    for letter in "abcd":  # the losers' caches have the winner's files by now
        home = world.machine(letter)
        kept = (home.path(winner) / "documents.jsonl").read_text()
        assert kept == winner.digest * 1000


def test_a_claim_that_stands_still_is_taken_over(world: World) -> None:
    world.patch.setattr(claim, "STILL", 0.5)
    home = world.machine("here")
    assert home.bucket is not None
    home.bucket.ready()
    identity = home.identity(Corpus, {}, [], [])
    key = f"sre/corpus/{identity[:16]}/claim.json"
    theirs = {"host": "elsewhere", "pid": 7, "since": "2026-01-31T00:00:00+00:00", "token": "x"}
    home.bucket.put(key, json.dumps(theirs).encode())
    assert home.made(Corpus, {}, [], make).id == identity
    assert home.bucket.get(key) is None


def test_a_claim_that_is_touched_is_waited_for_and_named(world: World) -> None:
    world.patch.setattr(claim, "STILL", 5)
    world.patch.setattr(claim, "PATIENCE", 2)
    home = world.machine("here")
    assert home.bucket is not None
    home.bucket.ready()
    key = f"sre/corpus/{home.identity(Corpus, {}, [], [])[:16]}/claim.json"
    theirs = {"host": "elsewhere", "pid": 7, "since": "2026-01-31T00:00:00+00:00", "token": "x"}
    home.bucket.put(key, json.dumps(theirs).encode())
    with pytest.raises(ServerError, match="held by pid 7 on elsewhere since 2026-01-31") as caught:
        home.made(Corpus, {}, [], make)
    assert caught.value.retryable


def test_a_writer_whose_claim_was_taken_over_writes_no_card(world: World) -> None:
    world.patch.setattr(claim, "BEAT", 0.1)
    home = world.machine("here")
    identity = home.identity(Corpus, {}, [], [])
    key = f"sre/corpus/{identity[:16]}"

    def steal(call: Call) -> Answer | None:
        if call.method == "PUT" and "documents.jsonl" in call.path:
            assert home.bucket is not None
            home.bucket.put(f"{key}/claim.json", b'{"host": "elsewhere"}')
            threading.Event().wait(0.5)
        return None

    world.proxy.rule = steal
    with pytest.raises(ServerError, match="was taken over by another run"):
        home.made(Corpus, {}, [], make)
    assert home.bucket is not None
    assert home.bucket.get(f"{key}/card.json") is None
    assert home.unfinished() == [home.uri(key)]


# Answers that are lost, torn, late or wrong.


def test_a_write_whose_answer_was_lost_is_our_own(world: World) -> None:
    world.machine("here").bucket.ready()  # type: ignore[union-attr]
    lost: list[str] = []

    def lose(call: Call) -> Answer | None:
        name = call.path.rpartition("/")[2]
        if call.method == "PUT" and name not in lost:
            lost.append(name)
            return LOST
        return None

    world.proxy.rule = lose
    home = world.machine("here")
    card = home.made(Corpus, {}, [], make)
    home.point("current", "v1", None)
    home.point("current", "v2", "v1")
    assert {"card.json", "latest", "current", "claim.json"} <= set(lost)
    assert home.pointer("current") == "v2"
    assert world.machine("there").latest(Corpus) == card


def test_a_500_once_is_no_error(world: World) -> None:
    failed: list[str] = []

    def fail(call: Call) -> Answer | None:
        if (call.method, call.path) not in failed:
            failed.append((call.method, call.path))  # type: ignore[arg-type]
            return Answer(500, b"<Error><Code>InternalError</Code></Error>")
        return None

    world.machine("here").bucket.ready()  # type: ignore[union-attr]
    world.proxy.rule = fail
    card = world.machine("here").made(Corpus, {}, [], make)
    assert world.machine("there").latest(Corpus) == card
    assert len(failed) > 10


def test_500_for_ever_ends_and_says_so(world: World) -> None:
    world.patch.setattr(s3, "RETRIES", 1)
    world.proxy.rule = lambda call: Answer(503, b"<Error><Code>SlowDown</Code></Error>")
    with pytest.raises(ServerError, match="answers 503 SlowDown") as caught:
        world.machine("here").latest(Corpus)
    assert (caught.value.retryable, caught.value.exit_code) == (True, 75)


def test_a_torn_download_is_tried_again_and_never_seen_half(world: World) -> None:
    card = world.machine("here").made(Corpus, {}, [], big)
    torn: list[int] = []

    def tear(call: Call) -> int | None:
        if "weights" in call.path and call.method == "GET" and len(torn) < 2:
            torn.append(call.number)
            return 1000
        return None

    world.proxy.torn = tear
    there = world.machine("there")
    assert (there.path(card) / "weights").read_bytes() == BIG
    assert len(torn) == 2

    world.patch.setattr(s3, "RETRIES", 1)
    world.proxy.torn = lambda call: 1000 if "weights" in call.path else None
    third = world.machine("third")
    with pytest.raises(ServerError):
        third.path(card)
    folder = third.folder(Corpus, card.id)
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


CHANGES: dict[str, Callable[[Bucket, str], None]] = {
    "bytes": lambda b, key: b.put(f"{key}/merged/deep/weights", b"WEIGHTS"),
    "longer": lambda b, key: b.put(f"{key}/merged/deep/weights", b"weights!"),
    "gone": lambda b, key: b.remove(f"{key}/merged/deep/weights"),
    "no listing": lambda b, key: b.remove(f"{key}/files.json"),
    "torn listing": lambda b, key: b.put(f"{key}/files.json", b'{"files": '),
    "out of the folder": lambda b, key: b.put(
        f"{key}/files.json",
        json.dumps({"files": {"../../evil": {"sha256": "0" * 64, "size": 1}}}).encode(),
    ),
    "torn card": lambda b, key: b.put(f"{key}/card.json", b'{"id": "'),
    "another card": lambda b, key: b.put(
        f"{key}/card.json",
        b.get(f"{key}/card.json").data.replace(b'"id": "', b'"id": "0'),  # type: ignore[union-attr]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_in_the_bucket_is_named_and_never_used(world: World, change: str) -> None:
    card = world.machine("here").made(Corpus, {}, [], make)
    there = world.machine("there")
    assert there.bucket is not None
    key = f"sre/corpus/{card.id[:16]}"
    CHANGES[change](there.bucket, key)
    with pytest.raises(IntegrityError) as caught:
        there.path(there.made(Corpus, {}, [], never))
    assert caught.value.exit_code == 4
    assert there.uri(key) in caught.value.message
    assert not there.folder(Corpus, card.id).exists()
    kept = sorted((there.root / ".quarantine").glob("*"))
    assert [path.read_bytes() for path in kept] == ([b"WEIGHTS"] if change == "bytes" else [])
    for path in kept:
        assert str(path) in caught.value.message


HANGING = """
import sys
from opslore import store
print("asked", flush=True)
store.opened(sys.argv[1], "sre").pointer("current")
"""


def test_ctrl_c_ends_the_wait_for_a_server_that_hangs(world: World) -> None:
    asked = threading.Event()
    ended = threading.Event()

    def hang(call: Call) -> Answer | None:
        asked.set()
        ended.wait(60)
        return CUT

    world.proxy.rule = hang
    process = world.run("here", HANGING)
    assert asked.wait(60)
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    _, err = process.communicate(timeout=30)
    ended.set()
    assert time.monotonic() - before < 5
    assert "KeyboardInterrupt" in err


# Buckets, keys and servers that are not there, or not ours.


def test_a_bucket_that_is_not_there_is_empty_to_a_reader_and_made_by_a_writer(
    world: World,
) -> None:
    home = world.machine("here")
    assert home.bucket is not None
    assert home.cards(Corpus) == []
    assert home.unfinished() == []
    with pytest.raises(MissingInput) as caught:
        home.latest(Corpus)
    assert caught.value.message == f"no corpus of sre in {world.uri}"
    assert home.bucket.there() is False
    assert world.writes() == []
    home.made(Corpus, {}, [], make)
    assert home.bucket.there() is True


def test_a_bucket_that_may_not_be_made_is_explained_with_the_command(world: World) -> None:
    home = world.machine("here")
    refused = b"<Error><Code>AccessDenied</Code></Error>"
    world.proxy.rule = lambda c: Answer(403, refused) if "X-Amz-Signature" in c.path else None
    with pytest.raises(ServerError) as caught:
        home.made(Corpus, {}, [], make)
    name = world.uri.split("/")[2]
    assert "no such bucket, and it cannot be made with these keys: AccessDenied" in (
        caught.value.message
    )
    assert f"aws s3 mb s3://{name} --region us-east-1 --endpoint-url {world.proxy.url}" in (
        caught.value.hint
    )
    world.proxy.rule = lambda c: CUT if "X-Amz-Signature" in c.path else None
    with pytest.raises(ServerError) as caught:
        world.machine("here").made(Corpus, {}, [], never)
    assert "Signature" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_key_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in s3.KEYS:
        monkeypatch.setenv(key, "x")
    monkeypatch.setenv(name, "")
    with pytest.raises(ConfigError) as caught:
        store.opened("s3://ml-models", "sre")
    assert caught.value.message == f"s3://ml-models: {name} not set"
    assert caught.value.hint == f"export {name}=..."


@pytest.mark.parametrize(
    ("name", "value", "what", "mends"),
    [
        ("AWS_ACCESS_KEY_ID", "nobody", "does not know this AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "wr0ng-s3cret", "is not the secret of this", "the right AWS_SEC"),
        ("AWS_REGION", "eu-west-1", "not in the region eu-west-1", "export AWS_REGION"),
    ],
)
def test_wrong_keys_and_regions_are_told_apart(
    world: World, name: str, value: str, what: str, mends: str
) -> None:
    world.machine("here").made(Corpus, {}, [], make)
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    world.patch.setenv(name, value)
    home = world.machine("there")
    assert home.bucket is not None
    for call in (lambda: home.latest(Corpus), home.bucket.ready):
        with pytest.raises(ServerError) as caught:
            call()
        text = caught.value.message + caught.value.hint
        assert what in caught.value.message
        assert mends in caught.value.hint
        assert not caught.value.retryable
        assert secret not in text
        assert "wr0ng-s3cret" not in text


@pytest.mark.parametrize(
    ("code", "status", "what", "mends"),
    [
        ("RequestTimeTooSkewed", 403, "clocks", "timedatectl"),
        ("AccessDenied", 403, "access denied", "s3:PutObject"),
        ("ExpiredToken", 400, "AWS_SESSION_TOKEN has expired", "new keys"),
        ("XMinioStorageFull", 507, "out of room", "make room"),
    ],
)
def test_what_a_server_refuses_is_explained(
    world: World, code: str, status: int, what: str, mends: str
) -> None:
    world.patch.setattr(s3, "RETRIES", 0)
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    world.proxy.rule = lambda call: Answer(status, body)
    with pytest.raises(ServerError) as caught:
        world.machine("here").made(Corpus, {}, [], make)
    assert what in caught.value.message
    assert mends in caught.value.hint


def test_a_redirect_to_another_region_is_explained(world: World) -> None:
    world.proxy.rule = lambda call: Answer(301, b"<Error><Code>PermanentRedirect</Code></Error>")
    with pytest.raises(ServerError, match="not in the region us-east-1"):
        world.machine("here").latest(Corpus)


def test_an_endpoint_that_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in s3.KEYS:
        monkeypatch.setenv(key, "x")
    monkeypatch.setattr(s3, "RETRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
    with pytest.raises(ServerError) as caught:
        store.opened("s3://ml-models/a", "sre").latest(Corpus)
    assert caught.value.message == (
        "s3://ml-models/a/sre/corpus/latest: http://127.0.0.1:9 does not answer: Connection refused"
    )
    assert "start the server, or set AWS_ENDPOINT_URL" in caught.value.hint
    assert caught.value.retryable


@pytest.mark.parametrize(
    "bad", ["s3://", "s3://A", "s3://ml/../x", "s3://ml//x", "http://ml", "s3://a_b"]
)
def test_a_url_that_is_no_bucket(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is not s3://bucket"):
        store.opened(bad, "sre")


@pytest.mark.parametrize("bad", ["ftp://x", "127.0.0.1:9000", "http://user:s3cret@host"])
def test_an_endpoint_that_is_none(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL is no http") as caught:
        store.opened("s3://ml-models", "sre")
    assert "s3cret" not in str(caught.value)


def test_caches_of_two_buckets_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in s3.KEYS:
        monkeypatch.setenv(key, "x")
    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    roots = [store.opened(uri, "sre").root for uri in ("s3://ml-a", "s3://ml-b", "s3://ml-a/b")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    roots.append(store.opened("s3://ml-a", "sre").root)
    assert len(set(roots)) == 4
    assert {root.parent for root in roots} == {tmp_path / "stores"}
    assert list(tmp_path.iterdir()) == []


# The steps.


@pytest.mark.slow
def test_the_steps_fill_a_bucket_and_a_second_machine_makes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = flow_world.world(tmp_path / "world")
    agent_file = folder / "tiny.yaml"
    agent_file.write_text(f"store: {world.uri}\n{agent_file.read_text()}")
    monkeypatch.chdir(folder)
    agent = config.load(agent_file)

    def walk() -> list[str]:
        corpus = steps.collect(agent)
        dataset = steps.prepare(agent, corpus)
        adapter = steps.train(agent, dataset)
        bundle = steps.export(agent, adapter)
        evaluation = steps.evaluate(agent, dataset, bundle)
        return [card.id for card in (corpus, dataset, adapter, bundle, evaluation)]

    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "here"))
    made = walk()
    bundle = steps.store_of(agent).latest(Bundle)
    weights = store.sha256(steps.store_of(agent).path(bundle) / "model.gguf")
    assert (folder / "runs").exists() is False

    monkeypatch.setenv("OPSLORE_CACHE", str(tmp_path / "there"))
    monkeypatch.setattr(Store, "_keep", lambda *words: pytest.fail("made anew"))
    world.proxy.forget()
    assert walk() == made
    assert world.writes() == []
    home = steps.store_of(agent)
    assert home.root == tmp_path / "there" / "stores" / home.root.name
    assert not (home.home / "adapter").exists()  # nobody has asked for its files
    assert store.sha256(home.path(home.latest(Bundle)) / "model.gguf") == weights


# Archives and pointers.


def test_an_archive_is_kept_for_ever_and_fetched_with_its_uri_alone(
    world: World, tmp_path: Path
) -> None:
    home = world.machine("here")
    file = tmp_path / "model.tar.gz"
    file.write_bytes(BIG)
    digest = store.sha256(file)
    key = "sre/v20260131-0123abcd/ollama-model.tar.gz"
    assert home.upload(file, key) == home.uri(key) == f"{world.uri}/{key}"

    there = world.machine("there")
    assert there.fetch(key).read_bytes() == BIG
    world.proxy.forget()
    assert there.fetch(key, digest) == there.root / key
    assert world.proxy.calls == []  # the digest says that the one on this disk is it

    fetched = store.fetch(home.uri(key), tmp_path / "job")
    assert (fetched.name, fetched.read_bytes()) == ("ollama-model.tar.gz", BIG)
    assert store.fetch(f"{home.uri(key)}#sha256={digest}", tmp_path / "job2").read_bytes() == BIG
    with pytest.raises(IntegrityError, match="it was changed after it was written") as caught:
        store.fetch(f"{home.uri(key)}#sha256={'0' * 64}", tmp_path / "job3")
    assert [p.name for p in (tmp_path / "job3").iterdir()] == [".quarantine"]
    assert caught.value.exit_code == 4

    file.write_bytes(BIG[:-1] + b"!")
    with pytest.raises(IntegrityError, match="a release never changes") as caught:
        home.upload(file, key)
    assert world.writes() == []
    assert home.uri(key) in caught.value.message


def test_an_archive_that_was_changed_in_the_bucket_is_put_aside(
    world: World, tmp_path: Path
) -> None:
    home = world.machine("here")
    file = tmp_path / "model.tar.gz"
    file.write_bytes(b"good")
    uri = home.upload(file, "sre/v1/model.tar.gz")
    assert home.bucket is not None
    import obstore

    key = home.bucket.place.key("sre/v1/model.tar.gz")
    digest = store.sha256(file)
    obstore.put(home.bucket.client, key, b"evil", attributes={"sha256": digest})
    for call in (
        lambda: world.machine("there").fetch("sre/v1/model.tar.gz"),
        lambda: store.fetch(uri, tmp_path / "job"),
    ):
        with pytest.raises(IntegrityError, match="kept as") as caught:
            call()
        assert uri in caught.value.message
    assert [p.read_bytes() for p in (tmp_path / "job" / ".quarantine").iterdir()] == [b"evil"]
    obstore.put(home.bucket.client, key, b"evil")
    with pytest.raises(IntegrityError, match="has no digest noted"):
        store.fetch(uri, tmp_path / "job4")


def test_what_is_not_there_is_said_so(world: World, tmp_path: Path) -> None:
    home = world.machine("here")
    with pytest.raises(MissingInput, match="there is no such bucket") as caught:
        store.fetch(home.uri("sre/v1/x.tar.gz"), tmp_path / "job")
    assert caught.value.hint.startswith("aws s3 mb s3://")
    home.made(Corpus, {}, [], make)
    with pytest.raises(MissingInput, match=r"x\.tar\.gz is not there"):
        home.fetch("sre/v1/x.tar.gz")
    for bad in ("s3://ml", "ftp://ml/x", "s3://ml/x#sha256=12"):
        with pytest.raises(ConfigError):
            store.fetch(bad, tmp_path)


def test_archives_on_disk_have_the_same_calls(tmp_path: Path) -> None:
    home = Store(tmp_path / "runs", "sre")
    file = tmp_path / "model.tar.gz"
    file.write_bytes(b"good")
    key = "sre/v1/model.tar.gz"
    assert home.upload(file, key) == home.uri(key) == str(tmp_path / "runs" / key)
    assert home.upload(tmp_path / "runs" / key, key) == home.uri(key)
    assert home.fetch(key, store.sha256(file)).read_bytes() == b"good"
    assert store.fetch(home.uri(key), tmp_path / "job") == tmp_path / "runs" / key
    with pytest.raises(IntegrityError):
        home.fetch(key, "0" * 64)
    with pytest.raises(IntegrityError):
        store.fetch(f"{home.uri(key)}#sha256={'0' * 64}", tmp_path)
    file.write_bytes(b"evil")
    with pytest.raises(IntegrityError, match="a release never changes"):
        home.upload(file, key)
    assert home.fetch(key).read_bytes() == b"good"
    for bad in ("../x", "/etc/passwd", "a/../../b", ""):
        with pytest.raises(ConfigError, match="is no key"):
            home.upload(file, bad)
    with pytest.raises(MissingInput):
        home.fetch("sre/v2/model.tar.gz")
    with pytest.raises(MissingInput):
        store.fetch(str(tmp_path / "none"), tmp_path)


@pytest.fixture(params=["disk", "memory", "s3"])
def pointing(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Stores that share their pointers."""
    if request.param == "disk":
        return lambda: Store(tmp_path / "runs", "sre")
    if request.param == "memory":
        machines = request.getfixturevalue("memory")
        return lambda: machines("here")
    world = request.getfixturevalue("world")
    return lambda: world.machine("here")


def test_a_pointer_moves_only_from_where_it_is_expected(pointing: Callable[[], Store]) -> None:
    home = pointing()
    assert home.pointer("current") is None
    home.point("current", "v1", None)
    with pytest.raises(ServerError, match="says v1, not None: another run moved it") as caught:
        home.point("current", "v2", None)
    assert caught.value.retryable
    home.point("current", "v2", "v1")
    assert pointing().pointer("current") == "v2"
    home.point("current", None, "v2")
    assert home.pointer("current") is None
    home.point("current", "v3", None)
    assert home.pointer("current") == "v3"
    with pytest.raises(ConfigError):
        home.pointer("../current")


def test_of_many_that_move_a_pointer_at_once_one_wins(pointing: Callable[[], Store]) -> None:
    pointing().point("current", "v0", None)
    won: list[str] = []
    lost: list[str] = []
    ready = threading.Barrier(6)
    stores = [pointing() for _ in range(6)]

    def move(number: int) -> None:
        ready.wait()
        try:
            stores[number].point("current", f"v{number + 1}", "v0")
            won.append(f"v{number + 1}")
        except OpsloreError as error:
            lost.append(error.message)

    threads = [threading.Thread(target=move, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1, (won, lost)
    assert pointing().pointer("current") == won[0]
    assert all(f"says {won[0]}, not v0" in text for text in lost)
    assert len(lost) == 5


def test_in_memory_too_a_second_machine_finds_everything(memory: Callable[[str], Store]) -> None:
    card = memory("here").made(Corpus, {}, [], big)
    there = memory("there")
    assert there.made(Corpus, {}, [], never) == card
    assert (there.path(card) / "weights").read_bytes() == BIG


def test_a_file_that_changes_while_it_goes_is_refused(
    memory: Callable[[str], Store], tmp_path: Path
) -> None:
    home = memory("here")
    assert home.bucket is not None
    file = tmp_path / "file"
    file.write_bytes(BIG)
    with pytest.raises(IntegrityError, match="changed while it was uploaded"):
        home.bucket.send("sre/x", file, "0" * 64)
    assert home.bucket.stat("sre/x") is None


def test_a_part_is_within_what_every_server_takes() -> None:
    assert 5 << 20 <= bucket.PART <= 5 << 30  # S3's least and most, but for the last part
