"""A GGUF as a Hugging Face folder, and the names and layouts both sides use.

Llama and Gemma 3 are known. llama.cpp keeps Llama's query and key rows interleaved for its rotary
embedding and Gemma's norm weights with the 1 added that transformers adds when it runs; both are
undone here and redone on export (ggml, convert_hf_to_gguf.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opslore.errors import DataError
from opslore.ggufheader import Header, Tensor

OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
"""Names outside the blocks: transformers' to llama.cpp's, without the ending .weight or .bias."""

_SHARED = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
}
BLOCK = {
    "llama": _SHARED | {"post_attention_layernorm": "ffn_norm"},
    "gemma3": _SHARED
    | {
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    },
}
"""Names inside block i, by architecture: model.layers.i.<key> is blk.i.<value>."""


def architecture(header: Header) -> str:
    """The architecture of a GGUF.

    Raises:
        DataError: it is none of those whose layout is known here.
    """
    found = str(header.get("general.architecture", "unknown"))
    if found not in BLOCK:
        raise DataError(
            f"{header.path}: architecture {found!r}; from a GGUF {' and '.join(BLOCK)} can be"
            " trained",
            hint="use the model's Hugging Face folder or hub id instead",
        )
    return found


def gguf_name(name: str, arch: str) -> str:
    """The name in a GGUF of a transformers tensor; empty when the architecture has none."""
    stem, _, ending = name.rpartition(".")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{ending}"
    index, _, inside = stem.removeprefix("model.layers.").partition(".")
    if not stem.startswith("model.layers.") or inside not in BLOCK[arch]:
        return ""
    return f"blk.{index}.{BLOCK[arch][inside]}.{ending}"


def hf_name(name: str, arch: str) -> str:
    """The name in transformers of a GGUF's tensor; empty when it is not known."""
    stem, _, ending = name.rpartition(".")
    outside = {theirs: ours for ours, theirs in OUTSIDE.items()}
    if stem in outside:
        return f"{outside[stem]}.{ending}"
    block, _, rest = stem.partition(".")
    index, _, inside = rest.partition(".")
    known = {theirs: ours for ours, theirs in BLOCK[arch].items()}
    if block != "blk" or inside not in known:
        return ""
    return f"model.layers.{index}.{known[inside]}.{ending}"


def heads(name: str, arch: str, header: Header) -> int:
    """Attention heads whose rows llama.cpp keeps interleaved in this tensor; 0 when it does not."""
    if arch != "llama" or not name.startswith("blk."):
        return 0
    stem = name.rpartition(".")[0]
    if stem.endswith(".attn_q"):
        return int(header.get("llama.attention.head_count"))
    if stem.endswith(".attn_k"):
        count = header.get("llama.attention.head_count")
        return int(header.get("llama.attention.head_count_kv", count))
    return 0


def interleave(rows: Any, heads: int) -> Any:
    """Rotary halves (transformers) to rotary pairs (llama.cpp), within each head."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def halves(rows: Any, heads: int) -> Any:
    """The inverse of `interleave`."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def is_norm(name: str) -> bool:
    """Whether a llama.cpp tensor is the weight of a normalisation."""
    return name.endswith("norm.weight")


def to_folder(header: Header, folder: Path, gemma_template: str) -> None:
    """Write a GGUF's model as a Hugging Face folder.

    Matrices are stored as float16: the values come from blocks of 4 to 8 bits whose scales are
    float16 themselves, so the rounding (2^-11) is far below the quantisation that was there before,
    and bfloat16 (2^-9) would lose more. Norms stay float32, which keeps them exact. The
    configuration says float32, so whoever does not ask for a type computes in full precision.

    Raises:
        DataError: another architecture, a tensor that has no place in it, or no chat template.
    """
    from safetensors.numpy import save_file

    arch = architecture(header)
    settings = config(header)
    folder.mkdir(parents=True)
    save_file(_tensors(header, arch), folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(header, folder, gemma_template if arch == "gemma3" else "")
    settings.save_pretrained(folder)


def dequantised(header: Header, tensor: Tensor) -> Any:
    """A tensor's values as float32, rows last (numpy order)."""
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    kind = GGMLQuantizationType(tensor.kind)
    raw = np.fromfile(header.path, dtype=np.uint8, count=tensor.size, offset=tensor.offset)
    shape = tuple(reversed(tensor.shape))
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        plain = np.float32 if kind == GGMLQuantizationType.F32 else np.float16
        return raw.view(plain).reshape(shape).astype(np.float32)
    return quants.dequantize(raw.reshape(*shape[:-1], -1), kind).reshape(shape)


def _tensors(header: Header, arch: str) -> dict[str, Any]:
    import numpy as np

    found = {}
    for tensor in header.tensors.values():
        name = hf_name(tensor.name, arch)
        if not name:
            raise DataError(
                f"{header.path}: tensor {tensor.name} has no place in {arch}",
                hint="use the model's Hugging Face folder or hub id instead",
            )
        values = dequantised(header, tensor)
        if count := heads(tensor.name, arch, header):
            values = halves(values, count)
        if arch == "gemma3" and is_norm(tensor.name):
            values = values - np.float32(1)
        found[name] = np.ascontiguousarray(values.astype(np.float16) if values.ndim > 1 else values)
    return found


def config(header: Header) -> Any:
    """What a GGUF's header says of the model, as transformers' configuration.

    Raises:
        DataError: another architecture, or a key that is missing or not known here.
    """
    import transformers

    arch = architecture(header)

    def key(name: str, default: Any = None) -> Any:
        value = header.get(f"{arch}.{name}", default)
        if value is None:
            raise DataError(f"{header.path}: key {arch}.{name} is missing")
        return value

    if key("rope.scaling.type", "none") != "none" or key("expert_count", 0):
        raise DataError(
            f"{header.path}: scaled rotary embeddings and experts are not converted",
            hint="use the model's Hugging Face folder or hub id instead",
        )
    width, count = key("embedding_length"), key("attention.head_count")
    theta = key("rope.freq_base", 10000.0)
    shared = {
        "vocab_size": header.tensors["token_embd.weight"].shape[1],
        "hidden_size": width,
        "intermediate_size": key("feed_forward_length"),
        "num_hidden_layers": key("block_count"),
        "num_attention_heads": count,
        "num_key_value_heads": key("attention.head_count_kv", count),
        "head_dim": key("attention.key_length", width // count),
        "max_position_embeddings": key("context_length"),
        "rms_norm_eps": float(f"{key('attention.layer_norm_rms_epsilon'):.6g}"),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "bos_token_id": header.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": header.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": header.get("tokenizer.ggml.padding_token_id"),
        "dtype": "float32",
    }
    if arch == "llama":
        return transformers.LlamaConfig(
            architectures=["LlamaForCausalLM"],
            attention_bias="blk.0.attn_q.bias" in header.tensors,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
            **shared,
        )
    return transformers.Gemma3TextConfig(
        architectures=["Gemma3ForCausalLM"],
        sliding_window=key("attention.sliding_window"),
        query_pre_attn_scalar=shared["head_dim"],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        **shared,
    )


def _tokenizer(header: Header, folder: Path, fallback: str) -> None:
    """The tokenizer with its chat template, and the tokens that end a reply."""
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        header.path.parent, gguf_file=header.path.name
    )
    tokenizer.chat_template = header.get("tokenizer.chat_template") or fallback
    if not tokenizer.chat_template:
        raise DataError(
            f"{header.path}: the GGUF has no chat template", hint="use the instruct version"
        )
    tokenizer.save_pretrained(folder)
    ends = [tokenizer.eos_token_id]
    if "<end_of_turn>" in tokenizer.chat_template:
        ends.append(tokenizer.convert_tokens_to_ids("<end_of_turn>"))
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    ).save_pretrained(folder)
