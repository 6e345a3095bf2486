"""The paraphraser against a real HTTP server on loopback that speaks the protocol."""

from __future__ import annotations

import email.utils
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opslore.cards import Command, Document, Example, Span
from opslore.config import Paraphraser, Prepare
from opslore.dataset import examples, paraphrase
from opslore.dataset.writer import Writer
from opslore.errors import ServerError
from opslore.index import Index

SYSTEM = "Answer with the command."
ALERTS = [
    (
        "KubePodCrashLooping",
        "apps",
        "the pod restarts again and again",
        "kubectl logs <pod> -n <namespace>",
    ),
    ("KubePodNotReady", "apps", "the pod stays pending for minutes", "kubectl describe pod <pod>"),
    ("FluxSourceStale", "flux", "the git repository cannot be fetched", "flux get sources git"),
    ("NodeDiskFull", "nodes", "the filesystem of the node is almost full", "df -h"),
    ("RedisDown", "data", "redis does not answer its health check", "kubectl get pods -n redis"),
    ("EtcdSlow", "nodes", "etcd needs seconds for one fsync of its log", "etcdctl endpoint status"),
]

Answer = tuple[int, dict[str, str], str]
"""Status, headers, body."""


class Chat:
    """An OpenAI-compatible server; `answers` is asked for each request in turn."""

    def __init__(self, answers: Callable[[int, dict[str, Any]], Answer]) -> None:
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                request = json.loads(raw)
                assert self.path == "/v1/chat/completions"
                chat.seen.append(request)
                chat.keys.append(self.headers.get("Authorization"))
                status, headers, body = answers(len(chat.seen), request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def said(text: str) -> Answer:
    message = {"role": "assistant", "content": text}
    return (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"choices": [{"message": message}]}),
    )


def reworded(number: int, request: dict[str, Any]) -> Answer:
    """What a good model does: other words around everything that was said."""
    return said(f'"Hello, please have a look:\n {request["messages"][-1]["content"]}"')


@pytest.fixture
def chat() -> Iterator[Callable[[Callable[[int, dict[str, Any]], Answer]], Chat]]:
    running: list[Chat] = []

    def start(answers: Callable[[int, dict[str, Any]], Answer]) -> Chat:
        running.append(Chat(answers))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture(scope="module")
def index() -> Index:
    return Index.of([document(*row) for row in ALERTS])


def document(title: str, section: str, symptoms: str, command: str) -> Document:
    span = Span(file="RUNBOOK.md", first=1, last=5)
    made = Command(text=command, role="resolution", first=4, last=4)
    return Document(
        id=title.lower(), title=title, text="", span=span, section=section, symptoms=symptoms,
        resolution=[command], commands=[made],
    )  # fmt: skip


@pytest.fixture(scope="module")
def train(index: Index) -> list[Example]:
    writer = Writer(Prepare(phrasings=6), SYSTEM, index)
    return [row for entry in index.entries for row in writer.trained(entry, "train")]


def settings(url: str, **more: Any) -> Prepare:
    endpoint = Paraphraser(url=url, model="some-model", per_alert=2)
    return Prepare(paraphraser=endpoint, closed_book=0.0, **more)


def ask(url: str, work: Path, index: Index, rows: list[Example], **more: Any) -> Any:
    reword = paraphrase.writer(settings(url, **more), SYSTEM, work)
    assert reword is not None
    return reword(index, rows)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    start = paraphrase.Endpoint.__init__

    def patient(self: paraphrase.Endpoint, *arguments: Any) -> None:
        start(self, *arguments, sleep=waited.append)

    monkeypatch.setattr(paraphrase.Endpoint, "__init__", patient)
    return waited


def test_without_an_endpoint_there_is_no_writer(tmp_path: Path) -> None:
    assert paraphrase.writer(Prepare(), SYSTEM, tmp_path) is None


def test_new_questions_keep_the_answer_and_get_a_prompt_of_their_own(
    chat: Any, tmp_path: Path, index: Index, train: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    server = chat(reworded)
    made, dropped = ask(server.url, tmp_path, index, train)
    assert dropped == []
    assert len(made) == 2 * len(ALERTS) == len(server.seen)
    assert set(server.keys) == {"Bearer a-key"}
    assert {r["temperature"] for r in server.seen} == {0.8}
    assert {r["model"] for r in server.seen} == {"some-model"}
    known = {" ".join(row.question.split()): row for row in train}
    for row in made:
        source = known[" ".join(row.question.removeprefix("Hello, please have a look: ").split())]
        assert (row.group, row.target, row.labels) == (source.group, source.target, source.labels)
        assert row.split == "train"
        assert row.family == "paraphrase/train-0"
        hits = index.search(row.question, 5)
        assert row.shown == [hit.entry.id for hit in hits]
        assert f"\n\nQuestion: {row.question}\nBest match: " in row.messages[1].content
        assert row.messages[-1].content == row.target
    assert len({row.id for row in [*made, *train]}) == len(made) + len(train)


def test_unknown_alerts_and_webhooks_are_not_sent(
    chat: Any, tmp_path: Path, index: Index, train: list[Example]
) -> None:
    foreign = train[0].model_copy(update={"group": "unknown:X", "hidden": ["x"]})
    webhook = train[0].model_copy(update={"family": "webhook/train-1"})
    tested = train[0].model_copy(update={"split": "s1"})
    server = chat(reworded)
    made, _ = ask(server.url, tmp_path, index, [foreign, webhook, tested])
    assert (made, server.seen) == ([], [])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("the thing is broken", "reworded without the label value web-0"),
        (
            "pod web-0 is ill: run `kubectl logs web-0 -n <namespace>`",
            "the answer stands in the question",
        ),
        ("web-0 " * 300, "reworded to 1799 characters"),
        ("", "reworded to 0 characters"),
        ("web-0 crashes", "not reworded at all"),
    ],
)  # fmt: skip
def test_what_is_not_kept_is_said(
    chat: Any, tmp_path: Path, index: Index, reply: str, reason: str
) -> None:
    from opslore.dataset.phrasing import Question

    writer = Writer(Prepare(closed_book=0.0), SYSTEM, index)
    row = writer.example(
        index.entries[0], Question("web-0 crashes", "chat/train-1", {"pod": "web-0"}), "train", 0
    )
    made, dropped = ask(chat(lambda *_: said(reply)).url, tmp_path, index, [row])
    assert made == []
    assert [d.reason for d in dropped] == [reason]


def test_a_run_that_died_does_not_ask_twice(
    chat: Any, tmp_path: Path, index: Index, train: list[Example], no_wait: list[float]
) -> None:
    healthy = False

    def answers(number: int, request: dict[str, Any]) -> Answer:
        return reworded(number, request) if healthy or number <= 5 else (503, {}, "")

    server = chat(answers)
    with pytest.raises(ServerError):
        ask(server.url, tmp_path, index, train)
    cache = tmp_path / paraphrase.CACHE
    assert len(cache.read_text().splitlines()) == 5
    with cache.open("a") as file:
        file.write('{"asked": "torn')
    healthy = True
    server.seen.clear()
    made, _ = ask(server.url, tmp_path, index, train)
    assert len(server.seen) == 12 - 5
    assert len(made) == 12
    again, _ = ask(server.url, tmp_path, index, train)
    assert len(server.seen) == 12 - 5
    assert again == made
    assert all(json.loads(line)["reply"] for line in cache.read_text().splitlines())


def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    chat: Any, tmp_path: Path, index: Index, train: list[Example], no_wait: list[float]
) -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    limits: dict[int, dict[str, str]] = {
        1: {"Retry-After": "7"},
        2: {"Retry-After": email.utils.format_datetime(later, usegmt=True)},
        3: {"Retry-After": "86400"},
        4: {"Retry-After": "soon"},
    }

    def limited(number: int, request: dict[str, Any]) -> Answer:
        return (429, limits[number], "slow down") if number in limits else reworded(number, request)

    made, _ = ask(chat(limited).url, tmp_path, index, train[:1])
    assert len(made) == 1
    assert no_wait[0] == 7
    assert 25 < no_wait[1] <= 30
    assert no_wait[2:] == [60, 8]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((500, {}, "out of memory"), "HTTP 500 out of memory (5 tries)"),
        ((200, {}, "<html>hi</html>"), "no chat completion: HTTP 200 <html>hi</html> (5 tries)"),
        ((200, {}, '{"choices": []}'), 'no chat completion: HTTP 200 {"choices": []} (5 tries)'),
        ((200, {}, "[1]"), "no chat completion: HTTP 200 [1] (5 tries)"),
    ],
)
def test_a_broken_endpoint_is_tried_five_times(
    chat: Any, tmp_path: Path, index: Index, train: list[Example], no_wait: list[float],
    answer: Answer, problem: str,
) -> None:  # fmt: skip
    server = chat(lambda *_: answer)
    with pytest.raises(ServerError) as caught:
        ask(server.url, tmp_path, index, train)
    assert caught.value.message == f"paraphraser {server.url}/chat/completions: {problem}"
    assert caught.value.retryable
    assert caught.value.exit_code == 75
    assert len(server.seen) == 5
    assert no_wait == [1, 2, 4, 8]


def test_a_refusal_is_not_tried_again(
    chat: Any, tmp_path: Path, index: Index, train: list[Example], no_wait: list[float]
) -> None:
    server = chat(lambda *_: (401, {}, '{"error": "no such key"}'))
    with pytest.raises(ServerError) as caught:
        ask(server.url, tmp_path, index, train)
    assert 'HTTP 401 {"error": "no such key"}' in caught.value.message
    assert "OPENAI_API_KEY" in caught.value.hint
    assert not caught.value.retryable
    assert len(server.seen) == 1


def test_nobody_listens(
    tmp_path: Path, index: Index, train: list[Example], no_wait: list[float]
) -> None:
    with pytest.raises(ServerError) as caught:
        ask("http://127.0.0.1:9/v1", tmp_path, index, train)
    assert "(5 tries)" in caught.value.message


def test_prepare_puts_the_new_questions_into_train_only(
    chat: Any, tmp_path: Path, index: Index
) -> None:
    from opslore import store

    corpus, work = tmp_path / "corpus", tmp_path / "work"
    # One name per split would be luck with six alerts; twenty have trained and tested ones.
    rows = [
        document(f"{title}{n}", s, f"{symptoms} {n}", command.replace("redis", f"redis-{n}"))
        for n in ("Alpha", "Beta", "Gamma", "Delta")
        for title, s, symptoms, command in ALERTS
    ]
    store.write_rows(corpus / "documents.jsonl", rows)
    made = settings(chat(reworded).url, phrasings=4, s1=10, s2=4, s3=4)
    reword = paraphrase.writer(made, SYSTEM, work)
    fields = examples.prepare(made, SYSTEM, corpus, work, reword)
    by_split = {
        split: list(store.read_rows(work / f"{split}.jsonl", Example))
        for split in ("train", "valid", "s1", "s2", "s3")
    }
    new = {s: sum(r.family.startswith("paraphrase") for r in rows) for s, rows in by_split.items()}
    assert new.pop("train") > 10
    assert set(new.values()) == {0}
    assert fields["splits"]["train"] == len(by_split["train"])
    groups = {row.group for row in by_split["train"] if row.family.startswith("paraphrase")}
    assert not groups & {row.group for row in by_split["s2"]}
