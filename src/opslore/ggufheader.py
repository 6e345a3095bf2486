"""The header of a GGUF file, read and checked before anything trusts the file.

The layout is the one of the GGUF specification (ggml, docs/gguf.md, versions 2 and 3): magic,
version, counts, key-value pairs, tensor descriptions, then the tensors' bytes, aligned. Strings of
a vocabulary are stepped over and decoded only when asked for, so a header takes tenths of a second.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from opslore.errors import IntegrityError, MissingInput

MAGIC = b"GGUF"
ALIGNMENT = 32
"""Bytes; what tensors are aligned to when `general.alignment` is not set."""
MAX_COUNT = 1 << 24
"""More keys or tensors than this is a damaged count, not a model."""
MAX_NAME = 1 << 16

STRING, ARRAY = 8, 9
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""struct format of each value type that has a fixed size."""


@dataclass(frozen=True)
class Key:
    """One key-value pair: its type, where its value stands, and where the whole pair ends."""

    name: str
    kind: int
    start: int
    """Offset of the pair (its name's length) from the start of the file, in bytes."""
    value: int
    """Offset of the value, in bytes."""
    end: int


@dataclass(frozen=True)
class Tensor:
    """One tensor: type, dimensions in ggml order (the row first), and its place in the file."""

    name: str
    kind: int
    shape: tuple[int, ...]
    offset: int
    """From the start of the file, in bytes."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Header:
    """Keys and tensors of one GGUF file, in the order of the file."""

    path: Path
    version: int
    alignment: int
    keys: dict[str, Key]
    tensors: dict[str, Tensor]
    data: int
    """Where the tensors' bytes start."""
    raw: bytes = field(repr=False)
    """The bytes up to `data`."""

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a key: a number, a text or a list of them; the default when absent."""
        key = self.keys.get(name)
        return default if key is None else _decode(self.raw, key.value, key.kind)[0]


def read(path: Path) -> Header:
    """The checked header of a GGUF file.

    Raises:
        MissingInput: there is no such file.
        IntegrityError: wrong magic or version, a key or tensor beyond the end of the file.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such GGUF file")
    size = path.stat().st_size
    if size < 24:
        raise _broken(path, f"{size} bytes are too few for a header")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _Parser(path, view, size).header()


def check(path: Path, digest: str = "") -> Header:
    """Refuse a GGUF that is damaged or truncated; with a digest, one that is not that file.

    Raises:
        IntegrityError: naming the file and what is wrong with it.
    """
    header = read(path)
    if digest and (found := sha256(path)) != digest:
        raise IntegrityError(
            f"{path}: sha256 is {found}, expected {digest}", hint="fetch or make the file again"
        )
    return header


def template(path: Path) -> str:
    """The chat template inside a GGUF; empty when it has none."""
    return str(read(path).get("tokenizer.chat_template", ""))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(path: Path, what: str) -> IntegrityError:
    return IntegrityError(f"{path}: damaged GGUF: {what}", hint="fetch or make the file again")


class _Parser:
    """Walks a mapped file; every step checks that it stays inside."""

    def __init__(self, path: Path, view: mmap.mmap, size: int) -> None:
        self.path, self.view, self.size = path, view, size
        self.at = 0

    def header(self) -> Header:
        if self.view[:4] != MAGIC:
            raise _broken(self.path, f"it starts with {self.view[:4]!r}, not {MAGIC!r}")
        self.at = 4
        version = self.number("I", "version")
        if version not in (2, 3):
            raise _broken(self.path, f"version {version}; versions 2 and 3 are known")
        tensors, keys = self.number("Q", "tensor count"), self.number("Q", "key count")
        if max(tensors, keys) > MAX_COUNT:
            raise _broken(self.path, f"it claims {tensors} tensors and {keys} keys")
        found = self.keys(keys)
        alignment = ALIGNMENT
        if key := found.get("general.alignment"):
            alignment = _decode(self.view, key.value, key.kind)[0] if key.kind == 4 else 0
            if alignment <= 0 or alignment & (alignment - 1):
                raise _broken(self.path, "general.alignment is not a power of two")
        described = [self.described() for _ in range(tensors)]
        data = -(-self.at // alignment) * alignment
        placed = self.placed(described, data, alignment)
        raw = self.view[: min(data, self.size)]
        return Header(self.path, version, alignment, found, placed, data, raw)

    def keys(self, count: int) -> dict[str, Key]:
        found: dict[str, Key] = {}
        for index in range(count):
            start = self.at
            name = self.text(f"key {index}")
            kind = self.number("I", f"type of {name}")
            value = self.at
            self.skip(kind, name)
            if name in found:
                raise _broken(self.path, f"key {name} stands there twice")
            found[name] = Key(name, kind, start, value, self.at)
        return found

    def described(self) -> tuple[str, int, tuple[int, ...], int]:
        name = self.text("a tensor's name")
        dimensions = self.number("I", f"dimensions of tensor {name}")
        if dimensions > 4:
            raise _broken(self.path, f"tensor {name} has {dimensions} dimensions")
        shape = tuple(self.number("Q", f"shape of tensor {name}") for _ in range(dimensions))
        kind = self.number("I", f"type of tensor {name}")
        return name, kind, shape, self.number("Q", f"offset of tensor {name}")

    def placed(
        self, described: list[tuple[str, int, tuple[int, ...], int]], data: int, alignment: int
    ) -> dict[str, Tensor]:
        from gguf import GGML_QUANT_SIZES

        sizes = {int(kind): pair for kind, pair in GGML_QUANT_SIZES.items()}
        tensors: dict[str, Tensor] = {}
        for name, kind, shape, offset in described:
            if kind not in sizes:
                raise _broken(self.path, f"tensor {name} has the unknown type {kind}")
            block, width = sizes[kind]
            if name in tensors or offset % alignment or (shape and shape[0] % block):
                raise _broken(self.path, f"tensor {name} is misplaced, torn or there twice")
            size = prod(shape) * width // block
            if data + offset + size > self.size:
                raise _broken(
                    self.path,
                    f"tensor {name} ends at byte {data + offset + size}, the file at {self.size}",
                )
            tensors[name] = Tensor(name, kind, shape, data + offset, size)
        return tensors

    def number(self, form: str, what: str) -> int:
        width = struct.calcsize("<" + form)
        if self.at + width > self.size:
            raise _broken(self.path, f"the file ends inside the {what}")
        value: int = struct.unpack_from("<" + form, self.view, self.at)[0]
        self.at += width
        return value

    def text(self, what: str) -> str:
        length = self.number("Q", what)
        if length > MAX_NAME or self.at + length > self.size:
            raise _broken(self.path, f"{what} is {length} bytes long")
        raw = self.view[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise _broken(self.path, f"{what} is not UTF-8") from error

    def skip(self, kind: int, name: str) -> None:
        """Step over one value without decoding it."""
        if kind in SCALARS:
            self.leap(struct.calcsize("<" + SCALARS[kind]), name)
        elif kind == STRING:
            self.leap(self.number("Q", name), name)
        elif kind == ARRAY:
            item, count = self.number("I", name), self.number("Q", name)
            if item in SCALARS:
                self.leap(struct.calcsize("<" + SCALARS[item]) * count, name)
            elif item == STRING:
                for _ in range(count):
                    self.leap(self.number("Q", name), name)
            else:
                raise _broken(self.path, f"key {name} is a list of unknown type {item}")
        else:
            raise _broken(self.path, f"key {name} has the unknown type {kind}")

    def leap(self, width: int, name: str) -> None:
        self.at += width
        if self.at > self.size:
            raise _broken(self.path, f"the file ends inside the key {name}")


def _decode(raw: bytes | mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    """The value of this type at an offset that was checked, and the offset behind it."""
    if kind in SCALARS:
        form = "<" + SCALARS[kind]
        return struct.unpack_from(form, raw, at)[0], at + struct.calcsize(form)
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", raw, at)
        return raw[at + 8 : at + 8 + length].decode(errors="replace"), at + 8 + length
    item, count = struct.unpack_from("<IQ", raw, at)
    at += 12
    if item in SCALARS:
        form = f"<{count}{SCALARS[item]}"
        return list(struct.unpack_from(form, raw, at)), at + struct.calcsize(form)
    values = []
    for _ in range(count):
        value, at = _decode(raw, at, item)
        values.append(value)
    return values, at
