"""The header check: what it reads, and that a damaged file is named, not loaded."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore import ggufheader
from opslore.errors import IntegrityError, MissingInput


def small(path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_token_list(["<s>", "é", "kubectl"])
    writer.add_token_scores([0.5, -1.0, 2.0])
    writer.add_chat_template("{{ 'größer' }}\n")
    writer.add_add_bos_token(True)
    writer.add_tensor("one", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.add_tensor("two", np.ones(8, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("gguf") / "small.gguf")


def test_keys_and_tensors_are_those_the_gguf_package_reads(good: Path) -> None:
    header, other = ggufheader.read(good), gguf.GGUFReader(good)
    for name, field in other.fields.items():
        if not name.startswith("GGUF."):
            assert header.get(name) == field.contents(), name
    assert header.get("no.such.key", 5) == 5
    found = {t.name: (t.kind, t.shape, t.offset, t.size) for t in header.tensors.values()}
    assert found == {
        t.name: (int(t.tensor_type), tuple(t.shape.tolist()), t.data_offset, t.n_bytes)
        for t in other.tensors
    }
    assert ggufheader.template(good) == "{{ 'größer' }}\n"


@pytest.mark.parametrize(
    ("place", "raw", "said"),
    [
        (0, b"GGML", "it starts with b'GGML'"),
        (4, struct.pack("<I", 1), "version 1"),
        (8, struct.pack("<Q", 1 << 40), "it claims 1099511627776 tensors"),
        (16, struct.pack("<Q", 9), "the file ends inside|unknown type|bytes long|not UTF-8"),
        (24, struct.pack("<Q", 1 << 30), "key 0 is 1073741824 bytes long"),
    ],
)
def test_a_damaged_header_is_named(
    good: Path, tmp_path: Path, place: int, raw: bytes, said: str
) -> None:
    broken = bytearray(good.read_bytes())
    broken[place : place + len(raw)] = raw
    file = tmp_path / "broken.gguf"
    file.write_bytes(broken)
    with pytest.raises(IntegrityError, match=said) as caught:
        ggufheader.read(file)
    assert str(file) in caught.value.message
    assert caught.value.exit_code == 4


def test_a_tensor_past_the_end_is_named(good: Path, tmp_path: Path) -> None:
    raw = bytearray(good.read_bytes())
    # The offset is the last field of a tensor's description, after its name, shape and type.
    at = raw.index(b"two") + 3 + 4 + 8 + 4
    raw[at : at + 8] = struct.pack("<Q", 1 << 20)
    file = tmp_path / "past.gguf"
    file.write_bytes(raw)
    with pytest.raises(IntegrityError, match=r"past\.gguf: damaged GGUF: tensor two ends at byte"):
        ggufheader.read(file)


def test_a_truncated_file_names_the_first_tensor_that_is_cut(good: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    header = ggufheader.read(good)
    file.write_bytes(good.read_bytes()[: header.tensors["one"].offset + 100])
    with pytest.raises(IntegrityError, match="tensor one ends at byte"):
        ggufheader.read(file)
    file.write_bytes(b"GGUF")
    with pytest.raises(IntegrityError, match="4 bytes are too few"):
        ggufheader.read(file)


def test_a_flipped_weight_is_found_by_the_digest_only(good: Path, tmp_path: Path) -> None:
    raw = bytearray(good.read_bytes())
    raw[ggufheader.read(good).tensors["one"].offset] ^= 1
    file = tmp_path / "flipped.gguf"
    file.write_bytes(raw)
    ggufheader.check(file)
    with pytest.raises(IntegrityError, match="sha256 is"):
        ggufheader.check(file, ggufheader.sha256(good))


def test_a_missing_file_is_a_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such GGUF file"):
        ggufheader.read(tmp_path / "no.gguf")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_is_an_integrity_error_or_harmless(good: Path, data: st.DataObject) -> None:
    raw = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    file = good.with_name("fuzzed.gguf")
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        header = ggufheader.read(file)
    except IntegrityError:
        return
    for name in header.keys:
        header.get(name)
    assert all(t.offset + t.size <= file.stat().st_size for t in header.tensors.values())
