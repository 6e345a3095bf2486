"""What a Job does: verify a signed release in a real bucket, then install it in a real Ollama."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ollama_world
import pytest
from release import release_world
from release.job_player import certificate
from release.release_world import MODEL, base  # noqa: F401

from opslore.bucket import Bucket
from opslore.cli import main
from opslore.release import archive, issue, papers, signing
from opslore.release.listing import EVALUATION, RELEASE, SIGNATURE
from opslore.servers.ollama_client import Client

pytest_plugins = ["real.fixtures"]

VERSION, NEXT = "v20260131-0123abcd", "v20260214-89abcdef"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_OLLAMA_THREADS", "1")
        yield


@dataclass
class Released:
    """Two signed releases in a bucket, and an Ollama that has neither."""

    folders: dict[str, Path]
    bucket: Bucket
    url: str
    name: str
    public: str

    def key(self, name: str, version: str = VERSION) -> str:
        return f"sre/{version}/{name}"

    def sha256(self, version: str = VERSION) -> str:
        return hashlib.sha256((self.folders[version] / MODEL).read_bytes()).hexdigest()

    def upload(self, version: str, under: str = "") -> None:
        """Put a release's files where they belong, or under another version's name."""
        for path in sorted(self.folders[version].iterdir()):
            self.bucket.put(self.key(path.name, under or version), path.read_bytes())

    def install(self, uri: str = "", sha256: str = "", **more: str) -> int:
        told = {"sha256": sha256 or self.sha256(), "name": self.name, "version": VERSION}
        told |= {"url": self.url, "agent": "sre", **more}
        words = [word for name, value in told.items() for word in (f"--{name}", value)]
        return main(["install", uri or self.bucket.uri(self.key(MODEL)), *words])

    def installed(self) -> set[str]:
        with Client(self.url) as client:
            return {tag for tag in client.tags() if tag.startswith(f"{self.name}:")}


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signed releases and the key that signed them; copied for every test."""
    root = tmp_path_factory.mktemp("made")
    says = {VERSION: ollama_world.SAYS, NEXT: ["up", "time", "Ġ-", "p"]}
    agent = release_world.agent(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(root / "cache"))
        patch.setenv("OPSLORE_SIGNING_KEY", str(release_world.key(root / "team.pem")))
        for number, (version, words) in enumerate(says.items(), 1):
            folder, bundle = root / "sre" / version, root / "bundles" / version
            digest = archive.pack(ollama_world.bundle(bundle, words), issue.SHIPPED, folder / MODEL)
            cards = release_world.cards()
            papers.write(folder, agent, cards, version, number, {MODEL: digest})
            signing.sign(folder, agent)
    return root


@pytest.fixture
def released(
    made: Path,
    s3_server: Any,
    ollama_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Released:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("OPSLORE_SIGNING_KEY", "OPSLORE_SIGNING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    # A machine, or a pod, that has no key of its own.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    public = (made / "team.pem.pub").read_text()
    monkeypatch.setenv("OPSLORE_TRUSTED_KEY", public)
    shutil.copytree(made / "sre", tmp_path / "sre")
    bucket = Bucket.open(f"s3://ml-{secrets.token_hex(6)}/team")
    bucket.ready()
    folders = {version: tmp_path / "sre" / version for version in (VERSION, NEXT)}
    found = Released(folders, bucket, ollama_server, f"m{secrets.token_hex(6)}", public)
    found.upload(VERSION)
    return found


def test_a_signed_release_is_installed(
    released: Released, capsys: pytest.CaptureFixture[str]
) -> None:
    assert released.install() == 0
    assert released.installed() == {f"{released.name}:{VERSION}"}
    said = json.loads(capsys.readouterr().out)
    assert said == {"installed": f"{released.name}:{VERSION}", "verified": True}


def test_a_path_is_verified_where_it_is(
    released: Released, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = released.folders[VERSION]
    (folder / "extra").touch()
    assert released.install(str(folder / MODEL)) == 4
    assert "extra is extra" in capsys.readouterr().err
    (folder / "extra").unlink()
    assert released.install(str(folder / MODEL)) == 0
    assert released.installed() == {f"{released.name}:{VERSION}"}


# Tampering: nothing of it goes to Ollama, and the message says what is wrong.

Tampering = Callable[[Released], dict[str, str] | None]


def flipped(raw: bytes) -> bytes:
    return raw[:-30] + bytes([raw[-30] ^ 1]) + raw[-29:]


def change_the_archive(it: Released) -> None:
    it.bucket.put(it.key(MODEL), flipped((it.folders[VERSION] / MODEL).read_bytes()))


def change_the_archive_and_the_digest(it: Released) -> dict[str, str]:
    """Who chose the digest in the Job's arguments is not who signed."""
    raw = flipped((it.folders[VERSION] / MODEL).read_bytes())
    it.bucket.put(it.key(MODEL), raw)
    return {"sha256": hashlib.sha256(raw).hexdigest()}


def change_archive_digest_and_listing(it: Released) -> dict[str, str]:
    told = change_the_archive_and_the_digest(it)
    listing = json.loads((it.folders[VERSION] / RELEASE).read_text())
    listing["files"][MODEL] = told["sha256"]
    it.bucket.put(it.key(RELEASE), json.dumps(listing).encode())
    return told


def change_a_paper_and_its_digest(it: Released) -> None:
    raw = (it.folders[VERSION] / EVALUATION).read_bytes() + b"\n"
    listing = json.loads((it.folders[VERSION] / RELEASE).read_text())
    listing["files"][EVALUATION] = hashlib.sha256(raw).hexdigest()
    it.bucket.put(it.key(EVALUATION), raw)
    it.bucket.put(it.key(RELEASE), json.dumps(listing).encode())


def lead_out_of_the_folder(it: Released) -> None:
    listing = json.loads((it.folders[VERSION] / RELEASE).read_text())
    listing["files"]["../evil"] = "0" * 64
    it.bucket.put(it.key(RELEASE), json.dumps(listing).encode())


def remove(name: str) -> Tampering:
    return lambda it: it.bucket.remove(it.key(name))


def the_signature_of_another(it: Released) -> None:
    it.bucket.put(it.key(SIGNATURE), (it.folders[NEXT] / SIGNATURE).read_bytes())


def the_archive_of_another_version(it: Released) -> dict[str, str]:
    it.bucket.put(it.key(MODEL), (it.folders[NEXT] / MODEL).read_bytes())
    return {"sha256": it.sha256(NEXT)}


def another_version_whole(it: Released) -> dict[str, str]:
    """Signed by the right key, in every file; but it is not what was asked for."""
    it.upload(NEXT, under=VERSION)
    return {"sha256": it.sha256(NEXT)}


def ask_for_another_agent(it: Released) -> dict[str, str]:
    return {"agent": "payroll"}


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (change_the_archive, f"{MODEL} has sha256 "),
        (change_the_archive_and_the_digest, f"{RELEASE}: {MODEL} has sha256 "),
        (change_archive_digest_and_listing, f"{MODEL} was changed; {RELEASE} was changed"),
        (change_a_paper_and_its_digest, f"{EVALUATION} was changed; {RELEASE} was changed"),
        (lead_out_of_the_folder, "names '../evil'; no release has that"),
        (remove(SIGNATURE), f"{SIGNATURE} is missing, so nothing is verified"),
        (remove(RELEASE), f"{RELEASE} is missing, so nothing is verified"),
        (remove(EVALUATION), f"{EVALUATION} is missing"),
        (the_signature_of_another, "was changed"),
        (the_archive_of_another_version, f"{RELEASE}: {MODEL} has sha256 "),
        (another_version_whole, f"this is {NEXT}, and {VERSION} was asked for"),
        (ask_for_another_agent, "a release of sre, not of payroll"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_was_not_signed_is_not_installed(
    released: Released, capsys: pytest.CaptureFixture[str], tamper: Tampering, says: str
) -> None:
    more = tamper(released) or {}
    assert released.install(**more) == 4
    said = capsys.readouterr().err
    assert says in said
    assert released.bucket.uri("sre") in said, "it names the place, not the pod's own folder"
    assert "hint:" in said
    assert released.installed() == set()


def test_another_key_is_not_trusted(
    released: Released,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = release_world.key(tmp_path / "other.pem")
    monkeypatch.setenv("OPSLORE_TRUSTED_KEY", Path(f"{other}.pub").read_text())
    assert released.install() == 4
    assert "which is not trusted" in capsys.readouterr().err
    assert released.installed() == set()
    # While a key is replaced, both are there.
    monkeypatch.setenv("OPSLORE_TRUSTED_KEY", Path(f"{other}.pub").read_text() + released.public)
    assert released.install() == 0


@pytest.mark.parametrize("value", ["", "not a key", "-----BEGIN PUBLIC KEY-----"])
def test_without_a_key_nothing_is_installed_unless_that_is_asked_for(
    released: Released,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    monkeypatch.setenv("OPSLORE_TRUSTED_KEY", value)
    assert released.install() == 2
    assert "OPSLORE_TRUSTED_KEY" in capsys.readouterr().err
    assert released.installed() == set()
    released.bucket.remove(released.key(SIGNATURE))
    uri = released.bucket.uri(released.key(MODEL))
    words = ["--sha256", released.sha256(), "--name", released.name, "--version", VERSION]
    assert main(["install", uri, *words, "--url", released.url, "--digest-only"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is False
    assert "NOT VERIFIED" in caplog.text
    assert released.installed() == {f"{released.name}:{VERSION}"}


# The same folder behind a web server.


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/elsewhere/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/elsewhere"))
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def web(released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`https://127.0.0.1:port`, with both releases below it."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    served = released.folders[VERSION].parent
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_web_server_that_has_the_papers_is_as_good(
    released: Released, web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"{web}/{VERSION}/{MODEL}"
    (released.folders[VERSION] / SIGNATURE).rename(released.folders[VERSION] / "away")
    assert released.install(uri) == 4
    assert f"{SIGNATURE} is missing, so nothing is verified" in capsys.readouterr().err
    (released.folders[VERSION] / "away").rename(released.folders[VERSION] / SIGNATURE)
    whole = (released.folders[VERSION] / MODEL).read_bytes()
    (released.folders[VERSION] / MODEL).write_bytes(flipped(whole))
    assert released.install(uri, hashlib.sha256(whole).hexdigest()) == 4
    assert f"{MODEL} has sha256" in capsys.readouterr().err
    assert released.installed() == set()
    (released.folders[VERSION] / MODEL).write_bytes(whole)
    assert released.install(uri) == 0
    assert released.installed() == {f"{released.name}:{VERSION}"}


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("https://{at}/elsewhere/v/m", 2, "sends us to /v/release.json"),
        ("http://{at}/v/m", 2, "is not s3://bucket"),
        ("https://127.0.0.1:9/v/m", 75, "https://127.0.0.1:9/v/release.json: "),
    ],
)
def test_an_address_that_does_not_serve_is_explained(
    released: Released,
    web: str,
    capsys: pytest.CaptureFixture[str],
    path: str,
    code: int,
    says: str,
) -> None:
    assert released.install(path.format(at=web.removeprefix("https://"))) == code
    assert says in capsys.readouterr().err
    assert released.installed() == set()


def test_a_server_that_nobody_vouches_for_is_refused(
    released: Released,
    web: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert released.install(f"{web}/{VERSION}/{MODEL}") == 75
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
    assert released.installed() == set()
