"""A bundle that a real Ollama can take: a tiny model that says one command and ends its turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import entries
import numpy as np
import pytest
from test_ask import WIDTH, parrot
from tiny_models import CHATML

from opslore import ggufheader
from opslore.bundle import catalogue, modelfile
from opslore.index import Index
from opslore.release.targets import Staged
from opslore.servers.ollama_client import Client
from opslore.store import sha256

SYSTEM = "You are an SRE.\nAnswer with the command."
SAYS = ["d", "f", "Ġ-", "h"]
VERSIONS = ["v20260101-00000001", "v20260202-00000002", "v20260303-00000003"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A module that imports this asks every Ollama to compute with one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLORE_OLLAMA_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def client(ollama_server: str) -> Iterator[Client]:
    """A connection to the real Ollama."""
    with Client(ollama_server) as found:
        yield found


def bundle(
    folder: Path, pieces: list[str] = SAYS, system: str = SYSTEM, endless: bool = False
) -> Path:
    """What `export` leaves: GGUF, Modelfile, index, catalogue, settings."""
    folder.mkdir(parents=True, exist_ok=True)
    parrot(folder / "model.gguf", pieces)
    if endless:
        _say_next(folder / "model.gguf", SAYS[0], [SAYS[-1]] * 2)
    assert ggufheader.template(folder / "model.gguf") == CHATML
    return around(folder, system)


def around(folder: Path, system: str = SYSTEM) -> Path:
    """The rest of a bundle, written around the `model.gguf` that its folder has."""
    index = Index(
        [
            entries.made("NodeDiskFull", "the filesystem of the node is almost full", "df -h"),
            entries.made("NodeLoadHigh", "the load average is far above normal", "uptime -p"),
        ]
    )
    index.write(folder)
    known = catalogue.build(entry.answer for entry in index.entries)
    (folder / "catalogue.json").write_text(known.model_dump_json())
    (folder / "settings.json").write_text(json.dumps({"system_prompt": system, "entries": 2}))
    template = ggufheader.template(folder / "model.gguf")
    parameters = {"num_ctx": 1024, "temperature": 0.0, "num_predict": 24}
    text = modelfile.render("model.gguf", template, system, modelfile.stops(template), parameters)
    (folder / "Modelfile").write_text(text)
    return folder


def staged(files: Path, version: str, agent: str = "parrot") -> Staged:
    """The release that a bundle's folder is."""
    return Staged(agent, version, files, uri=str(files), sha256=sha256(files / "model.gguf"))


def speaks_json(path: Path) -> None:
    """Let a parrot begin its sentence after a quote too, so that it can say it inside JSON.

    Which quote is the value's, the schema knows: elsewhere it leaves the first word no room.
    """
    _say_next(path, SAYS[0], ['"', 'Ġ"'])


def _say_next(path: Path, word: str, after: list[str]) -> None:
    """Make a word more likely after others; named twice, it is likelier than what came before."""
    header = ggufheader.read(path)
    words = header.get("tokenizer.ggml.tokens")
    with path.open("r+b") as file:

        def row(tensor: str, word: str) -> tuple[int, np.ndarray[Any, np.dtype[np.float32]]]:
            offset = header.tensors[tensor].offset + words.index(word) * WIDTH * 4
            file.seek(offset)
            return offset, np.frombuffer(file.read(WIDTH * 4), dtype="<f4")

        offset, whole = row("output.weight", word)
        for before in after:
            whole = whole + row("token_embd.weight", before)[1]
        file.seek(offset)
        file.write(whole.astype("<f4").tobytes())
