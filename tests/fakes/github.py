"""GitHub's REST API and a piece of its GraphQL on loopback, with everything it can do wrong.

Listings with Link headers (by page number, or by an opaque cursor), ETag and 304, `since`, rate
limits, renamed repositories. A fault stands between an answer that is ready and the wire: it
may delay it, replace it, cut it, or break the connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from .repository import Repository

Act = Callable[["Handler", "Answer"], None]
ENDPOINTS = ("issues", "comments", "review_comments", "graphql", "reviews", "thread_comments")
_ROUTES = (
    ("issues", r"/issues"),
    ("comments", r"/issues/comments"),
    ("review_comments", r"/pulls/comments"),
    ("thread_comments", r"/issues/(\d+)/comments"),
    ("reviews", r"/pulls/(\d+)/reviews"),
)


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the calls of one endpoint: the first `skip` are well, then `times`."""

    endpoint: str
    act: Act
    skip: int = 0
    times: int = 1

    def due(self, endpoint: str) -> bool:
        if endpoint != self.endpoint or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Call:
    endpoint: str
    url: str
    status: int
    authorization: str
    whole: bool
    """The answer was sent as it should be."""


class Fake:
    """One server; its repositories may be changed while it answers."""

    def __init__(self, *repositories: Repository, token: str = "", cursor: bool = False) -> None:
        self.repositories = {each.name: each for each in repositories}
        self.moved: dict[str, str] = {}
        self.token, self.cursor = token, cursor
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.graphql = True
        self.url = ""
        self.between: Callable[[Call], None] = lambda call: None
        """Called after each whole answer; may change a repository."""
        self.lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def fault(self, endpoint: str, act: Act, skip: int = 0, times: int = 1) -> Fault:
        self.faults.append(Fault(endpoint, act, skip, times))
        return self.faults[-1]

    def count(self, endpoint: str = "") -> int:
        return sum(not endpoint or call.endpoint == endpoint for call in self.calls)

    def listen(self) -> None:
        handler = type("Bound", (Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def away(self, seconds: float) -> None:
        """Refuse connections for a while."""

        def gone() -> None:
            self.close()
            time.sleep(seconds)
            self.listen()

        threading.Thread(target=gone, daemon=True).start()

    def answer(self, path: str, query: dict[str, str], body: bytes) -> tuple[str, Answer]:
        """Endpoint, and what a healthy server says."""
        if path == "/graphql":
            return "graphql", self._graph(json.loads(body)) if self.graphql else _error(404)
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)", path)
        for name, pattern in _ROUTES if found else ():
            assert found is not None
            if inner := re.fullmatch(pattern, found[2]):
                if found[1] in self.moved:
                    where = {"Location": f"{self.url}/repositories/77{found[2]}?{urlencode(query)}"}
                    return name, Answer(301, b'{"message":"Moved Permanently"}', where)
                repository = self.repositories.get(found[1])
                if repository is None:
                    return name, _error(404)
                with repository.lock:
                    number = int(inner[1]) if inner.groups() else 0
                    return name, self._listing(repository, name, number, path, query)
        return "", _error(404)

    def _listing(
        self, repository: Repository, name: str, number: int, path: str, query: dict[str, str]
    ) -> Answer:
        rows = _rows(repository, name, number, query.get("since", ""))
        size = int(query.get("per_page", "30"))
        after = query.get("after", "")
        start = int(base64.b64decode(after)) if after else (int(query.get("page", "1")) - 1) * size
        raw = b"[" + b",".join(rows(start, start + size)) + b"]"
        headers, total = {}, rows.total
        if start + size < total:
            more = {key: value for key, value in query.items() if key not in ("page", "after")}
            if self.cursor:
                more["after"] = base64.b64encode(str(start + size).encode()).decode()
                link = f'<{self.url}{path}?{urlencode(more)}>; rel="next"'
            else:
                pages = [str(start // size + 2), str(-(-total // size))]
                urls = [f"{self.url}{path}?{urlencode({**more, 'page': p})}" for p in pages]
                link = f'<{urls[0]}>; rel="next", <{urls[1]}>; rel="last"'
            headers["Link"] = link
        return Answer(200, raw, headers)

    def _graph(self, asked: dict[str, Any]) -> Answer:
        nodes = []
        for node in asked["variables"]["ids"]:
            _, name, number = node.split("_", 2)
            repository = self.repositories[name]
            with repository.lock:
                nodes.append(_node(repository, int(number), asked["variables"]["reviews"]))
        return Answer(200, json.dumps({"data": {"nodes": nodes}}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, *args: object) -> None:
        """A client that was killed is what some tests are about."""


class _Rows:
    def __init__(self, sent: Callable[[int], bytes], keys: list[int]) -> None:
        self.sent, self.keys, self.total = sent, keys, len(keys)

    def __call__(self, start: int, end: int) -> list[bytes]:
        return [self.sent(key) for key in self.keys[start:end]]


def _rows(repository: Repository, name: str, number: int, since: str) -> _Rows:
    if name == "reviews":
        reviews = repository.reviews.get(number, [])
        return _Rows(lambda at: json.dumps(reviews[at]).encode(), list(range(len(reviews))))
    shelf = {
        "issues": repository.issues,
        "review_comments": repository.review_comments,
    }.get(name, repository.comments)
    keys = shelf.since(since)
    # Most of a large listing is never looked at: only its page is put into bytes.
    if name == "thread_comments":
        mine = f"/{number}"
        keys = [key for key in sorted(keys) if shelf.items[key]["issue_url"].endswith(mine)]
    return _Rows(shelf.wire, keys)


def _node(repository: Repository, number: int, most: int) -> dict[str, Any] | None:
    if number not in repository.issues.items:
        return None
    thread = repository.issues.items[number]
    merged = thread["pull_request"]["merged_at"]
    reviews = repository.reviews.get(number, [])
    closes = [
        {"number": issue, "repository": {"nameWithOwner": repository.name}}
        for issue in repository.closes.get(number, [])
    ]
    return {
        "number": number,
        "mergeCommit": {"url": f"{repository.home}/commit/{number:040x}"} if merged else None,
        "closingIssuesReferences": {"nodes": closes},
        "reviews": {
            "pageInfo": {"hasNextPage": len(reviews) > most},
            "nodes": [
                {
                    "databaseId": each["id"],
                    "body": each["body"],
                    "submittedAt": each["submitted_at"],
                    "url": each["html_url"],
                    "authorAssociation": each["author_association"],
                    "author": each["user"]
                    and {"login": each["user"]["login"], "__typename": each["user"]["type"]},
                    "reactionGroups": [],
                }
                for each in reviews[:most]
            ],
        },
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        authorization = self.headers.get("Authorization", "")
        endpoint, answer = self.fake.answer(parts.path, query, body)
        if self.fake.token and authorization != f"Bearer {self.fake.token}":
            answer = Answer(401, b'{"message":"Bad credentials"}')
        if answer.status == 200 and self.command == "GET":
            answer.headers["ETag"] = f'W/"{hashlib.sha256(answer.body).hexdigest()}"'
            if self.headers.get("If-None-Match") == answer.headers["ETag"]:
                answer = Answer(304, b"", answer.headers)
        with self.fake.lock:
            fault = next((each for each in self.fake.faults if each.due(endpoint)), None)
            call = Call(endpoint, self.path, answer.status, authorization, fault is None)
            self.fake.calls.append(call)
        if fault is not None:
            fault.act(self, answer)
        else:
            self.send(answer)
            self.fake.between(call)

    do_GET = do_POST = _handle

    def head(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        if "Date" not in answer.headers:
            self.send_header("Date", self.date_time_string())
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body)))
            if "Content-Type" not in answer.headers:
                self.send_header("Content-Type", "application/json; charset=utf-8")
        limits = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999"}
        for name, value in {**limits, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, answer: Answer) -> None:
        self.head(answer)
        self.wfile.write(answer.body)

    def reset(self) -> None:
        """Break the connection with RST, as a crashed peer does."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


def _error(status: int) -> Answer:
    return Answer(status, json.dumps({"message": "Not Found"}).encode())


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    fake.listen()
    try:
        yield fake
    finally:
        fake.close()


def instead(status: int, body: Any = None, **headers: str) -> Act:
    """Another answer: bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body or {"message": "no"}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda to, answer: to.send(Answer(status, raw, named))


def in_a_date(seconds: float) -> str:
    """A moment soon, as HTTP writes dates."""
    return formatdate(time.time() + seconds, usegmt=True)


def silent(seconds: float) -> Act:
    def act(to: Handler, answer: Answer) -> None:
        time.sleep(seconds)
        to.close_connection = True

    return act


def trickle(seconds: float, pieces: int = 20) -> Act:
    """The right answer, piece by piece."""

    def act(to: Handler, answer: Answer) -> None:
        to.head(answer)
        size = max(1, len(answer.body) // pieces)
        for start in range(0, len(answer.body), size):
            time.sleep(seconds / pieces)
            to.wfile.write(answer.body[start : start + size])

    return act


def cut(share: float, said: bool = True) -> Act:
    """A part of the answer and then RST; or, when nothing was said of its length, its end."""

    def act(to: Handler, answer: Answer) -> None:
        part = answer.body[: int(len(answer.body) * share)]
        if said:
            if share > 0:
                to.head(answer)
                to.wfile.write(part)
            to.reset()
            return
        to.send(Answer(answer.status, part, answer.headers))

    return act


def refuse(fake: Fake, seconds: float) -> Act:
    """Break this connection, and refuse others for a while."""

    def act(to: Handler, answer: Answer) -> None:
        fake.away(seconds)
        to.reset()

    return act
