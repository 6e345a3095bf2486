"""Servers on loopback that pages come from: a website with faults, a DeepWiki, git repositories."""

from __future__ import annotations

import hashlib
import http.server
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

METADATA = "https://169.254.169.254/latest/meta-data"
LOGIN = (
    b"<html><head><title>Sign in</title></head><body><form><input type='password' name='p'>"
    b"</form></body></html>"
)
WORDS = (
    "The proxy reads its certificate from the mounted secret and renews it a day before it ends, "
    "so that no request is refused while the new one is on its way to every pod of the mesh."
)


def html(title: str, body: str, more: str = "") -> bytes:
    """A page as a site's theme has it: navigation, text, footer."""
    return (
        f"<!doctype html><html><head><title>{title} | Docs</title></head><body><nav><a href='/'>"
        f"Home</a> <a href='/docs/'>Docs</a></nav><main><article><h1>{title}</h1><p>{WORDS}</p>"
        f"{body}</article></main><footer>Copyright by the authors</footer>{more}</body></html>"
    ).encode()


class Site:
    """A website; `faults` holds for a path what goes wrong, one fault a request.

    A fault that ends in `!` stays.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        """Path -> kind of content and body."""
        self.faults: dict[str, list[str]] = {}
        self.seen: list[tuple[str, int]] = []
        """Path and status of every answer."""
        self.stop = threading.Event()
        self.most = self.now = 0
        """Requests at the same time."""
        site, turn = self, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with turn:
                    site.now += 1
                    site.most = max(site.most, site.now)
                try:
                    site.answer(self)
                finally:
                    with turn:
                        site.now -= 1

            do_POST = do_GET

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                """A client that has stopped waiting is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.allow = {f"127.0.0.1:{self.port}"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()

    def sitemap(self, *paths: str) -> None:
        rows = "".join(f"<url><loc>{self.url(path)}</loc></url>" for path in paths)
        namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
        body = f'<?xml version="1.0"?><urlset xmlns="{namespace}">{rows}</urlset>'
        self.pages["/sitemap.xml"] = ("application/xml", body.encode())

    def page(self, path: str, title: str, body: str = "") -> None:
        self.pages[path] = ("text/html; charset=utf-8", html(title, body))

    def answer(self, handler: Any) -> None:
        path = handler.path
        waiting = self.faults.get(path, [])
        if waiting:
            name = waiting[0]
            if not name.endswith("!"):
                waiting.pop(0)
            self.seen.append((path, 0))
            self.fault(handler, name.rstrip("!"))
            return
        if path not in self.pages:
            self.send(handler, 404, {}, b"")
            return
        kind, body = self.pages[path]
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if handler.headers.get("If-None-Match") == etag:
            self.send(handler, 304, {"ETag": etag}, b"")
            return
        self.send(handler, 200, {"Content-Type": kind, "ETag": etag}, body)

    def send(self, handler: Any, status: int, headers: dict[str, str], body: bytes) -> None:
        self.seen.append((handler.path, status))
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def fault(self, handler: Any, name: str) -> None:
        whole = self.pages.get(handler.path, ("", b"x" * 100))[1]
        page = {"Content-Type": "text/html"}
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {
            "429": (429, {"Retry-After": "1"}, b""),
            "429 date": (429, {"Retry-After": formatdate(usegmt=True)}, b""),
            "429 long": (429, {"Retry-After": "86400"}, b""),
            "login": (200, page, LOGIN),
            "metadata": (302, {"Location": METADATA}, b""),
            "error": (200, {"Content-Type": "application/json"}, b'{"error": "no"}'),
        }
        if name == "hang":
            self.stop.wait(5)
        elif name in ("slow", "truncated", "reset"):
            self.part(handler, name, whole)
        elif name == "reset at once":
            reset(handler.connection)
        else:
            self.send(handler, *(answers.get(name) or (int(name), {}, b"")))

    def part(self, handler: Any, name: str, whole: bytes) -> None:
        """Half of a page, or nearly all of it."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(whole)))
        handler.end_headers()
        handler.wfile.write(whole[: int(len(whole) * (0.99 if name == "truncated" else 0.5))])
        handler.wfile.flush()
        if name == "slow":
            self.stop.wait(5)
        if name == "reset":
            reset(handler.connection)


def reset(connection: socket.socket) -> None:
    """End a connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, so that a fault that stays takes no minute."""
    from opslore.sources import pages_retry, web

    monkeypatch.setattr(pages_retry, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(web, "SECONDS", 0.7)


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person who has no settings."""
    settings = [
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.com",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(
        ["git", "-C", folder, *settings, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def committed(folder: Path, files: dict[str, str | bytes], message: str = "docs") -> str:
    """Write files into a repository, which is made when needed, and commit all; the commit."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and bytes: what `0 writes` is measured with."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


STRUCTURE = (
    "Available pages for linkerd/linkerd2:\n\n- 1 Overview\n  - 1.1 Proxy: injection\n- 2 CLI"
)
CONTENTS = f"""# Page: Overview

# Overview

<details>
<summary>Relevant source files</summary>

- [README.md](README.md)
- [charts/values.yaml](charts/values.yaml)

</details>

{WORDS}

Sources: [README.md:1-20](), [cli/main.go:3-9]()

# Page: Proxy: injection

# Proxy: injection

## Annotate

{WORDS}

```bash
# Page: CLI of an example, which is code
kubectl annotate ns test linkerd.io/inject=enabled
```

# Page: CLI

# CLI

{WORDS}

```mermaid
graph TD
  a --> b
```
"""


class DeepWiki:
    """DeepWiki's two tools on a real MCP server, with faults in front of it."""

    def __init__(self) -> None:
        self.structure, self.contents = STRUCTURE, CONTENTS
        self.faults: list[str] = []
        self.calls: list[str] = []
        self.port = 0
        self.url = ""
        self.allow: set[str] = set()
        self.stop = threading.Event()

    def app(self) -> Any:
        from mcp.server.mcpserver import MCPServer

        server = MCPServer("deepwiki")
        wiki = self

        @server.tool()
        def read_wiki_structure(repoName: str) -> str:
            wiki.calls.append("structure")
            if repoName != "linkerd/linkerd2":
                return f"Error processing question: Repository not found: {repoName}"
            return wiki.structure

        @server.tool()
        def read_wiki_contents(repoName: str) -> str:
            wiki.calls.append("contents")
            if wiki.contents == "raise":
                raise ValueError("the index is being built")
            return wiki.contents

        inner = server.streamable_http_app(host="127.0.0.1")

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["method"] == "POST" and wiki.faults:
                name = wiki.faults[0]
                if not name.endswith("!"):
                    wiki.faults.pop(0)
                wiki.calls.append(name)
                await wiki.fault(name.rstrip("!"), inner, scope, receive, send)
                return
            await inner(scope, receive, send)

        return app

    async def fault(self, name: str, inner: Any, scope: Any, receive: Any, send: Any) -> None:
        import anyio

        async def say(status: int, headers: dict[str, str], body: bytes) -> None:
            rows = [(key.encode(), value.encode()) for key, value in headers.items()]
            await send({"type": "http.response.start", "status": status, "headers": rows})
            await send({"type": "http.response.body", "body": body})

        if name == "hang":
            await anyio.sleep(3)
        elif name == "429":
            await say(429, {"Retry-After": "1"}, b"")
        elif name == "login":
            await say(200, {"Content-Type": "text/html"}, LOGIN)
        elif name == "metadata":
            await say(307, {"Location": METADATA}, b"")
        elif name == "cut":
            half = [0]

            async def cutting(message: Any) -> None:
                if message["type"] == "http.response.body" and message.get("body"):
                    half[0] += 1
                    message = {**message, "body": message["body"][: len(message["body"]) // 2]}
                    await send({**message, "more_body": True})
                    raise OSError("the connection is cut")
                await send(message)

            await inner(scope, receive, cutting)
        else:
            await say(int(name), {}, b"")


@contextmanager
def serving(wiki: DeepWiki) -> Iterator[DeepWiki]:
    """Run its server in a thread."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    wiki.port = listening.getsockname()[1]
    wiki.url = f"http://127.0.0.1:{wiki.port}/mcp"
    wiki.allow = {f"127.0.0.1:{wiki.port}"}
    config = uvicorn.Config(wiki.app(), log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield wiki
    finally:
        server.should_exit = True
        thread.join(5)
        listening.close()


@pytest.fixture
def deepwiki() -> Iterator[DeepWiki]:
    with serving(DeepWiki()) as wiki:
        yield wiki
