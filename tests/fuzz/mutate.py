"""Our own mutator: a seed with a few places damaged, the same for the same random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

SIGNS = (
    *[b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\r\n", b"\n", b"\t"],
    *[b"'", b'"', b"`", b"```", b"~~~", b"#", b"\\", b"$(", b"${", b"((", b"{{", b"}}", b"<", b">"],
    *[b"<<E", b"<!--", b"-->", b"[", b"]", b"{", b"}", b":", b"&a", b"*a", b"!!", b"|", b"-", b","],
    *[b"0", b"-1", b"1e999", b"NaN", b"null", b'"""', b"\\u0000", b"\\ud800", b"--- ", b"? "],
)
"""What parsers trip over."""

MAX_BYTES = 20_000
"""Larger inputs cost time and find nothing more."""


def damaged(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """A seed with one to eight places damaged."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        rng.choice(_WAYS)(data, seeds, rng)
    return bytes(data[:MAX_BYTES])


def _place(data: bytearray, rng: random.Random) -> tuple[int, int]:
    at = rng.randint(0, len(data))
    return at, min(len(data), at + rng.choice((1, 2, 4, 8, 40, 400)))


def _flip(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _put(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    at, _ = _place(data, rng)
    data[at:at] = rng.choice(SIGNS) * rng.choice((1, 1, 1, 2, 3, 50, 1000))


def _take(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    at, to = _place(data, rng)
    del data[at:to]


def _repeat(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    at, to = _place(data, rng)
    data[at:at] = bytes(data[at:to]) * rng.choice((1, 2, 10, 200))


def _cut(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _number(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    """A little-endian number such as a length or an offset."""
    size = rng.choice((2, 4, 8))
    value = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)))
    at = rng.randint(0, len(data))
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _join(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    """The beginning of this one and the end of another."""
    other = rng.choice(seeds)
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


_WAYS: tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...] = (
    *(_flip, _byte, _put, _put, _put, _take, _repeat, _cut, _number, _join, _join),
)
