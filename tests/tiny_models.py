"""Real models small enough for a test: random weights, the vocabularies of the bundled models.

They are written by the `gguf` package, not by opslore, so that reading them is a test too.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from opslore import ggufheader, models

WORDS = {"llama": 4_000, "gemma3": 8_000}
"""The first tokens: the special ones, all bytes, the commonest pieces."""

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def llama(path: Path) -> Path:
    """Two blocks of Llama with grouped query heads and SmolLM2's tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    donor = ggufheader.read(models._bundled("smollm2-135m-instruct"))
    words = WORDS["llama"]
    writer.add_vocab_size(words)
    _vocabulary(writer, donor, words)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    rows = np.random.default_rng(7)
    _matrix(writer, rows, "token_embd", words, 64, scale=1.0)
    _norm(writer, rows, "output_norm", 64)
    for block in range(2):
        name = f"blk.{block}"
        _norm(writer, rows, f"{name}.attn_norm", 64)
        _norm(writer, rows, f"{name}.ffn_norm", 64)
        _matrix(writer, rows, f"{name}.attn_q", 64, 64)
        _matrix(writer, rows, f"{name}.attn_k", 32, 64)
        _matrix(writer, rows, f"{name}.attn_v", 32, 64)
        _matrix(writer, rows, f"{name}.attn_output", 64, 64)
        _feed_forward(writer, rows, name, 64, 96)
    return _written(writer, path)


def gemma(path: Path) -> Path:
    """Seven blocks of Gemma 3, so that one of them attends to everything, without a template."""
    writer = gemma_header(path, 7, gemma_words())
    rows = np.random.default_rng(11)
    _matrix(writer, rows, "token_embd", WORDS["gemma3"], 64, scale=0.5)
    _norm(writer, rows, "output_norm", 64)
    for block in range(7):
        gemma_block(writer, rows, f"blk.{block}")
    return _written(writer, path)


def gemma_words() -> list[str]:
    """The first words of Gemma 3's vocabulary."""
    donor = ggufheader.read(models._bundled("gemma-3-270m"))
    return list(donor.get("tokenizer.ggml.tokens")[: WORDS["gemma3"]])


def gemma_header(path: Path, blocks: int, words: list[str]) -> gguf.GGUFWriter:
    """The keys of a narrow Gemma 3 with these words; tensors are to follow."""
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_block_count(blocks)
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(256)
    writer.add_value_length(256)
    writer.add_rope_freq_base(1000000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_sliding_window(16)
    donor = ggufheader.read(models._bundled("gemma-3-270m"))
    _vocabulary(writer, donor, len(words), words)
    writer.add_add_bos_token(True)
    return writer


def gemma_block(
    writer: gguf.GGUFWriter, rows: np.random.Generator, name: str, silent: bool = False
) -> None:
    """One block with random weights; a silent one adds nothing to what passes through it."""
    for norm in ("attn_norm", "ffn_norm"):
        _norm(writer, rows, f"{name}.{norm}", 64)
    for norm in ("post_attention_norm", "post_ffw_norm"):
        if silent:
            writer.add_tensor(f"{name}.{norm}.weight", np.zeros(64, np.float32))
        else:
            _norm(writer, rows, f"{name}.{norm}", 64)
    _norm(writer, rows, f"{name}.attn_q_norm", 256)
    _norm(writer, rows, f"{name}.attn_k_norm", 256)
    _matrix(writer, rows, f"{name}.attn_q", 512, 64)
    _matrix(writer, rows, f"{name}.attn_k", 256, 64)
    _matrix(writer, rows, f"{name}.attn_v", 256, 64)
    _matrix(writer, rows, f"{name}.attn_output", 64, 512)
    _feed_forward(writer, rows, name, 64, 96)


def _vocabulary(
    writer: gguf.GGUFWriter, donor: ggufheader.Header, count: int, words: list[str] | None = None
) -> None:
    writer.add_tokenizer_model(donor.get("tokenizer.ggml.model"))
    writer.add_tokenizer_pre(donor.get("tokenizer.ggml.pre"))
    words = words or donor.get("tokenizer.ggml.tokens")[:count]
    writer.add_token_list(words)
    writer.add_token_types(donor.get("tokenizer.ggml.token_type")[:count])
    if merges := donor.get("tokenizer.ggml.merges"):
        known = set(words)
        writer.add_token_merges([m for m in merges if m.replace(" ", "", 1) in known])
    if scores := donor.get("tokenizer.ggml.scores"):
        writer.add_token_scores(scores[:count])
    writer.add_bos_token_id(donor.get("tokenizer.ggml.bos_token_id"))
    writer.add_eos_token_id(donor.get("tokenizer.ggml.eos_token_id"))
    writer.add_unk_token_id(donor.get("tokenizer.ggml.unknown_token_id"))
    writer.add_pad_token_id(donor.get("tokenizer.ggml.padding_token_id"))
    writer.add_add_space_prefix(False)
    writer.add_license("apache-2.0")


def _matrix(
    writer: gguf.GGUFWriter,
    rows: np.random.Generator,
    name: str,
    height: int,
    width: int,
    scale: float = 0.2,
) -> None:
    # Values that float16 holds exactly: what is tested is the road, not the rounding.
    values = (rows.standard_normal((height, width)) * scale).astype(np.float16)
    writer.add_tensor(f"{name}.weight", values.astype(np.float32))


def _norm(writer: gguf.GGUFWriter, rows: np.random.Generator, name: str, width: int) -> None:
    values = (1 + 0.25 * rows.standard_normal(width)).astype(np.float16)
    writer.add_tensor(f"{name}.weight", values.astype(np.float32))


def _feed_forward(
    writer: gguf.GGUFWriter, rows: np.random.Generator, name: str, width: int, inner: int
) -> None:
    _matrix(writer, rows, f"{name}.ffn_gate", inner, width)
    _matrix(writer, rows, f"{name}.ffn_up", inner, width)
    _matrix(writer, rows, f"{name}.ffn_down", width, inner)


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
