"""Sentences as vectors: the embedding model in llama.cpp, and the entries' vectors on disk.

A vector has length 1, so that the cosine of two sentences is their product. Vectors of passages are
kept by the passage's digest: a passage that is new (an entry added to a released index) is the only
one that is embedded when an index is read.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslore import ggufheader, llama, minilm
from opslore.errors import IntegrityError, ServerError
from opslore.stems import CAMEL

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

MODEL, VECTORS = "embedder.gguf", "vectors.safetensors"
"""The files of a bundle: the embedding model, and the vectors of its index."""

LONGEST = 512
"""Tokens the model reads; a longer text is cut."""

_KEPT = 4096
"""Questions whose vectors are remembered: evaluation searches for the same one several times."""


class Embedder:
    """An embedding model, loaded when the first sentence comes."""

    def __init__(self, gguf: Path | None = None) -> None:
        """Remember the model's file; without one it is made from the installed package."""
        self._file = gguf
        self._room: Path | None = None
        self._engine: Any = None
        self._seen: OrderedDict[str, Vectors] = OrderedDict()

    def __call__(self, text: str) -> Vectors:
        """The vector of one sentence, length 1.

        Raises:
            IntegrityError: a damaged model file.
            MissingExtra: xllamacpp is not installed.
            ServerError: llama.cpp refuses the model.
        """
        if text in self._seen:
            self._seen.move_to_end(text)
            return self._seen[text]
        if self._engine is None:
            self._load()
        found = self._ask(text)
        self._seen[text] = found
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return found

    @property
    def gguf(self) -> Path:
        """The model's file.

        Raises:
            MissingExtra: the package that carries it is not installed.
        """
        if self._file is None:
            self._file = minilm.gguf()
        return self._file

    def close(self) -> None:
        """Free the model's memory; the next sentence loads it again."""
        self._engine = None
        if self._room is not None:
            shutil.rmtree(self._room, ignore_errors=True)
            self._room = None

    def __del__(self) -> None:
        """Leave no folder behind."""
        self.close()

    def _ask(self, text: str) -> Vectors:
        import numpy as np

        while True:
            answer = self._engine.handle_embeddings({"input": text or " "})
            if "error" not in answer:
                found = np.asarray(answer["data"][0]["embedding"], dtype=np.float32)
                return found / max(float(np.linalg.norm(found)), 1e-12)
            if len(text) < LONGEST:
                raise ServerError(f"{self.gguf}: llama.cpp: {answer['error']}")
            # Its only limit is the length; how many tokens a text has, llama.cpp alone knows.
            text = text[: len(text) * 2 // 3]

    def _load(self) -> None:
        ggufheader.read(self.gguf)
        self._room = Path(tempfile.mkdtemp(prefix="opslore-"))
        self._engine = llama.engine(
            self.gguf,
            self._room / "e.sock",
            context=LONGEST,
            threads=1,  # a sentence is too short to share out, and more change roundings
            what="an index with an embedder",
            embedding=True,
            n_batch=LONGEST,
            n_ubatch=LONGEST,
        )
        self._engine.handle_embeddings({"input": "a"})


@lru_cache(maxsize=2)
def shared(gguf: Path | None = None) -> Embedder:
    """The embedder of a file, one for the whole process; freed when it ends.

    Args:
        gguf: the model; without one it is made from the installed package.
    """
    found = Embedder(gguf)
    atexit.register(found.close)
    return found


class Passages:
    """The vectors of an index's passages, and which entry each of them is of."""

    def __init__(
        self, passages: Sequence[Sequence[str]], embed: Embedder, known: dict[str, Vectors]
    ) -> None:
        """Look up the passages of every entry, and embed those that are not known.

        Args:
            passages: the passages of each entry.
            embed: the model.
            known: vectors by the passage's digest.
        """
        import numpy as np

        self.embed = embed
        self.known: dict[str, Vectors] = {}
        owners: list[int] = []
        rows: list[Vectors] = []
        for place, texts in enumerate(passages):
            for text in texts:
                digest = digest_of(text)
                if digest not in self.known:
                    vector = known[digest] if digest in known else embed(text)
                    # As they are kept: the same scores before and after a file.
                    self.known[digest] = vector.astype(np.float16).astype(np.float32)
                owners.append(place)
                rows.append(self.known[digest])
        self.matrix = np.stack(rows) if rows else np.zeros((0, 1), dtype=np.float32)
        self.owners = np.asarray(owners, dtype=np.int64)
        self.count = len(passages)

    def cosines(self, question: str) -> np.ndarray[Any, Any]:
        """The nearest passage's cosine, per entry, -1 to 1."""
        import numpy as np

        found = np.full(self.count, -1.0)
        if len(self.owners):
            np.maximum.at(found, self.owners, self.matrix @ self.embed(prose(question)))
        return found

    def write(self, path: Path) -> None:
        """Keep the vectors by their passage's digest, in half precision."""
        import numpy as np
        from safetensors.numpy import save_file

        names = sorted(self.known)
        digests = np.frombuffer(bytes.fromhex("".join(names)), dtype=np.uint8).reshape(-1, 32)
        vectors = np.stack([self.known[name] for name in names]).astype(np.float16)
        tensors = {"digests": digests.copy(), "vectors": vectors}
        save_file(tensors, path, metadata={"embedder": minilm.NAME})


def digest_of(text: str) -> str:
    """What a passage's vector is kept under: SHA-256, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> dict[str, Vectors]:
    """Vectors by their passage's digest; those of another embedding model are left out.

    Raises:
        IntegrityError: the file is missing, torn, or of another kind.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            made_with = (opened.metadata() or {}).get("embedder")
            digests, vectors = opened.get_tensor("digests"), opened.get_tensor("vectors")
        vectors = vectors.astype(np.float32)
        if len(digests) != len(vectors) or digests.shape[1:] != (32,) or vectors.ndim != 2:
            raise ValueError(f"{len(digests)} digests, {len(vectors)} vectors")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not a number")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise IntegrityError(
            f"{path}: no vectors of an index: {error}",
            hint=f"delete {path.parent} and run the step again",
        ) from error
    if made_with != minilm.NAME:
        return {}
    return {row.tobytes().hex(): vector for row, vector in zip(digests, vectors, strict=True)}


def spaced(name: str) -> str:
    """A CamelCase name as words."""
    return " ".join(CAMEL.findall(name)) or name


def passages(title: str, section: str, symptoms: str) -> list[str]:
    """What of an alert is embedded: its name, alone and in its section, and each sentence under it.

    With the name before it a sentence says what it is about (docs/decisions/0021).
    """
    name = spaced(title)
    lines = [part for line in symptoms.splitlines() for part in _SENTENCE.split(line)]
    told = [f"{name}: {text[:LONG]}" for line in lines if len(text := line.strip(" -*")) >= SHORT]
    return list(dict.fromkeys([name, f"{section}: {name}", *told]))


def prose(question: str) -> str:
    """What a question says without its labels and its JSON: those only blur its vector."""
    if question.lstrip()[:1] in ("{", "["):
        try:
            found = [text for key, text in _leaves(json.loads(question)) if key in _TELLING]
        except (ValueError, RecursionError):
            found = []
        question = " . ".join(dict.fromkeys(map(_split, found))) or question
    plain = _LABEL.sub(" ", question)
    return " ".join(_split(plain).split()) or question


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
SHORT, LONG = 15, 220
"""Characters of a sentence: a shorter one says nothing, of a longer one the beginning counts."""
_LABEL = re.compile(r"""(?<!\w)[A-Za-z_]\w*=(?:"[^"]*"|\S+)""")
_TELLING = ("alertname", "summary", "description", "message")


def _split(text: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, str(node)
