"""A release folder made by the program itself: real archives, a base model's folder, real keys."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from opslore.cards import Adapter, Bundle, Corpus, Dataset, Evaluation, Gate, Score
from opslore.config import Agent
from opslore.release import archive, papers
from opslore.release.facts import Cards

VERSION = "v20260131-0123abcd"
MODEL, ADAPTERS = "ollama-model.tar.gz", "adapters.tar.gz"
CREATED = "2026-01-31T10:00:00+00:00"


def needs_openssl() -> None:
    """model-signing imports pyOpenSSL without asking for it."""
    try:
        import model_signing.signing  # noqa: F401
    except ImportError as error:
        message = f"{error}: pip install pyOpenSSL"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def hexes(text: str, length: int = 64) -> str:
    """A digest that differs for every text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def score(column: str, split: str, name: str, right: int, n: int) -> Score:
    value = right / n
    low, high = max(value - 0.1, 0), min(value + 0.1, 1)
    return Score(
        name=name, column=column, split=split, right=right, n=n, value=value, low=low, high=high
    )


def cards(passed: bool = True, seed: str = "", base_digest: str = "") -> Cards:
    """The cards of a run, as the steps would write them."""

    def common(kind: str) -> dict[str, str]:
        ident = hexes(kind + seed)
        return {
            "id": ident,
            "uri": f"sre/{kind}/{ident[:16]}",
            "created": CREATED,
            "made_with": "opslore 0.1.0",
        }

    evaluation = Evaluation(
        **common("evaluation"),
        passed=passed,
        headline="Right on 0.90 [0.80, 1.00] of 120 S1 prompts.",
        scores=[
            score("tuned", "s1", "equivalent", 108, 120),
            score("tuned", "s2", "equivalent", 21, 40),
            score("tuned", "s3", "answered", 3, 80),
            score("base", "s1", "equivalent", 2, 16),
            score("bm25", "s1", "equivalent", 90, 120),
            score("trained", "all", "parity", 50, 50),
        ],
        gates=[
            Gate(name="G1", title="recall", passed=passed, measured="0.9 | x", threshold="0.80"),
            Gate(name="G2", title="unsafe", passed=True, measured="0", threshold="0"),
        ],
        settings={"decoding": "greedy", "server": "llamacpp"},
    )
    return (
        Corpus(
            **common("corpus"), documents=40, dropped=2, digest=hexes("c"), commit=hexes("git", 40)
        ),
        Dataset(
            **common("dataset"),
            splits={"train": 400, "valid": 20, "s1": 120, "s2": 40, "s3": 80},
            dropped=3,
            digest=hexes("d"),
        ),
        Adapter(
            **common("adapter"),
            base_model="tiny",
            base_digest=base_digest or hexes("base"),
            steps=200,
            loss=0.123456,
            valid_loss=None,
            seconds=61.5,
        ),
        Bundle(
            **common("bundle"),
            base_model="tiny",
            quantization="q8_0",
            gguf_sha256=hexes("gguf"),
            template_sha256=hexes("template"),
            commands=30,
        ),
        evaluation,
    )


@dataclass(frozen=True)
class World:
    """A machine that signs: a store with a complete release, not yet signed."""

    root: Path
    folder: Path
    agent: Agent
    archives: dict[str, str]

    def papers(self, counter: int = 1, made: Cards | None = None, version: str = VERSION) -> None:
        papers.write(self.folder, self.agent, made or cards(), version, counter, self.archives)

    def trusting(self, key: Path) -> Agent:
        """The same agent on a machine where `publish.key` names a public key."""
        publish = self.agent.publish.model_copy(update={"key": str(key)})
        return self.agent.model_copy(update={"publish": publish})


def packed(folder: Path, room: Path, size: int = 200_000) -> dict[str, str]:
    """Two archives as publish makes them, of random bytes."""
    files = room / "files"
    files.mkdir(parents=True)
    (files / "model.gguf").write_bytes(os.urandom(size))
    (files / "Modelfile").write_text('FROM model.gguf\nTEMPLATE """{{ .Prompt }}"""\n')
    (files / "adapter.safetensors").write_bytes(os.urandom(size // 10))
    return {
        MODEL: archive.pack(files, ["model.gguf", "Modelfile"], folder / MODEL),
        ADAPTERS: archive.pack(files, ["adapter.safetensors"], folder / ADAPTERS),
    }


def key(path: Path, *options: str) -> Path:
    """A private key made by another program, and its public half beside it."""
    kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "genpkey", *(options or kind), "-out", str(path)], check=True, timeout=60
    )
    path.chmod(0o600)
    subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout", "-out", f"{path}.pub"],
        check=True,
        timeout=60,
    )
    return path


@contextmanager
def nobody() -> Iterator[None]:
    """Not root for a while, because root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model's folder, as far as papers look into it."""
    return model_folder(tmp_path_factory.mktemp("base") / "tiny", "apache-2.0")


@pytest.fixture(scope="session")
def built(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder with papers, unsigned; copied for every test."""
    root = tmp_path_factory.mktemp("built")
    folder = root / "runs" / "sre" / VERSION
    folder.mkdir(parents=True)
    archives = packed(folder, root / "room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_CACHE", str(root / "cache"))
        World(root, folder, agent(base), archives).papers()
    shutil.rmtree(root / "room")
    return root


def model_folder(folder: Path, licence: str) -> Path:
    """A Hugging Face folder that passes the checks of a base model; its card names a licence."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    save_file({"weight": np.zeros(4, np.float32)}, folder / "model.safetensors")
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n# Tiny\n")
    return folder


def agent(base: Path) -> Agent:
    return Agent(name="sre", base_model=str(base), collect=[{"path": "RUNBOOK.md"}])


@pytest.fixture
def world(built: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine of its own: home folder, store, no key yet, and a release to be signed."""
    for name in ("OPSLORE_SIGNING_KEY", "OPSLORE_SIGNING_PASSWORD", "OPSLORE_TRUSTED_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OPSLORE_CACHE", str(built / "cache"))
    folder = tmp_path / "runs" / "sre" / VERSION
    shutil.copytree(built / "runs" / "sre" / VERSION, folder)
    archives = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in (MODEL, ADAPTERS)}
    return World(tmp_path, folder, agent(base), archives)
