"""A runbook at an address: a loopback server plays the internet, its name must be allowed."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opslore.config_sources import RunbookSource
from opslore.errors import SourceError
from opslore.sources import web
from opslore.sources.runbook import collect

PAGE = b"# Book\n\n## nodes\n\n### Alert: DiskFull\n**Fix:** `df -h`\n"
Answer = tuple[int, dict[str, str], bytes]


class Site:
    """A loopback server whose paths are given by `pages`."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer | Callable[[], Answer]] = {}
        self.seen: list[tuple[str, str]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.path, self.headers["Host"]))
                page = site.pages.get(self.path, (404, {}, b""))
                status, headers, body = page() if callable(page) else page
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *args: object) -> None:
                """A client that has stopped waiting is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.allow = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def error_of(url: str, site: Site | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        web.fetch(url, site.allow if site else ())
    return caught.value


def test_a_runbook_from_an_address(site: Site, tmp_path: Path) -> None:
    site.pages["/team/RUNBOOK.md"] = (200, {"Content-Type": "text/plain"}, PAGE)
    url = site.url("/team/RUNBOOK.md?raw=1")
    site.pages["/team/RUNBOOK.md?raw=1"] = site.pages["/team/RUNBOOK.md"]
    found = collect(RunbookSource(path=url), tmp_path, allow=site.allow)
    alert = found.documents[0]
    assert (alert.title, alert.section, alert.url) == ("DiskFull", "nodes", url)
    assert (alert.span.file, alert.span.first, alert.span.commit) == ("RUNBOOK.md", 5, "")


def test_redirects_are_followed_and_judged(site: Site) -> None:
    site.pages["/a"] = (302, {"Location": "/b"}, b"")
    site.pages["/b"] = (301, {"Location": f"http://localhost:{site.port}/c"}, b"")
    site.pages["/c"] = (200, {}, PAGE)
    assert web.fetch(site.url("/a"), site.allow) == PAGE
    assert site.seen[-1] == ("/c", f"localhost:{site.port}")
    site.pages["/out"] = (302, {"Location": "https://169.254.169.254/latest/meta-data"}, b"")
    error = error_of(site.url("/out"), site)
    assert error.message == (
        f"{site.url('/out')} redirects to https://169.254.169.254/latest/meta-data: "
        "169.254.169.254 is 169.254.169.254, which is not a public address"
    )
    site.pages["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    assert "only https is read" in error_of(site.url("/file"), site).message
    site.pages["/round"] = (302, {"Location": "/round"}, b"")
    assert "more than 5 redirects" in error_of(site.url("/round"), site).message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/x", "http://example.com/x: only https is read"),
        ("ftp://example.com/x", "ftp://example.com/x: only https is read"),
        (
            "https://user:pw@example.com/x",
            "https://user:pw@example.com/x: expected https://host/path without user and password",
        ),
        ("https:///x", "https:///x: expected https://host/path without user and password"),
        (
            "https://127.0.0.1/x",
            "https://127.0.0.1/x: 127.0.0.1 is 127.0.0.1, which is not a public address",
        ),
    ],
)
def test_an_address_that_is_refused(url: str, message: str) -> None:
    error = error_of(url)
    assert error.message == message
    assert (error.exit_code, error.retryable) == (66, False)
    assert error.hint


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "2130706433", "0x7f000001", "127.1", "[::1]", "[::]",
        "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]",
        "localhost", "[ff02::1]",
    ],
)  # fmt: skip
def test_no_private_address_in_any_spelling(host: str) -> None:
    message = error_of(f"https://{host}/").message
    assert "not a public address" in message or "was not found" in message


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses(address: str) -> None:
    assert web._public(address)


def test_every_address_of_a_name_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*args: object, **more: object) -> list[object]:
        return [(2, 1, 6, "", ("8.8.8.8", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert "is 10.0.0.1, which is not" in error_of("https://example.com/x").message


@pytest.mark.parametrize(
    ("answer", "message", "retryable"),
    [
        ((503, {"Retry-After": "7"}, b""), "the server answered 503", True),
        ((429, {}, b""), "the server answered 429", True),
        ((404, {}, b""), "the server answered 404", False),
        ((401, {}, b""), "the server answered 401", False),
        ((200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>"), "an HTML page", False),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "compressed though plain text", False),
    ],
)
def test_an_answer_that_is_no_runbook(
    site: Site, answer: Answer, message: str, retryable: bool
) -> None:
    site.pages["/x"] = answer
    error = error_of(site.url("/x"), site)
    assert error.message.startswith(f"{site.url('/x')}: {message}")
    assert (error.retryable, error.exit_code) == (retryable, 75 if retryable else 66)
    if answer[1].get("Retry-After"):
        assert error.hint == "try again in 7 s"


def test_too_large(site: Site) -> None:
    site.pages["/x"] = (200, {}, b"x" * (web.MAX_BYTES + 1))
    error = error_of(site.url("/x"), site)
    assert error.message == f"{site.url('/x')}: more than 10485760 bytes (10 MiB)"


def test_too_slow(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()

    def slow() -> Answer:
        stop.wait(5)
        return 200, {}, PAGE

    site.pages["/x"] = slow
    monkeypatch.setattr(web, "SECONDS", 0.3)
    error = error_of(site.url("/x"), site)
    stop.set()
    assert error.retryable
    assert "no whole answer within" in error.message


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        web.fetch(f"http://127.0.0.1:{port}/x", {f"127.0.0.1:{port}"})
    assert caught.value.retryable


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the test's certificate")
def test_tls_is_checked_against_the_name_and_not_the_address(site: Site, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key,
         "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    site.server.socket = served.wrap_socket(site.server.socket, server_side=True)
    site.pages["/x"] = (200, {}, PAGE)
    trust = ssl.create_default_context(cafile=str(certificate))
    assert web.fetch(f"https://localhost:{site.port}/x", site.allow, trust) == PAGE
    with pytest.raises(SourceError, match="certificate"):
        web.fetch(f"https://127.0.0.1:{site.port}/x", site.allow, trust)
    with pytest.raises(SourceError, match="certificate"):
        web.fetch(f"https://localhost:{site.port}/x", site.allow)
