"""An Ollama that misbehaves on request: it speaks the protocol over real sockets, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


@dataclass
class Faults:
    """What is answered to each call; the last answer of a list stands for all later ones."""

    routes: dict[str, list[Answer]] = field(default_factory=dict)
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    """Every call, `POST /api/show`, with its body."""
    url: str = ""

    def on(self, call: str, *answers: Answer) -> Faults:
        self.routes[call] = list(answers)
        return self

    def count(self, call: str) -> int:
        return sum(heard == call for heard, _ in self.heard)

    def bodies(self, call: str) -> list[dict[str, Any]]:
        return [json.loads(body) for heard, body in self.heard if heard == call]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults

    def answer(self) -> None:
        call = f"{self.command} {self.path}"
        length = int(self.headers.get("Content-Length") or 0)
        answers = self.faults.routes.get(call) or [plain(404, {"error": f"no route {call}"})]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if getattr(answer, "deaf", False):
            answer(self)
            return
        self.faults.heard.append((call, self.rfile.read(length)))
        answer(self)

    do_GET = do_POST = do_HEAD = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(faults: Faults | None = None) -> Iterator[Faults]:
    faults = faults or Faults()
    handler = type("Bound", (Handler,), {"faults": faults})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    faults.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def plain(status: int, body: Any = None, **headers: str) -> Answer:
    """One whole answer; a dict becomes JSON."""

    def say(to: Handler) -> None:
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        to.send_response(status)
        to.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        if to.command != "HEAD":
            to.wfile.write(raw)

    return say


def lines(*said: Any, cut: bool = False) -> Answer:
    """NDJSON in chunks; `cut` breaks the connection instead of ending the answer."""

    def say(to: Handler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "application/x-ndjson")
        to.send_header("Transfer-Encoding", "chunked")
        to.end_headers()
        for line in said:
            raw = (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
            to.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        if cut:
            to.close_connection = True
        else:
            to.wfile.write(b"0\r\n\r\n")

    return say


def reset(to: Handler) -> None:
    """Hang up without a word, whatever was sent."""
    to.close_connection = True


reset.deaf = True  # type: ignore[attr-defined]


def silent(seconds: float) -> Answer:
    """Say nothing for a while, then hang up."""

    def say(to: Handler) -> None:
        threading.Event().wait(seconds)
        to.close_connection = True

    return say
