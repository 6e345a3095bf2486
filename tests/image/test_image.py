"""The image without an engine: built from this environment, unpacked, and run in its own root."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import ollama_world
import pytest
from real.node import IMAGES, images
from release import release_world
from release.release_world import MODEL, base  # noqa: F401

from opslore.release import archive, issue, papers, signing
from opslore.release.jobspec import SCRATCH

pytest_plugins = ["real.fixtures"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("image") / "image.tar"
    done = subprocess.run([sys.executable, IMAGES, path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path, json.loads(done.stdout)


@pytest.fixture(scope="module")
def blobs(built: tuple[Path, dict[str, Any]]) -> dict[str, bytes]:
    with tarfile.open(built[0]) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def root(blobs: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layers, unpacked over each other."""
    folder = tmp_path_factory.mktemp("root")
    for layer in manifest(blobs)["layers"]:
        with tarfile.open(fileobj=opened(blobs, layer)) as archive:
            archive.extractall(folder, filter="tar")
    folder.chmod(0o755)  # pytest makes it for its own user alone
    return folder


def opened(blobs: dict[str, bytes], layer: dict[str, Any]) -> Any:
    import io

    return io.BytesIO(gzip.decompress(blob(blobs, layer)))


def blob(blobs: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """A blob, if it is what its descriptor says."""
    data = blobs["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data


def manifest(blobs: dict[str, bytes]) -> dict[str, Any]:
    index = json.loads(blobs["index.json"])
    (entry,) = index["manifests"]
    found: dict[str, Any] = json.loads(blob(blobs, entry))
    return found


def test_every_digest_of_the_archive_holds(
    built: tuple[Path, dict[str, Any]], blobs: dict[str, bytes]
) -> None:
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    found = manifest(blobs)
    config = json.loads(blob(blobs, found["config"]))
    diffs = [
        f"sha256:{hashlib.sha256(gzip.decompress(blob(blobs, layer))).hexdigest()}"
        for layer in found["layers"]
    ]
    assert config["rootfs"] == {"type": "layers", "diff_ids": diffs}
    named = {found["config"]["digest"], *(layer["digest"] for layer in found["layers"])}
    index = json.loads(blobs["index.json"])["manifests"][0]
    assert index["digest"] == built[1]["digest"]
    named.add(index["digest"])
    there = {"sha256:" + name.rsplit("/", 1)[1] for name in blobs if name.startswith("blobs/")}
    assert there == named


def test_the_same_files_give_the_same_image(
    built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    again = tmp_path / "again.tar"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, IMAGES, again], check=True, env=environment, umask=0o077)
    assert again.read_bytes() == built[0].read_bytes()


def test_it_runs_as_nobody_in_particular_and_has_no_shell(
    blobs: dict[str, bytes], root: Path
) -> None:
    config = json.loads(blob(blobs, manifest(blobs)["config"]))["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/local/bin/opslore"]
    programs = {path.name for path in (root / "usr/local/bin").iterdir()}
    assert programs == {"opslore", f"python{sys.version_info.major}.{sys.version_info.minor}"}
    names = {path.name for path in root.rglob("*")}
    assert not names & {"sh", "bash", "busybox", "pip", "apt", "curl", "torch", "transformers"}
    assert not [path for path in root.rglob("*") if path.stat().st_mode & 0o6000]


def test_it_is_small(built: tuple[Path, dict[str, Any]]) -> None:
    assert built[1]["archive"] < 100 << 20
    assert built[1]["unpacked"] < 300 << 20


def inside(
    root: Path, blobs: dict[str, bytes], *command: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with the image's root, user and environment."""
    config = json.loads(blob(blobs, manifest(blobs)["config"]))["config"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    environment |= {"HOME": SCRATCH, "TMPDIR": SCRATCH, **more}
    entering = ["chroot", f"--userspec={config['User']}", str(root)]
    if os.geteuid() != 0:
        if shutil.which("unshare") is None:
            pytest.skip("needs root, or unshare: apt-get install util-linux")
        entering = ["unshare", "--map-root-user", "chroot", str(root)]
    path = os.environ["PATH"] + ":/usr/sbin"
    program = shutil.which(entering[0], path=path)
    assert program is not None
    whole = [program, *entering[1:], *(command or config["Entrypoint"])]
    return subprocess.run(
        whole, env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )


def test_its_entry_point_runs_in_its_own_root(root: Path, blobs: dict[str, bytes]) -> None:
    done = inside(root, blobs, "/usr/local/bin/opslore", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: opslore" in done.stdout
    assert not list(root.rglob("__pycache__"))


@pytest.mark.parametrize(
    "modules",
    [
        "opslore.release.archive, opslore.release.tar, opslore.release.targets, opslore.cards",
        "opslore.servers.template, opslore.ggufheader, opslore.config, opslore.agentfile",
        "opslore.release.inside, opslore.release.signing as s; s._library()",
        "httpx, obstore, obstore.store, pydantic, model_signing, cryptography, sqlite3",
        "opslore.index, opslore.prompt, opslore.commands, bm25s, Stemmer, tree_sitter_bash",
        "ssl; assert ssl.create_default_context().get_ca_certs()",
    ],
)
def test_what_an_import_needs_is_there(root: Path, blobs: dict[str, bytes], modules: str) -> None:
    python = f"/usr/local/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    done = inside(root, blobs, python, "-I", "-c", f"import {modules}")
    assert done.returncode == 0, done.stderr


def test_it_verifies_a_release_installs_it_and_points_to_it(
    root: Path,
    blobs: dict[str, bytes],
    base: Path,
    ollama_server: str,
    tmp_path: Path,
) -> None:
    """Much is imported only when it is needed, so only the whole way shows what is missing."""
    room, version = root / SCRATCH.lstrip("/"), ollama_world.VERSIONS[0]
    folder = room / "sre" / version
    folder.mkdir(parents=True)
    digest = archive.pack(ollama_world.bundle(tmp_path / "bundle"), issue.SHIPPED, folder / MODEL)
    papers.write(folder, release_world.agent(base), release_world.cards(), version, 1,
                 {MODEL: digest})  # fmt: skip
    key = release_world.key(tmp_path / "team.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_SIGNING_KEY", str(key))
        signing.sign(folder, release_world.agent(base))
    for path in (room, *room.rglob("*")):
        path.chmod(0o777)
    before = {path for path in room.rglob("*")}
    where = ["--url", ollama_server, "--name", "inside"]
    words = [f"{SCRATCH}/sre/{version}/{MODEL}", "--agent", "sre", "--sha256", digest]
    command = ["/usr/local/bin/opslore", "install", *words, "--version", version, *where]
    done = inside(root, blobs, *command)
    assert done.returncode == 2, done.stderr
    assert "no trusted key" in done.stderr
    trusted = {"OPSLORE_TRUSTED_KEY": Path(f"{key}.pub").read_text()}
    done = inside(root, blobs, *command, **trusted)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"installed": f"inside:{version}", "verified": True}
    command = ["/usr/local/bin/opslore", "point", "--version", version, *where]
    done = inside(root, blobs, *command)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["now"] == told["versions"][version]
    assert {path for path in room.rglob("*")} == before
    shutil.rmtree(room)


def test_the_packages_are_those_that_the_list_asks_for() -> None:
    names = {found.name.lower() for found in images().closure()}
    assert {"httpx", "obstore", "pydantic", "model-signing"} <= names
    assert not names & {"torch", "transformers", "mlflow-skinny", "kubernetes", "pytest"}
