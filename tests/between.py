"""A proxy between a client and a real server: it counts, and breaks what it is told.

Every request is forwarded as it came, its Host header too, so that signatures stay true. They are
forwarded one at a time: versitygw 1.7 looks at If-Match first and writes later, so that of many at
once several would win. Amazon and MinIO do both in one step, and through here so does versitygw.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "proxy-connection"}


@dataclass(frozen=True)
class Call:
    """One request as it reached the proxy."""

    number: int
    """From 1."""
    method: str
    path: str
    """With its query."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the proxy says itself; the server hears nothing unless `after`."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    """Forward first, and say this instead of the server's answer."""


LOST = Answer(0, after=True)
"""The server does it, and its answer never comes: the connection is cut."""
CUT = Answer(0)
"""The connection is cut before the server hears of it."""


@dataclass
class Between:
    """A running proxy."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answered: int = 0
    """Bytes of the answers' bodies."""
    rule: Callable[[Call], Answer | None] = lambda call: None
    """Asked for every request; None forwards it."""
    torn: Callable[[Call], int | None] = lambda call: None
    """Asked for every answer: after how many bytes of the body the connection is cut."""

    def methods(self, *wanted: str) -> list[str]:
        """The paths of the requests of these methods, in order."""
        return [call.path for call in self.calls if call.method in wanted]

    def forget(self) -> None:
        """Start to count anew, and break nothing any more."""
        self.calls.clear()
        self.answered = 0
        self.rule = lambda call: None
        self.torn = lambda call: None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Between
    target: SplitResult
    lock: threading.Lock
    turn: threading.Lock

    def any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.lock:
            call = Call(len(self.proxy.calls) + 1, self.command, self.path, body)
            self.proxy.calls.append(call)
        said = self.proxy.rule(call)
        if said is None:
            with self.turn:
                status, headers, data = self.forward(body)
            with self.lock:
                self.proxy.answered += len(data)
            self.say(status, headers, data, self.proxy.torn(call))
            return
        if said.after:
            with self.turn:
                self.forward(body)
        self.say(said.status, said.headers, said.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = any

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        host, port = self.target.hostname or "", self.target.port
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in HOP | {"expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def say(
        self, status: int, headers: dict[str, str], body: bytes, torn: int | None = None
    ) -> None:
        if not status:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        length = str(len(body))
        for name, value in headers.items():
            if self.command == "HEAD" and name.lower() == "content-length":
                length = value
            elif name.lower() not in HOP | {"content-length", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body[:torn])
        if torn is not None:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client was killed, as some tests do
            super().handle()


@contextlib.contextmanager
def between(server: str, host: str = "127.0.0.1") -> Iterator[Between]:
    """Run a proxy on an address of this machine, in front of the server at this URL."""
    proxy = Between()
    handler = type(
        "Handler",
        (_Handler,),
        {
            "proxy": proxy,
            "target": urlsplit(server),
            "lock": threading.Lock(),
            "turn": threading.Lock(),
        },
    )
    serving = http.server.ThreadingHTTPServer((host, 0), handler)
    serving.daemon_threads = True
    proxy.url = f"http://{host}:{serving.server_port}"
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()
