"""A base model as a Hugging Face folder: fetched from a hub, checked, never allowed to run code."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

from opslore.errors import ConfigError, DataError, IntegrityError, MissingInput, SourceError

FILES = ("*.safetensors", "*.json", "tokenizer*", "*.jinja", "README.md", "LICENSE*")
"""All that is taken from a hub: weights as safetensors, never code or pickles."""

SENTENCEPIECE = "tokenizer.model"
"""The vocabulary in SentencePiece's own format; transformers reads tokenizer.json instead."""


def pinned(name: str, revision: str) -> tuple[str, str]:
    """The hub id and the commit it is pinned to; `org/name@commit` is understood too.

    Raises:
        ConfigError: no commit, or a name that can move, such as a branch.
    """
    repo, _, inside = name.partition("@")
    commit = revision or inside
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        said = f"revision {commit!r} can move" if commit else "no revision is set"
        raise ConfigError(
            f"base_model: {repo}: {said}; a hub model is pinned by its commit",
            hint="set revision: to the 40-digit commit on the model's page under Files, History;"
            " if a folder was meant, it is not there",
        )
    return repo, commit


def download(repo: str, commit: str) -> Path:
    """The folder of a hub model on this disk, fetched when it is not there yet.

    A pinned commit never changes, so a complete folder is used without asking the network.

    Raises:
        SourceError: the hub cannot be reached or refuses.
    """
    if (found := here(repo, commit)) is not None:
        return found
    try:
        return _snapshot(repo, commit, local=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise SourceError(
            f"base_model: {repo}@{commit[:12]} could not be fetched: {reason}",
            hint="check the network and the id; a gated model needs HF_TOKEN and an accepted"
            " licence; without a network use a bundled model or a folder",
            retryable=True,
        ) from error


def here(repo: str, commit: str) -> Path | None:
    """The folder of a hub model that is on this disk and complete."""
    with contextlib.suppress(OSError):
        found = _snapshot(repo, commit, local=True)
        if _complete(found):
            return found
    return None


def configuration(folder: Path) -> dict[str, object]:
    """What a folder's config.json says.

    Raises:
        MissingInput: there is none.
    """
    return _json(folder / "config.json")


def _snapshot(repo: str, commit: str, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(repo, revision=commit, allow_patterns=list(FILES), local_files_only=local)
    )


def _complete(folder: Path) -> bool:
    """Whether every part is there; an interrupted download leaves some out."""
    index = folder / "model.safetensors.index.json"
    weights = ["model.safetensors"]
    if index.is_file():
        shards = _json(index).get("weight_map")
        weights = sorted(set(shards.values())) if isinstance(shards, dict) else [""]
    parts = ["config.json", "tokenizer.json", "tokenizer_config.json", *weights]
    if (folder / "config.json").is_file() and _sentencepiece(_json(folder / "config.json")):
        parts.append(SENTENCEPIECE)
    return all((folder / part).is_file() for part in parts)


def check(folder: Path) -> None:
    """Refuse a folder that lacks a part, or that would run code of its own."""
    config = _json(folder / "config.json")
    if "auto_map" in config or "auto_map" in _json(folder / "tokenizer_config.json"):
        raise ConfigError(
            f"{folder}: config.json has auto_map, so the model wants to run its own code",
            hint="choose a model of an architecture that transformers knows",
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [p.name for p in folder.iterdir() if p.suffix in (".bin", ".pkl", ".pt", ".pth")]
        what = f"only {pickles[0]}, a pickle, which can run code" if pickles else "no weights"
        raise ConfigError(
            f"{folder}: {what}; only safetensors are loaded",
            hint="save the model with save_pretrained(safe_serialization=True)",
        )
    for file in weights:
        _check_safetensors(file)
    for part in ("tokenizer.json", "tokenizer_config.json"):
        if not (folder / part).is_file():
            raise MissingInput(f"{folder}: {part} is missing")
    if _sentencepiece(config) and not (folder / SENTENCEPIECE).is_file():
        raise MissingInput(
            f"{folder}: {SENTENCEPIECE} is missing, and a Gemma cannot be exported without it",
            hint="take the file from the model's page on the hub and put it into the folder",
        )
    if not (folder / "chat_template.jinja").is_file() and not _json(
        folder / "tokenizer_config.json"
    ).get("chat_template"):
        raise DataError(
            f"{folder}: the tokenizer has no chat template",
            hint="use the instruct version of the model, or add chat_template.jinja",
        )


def keep_tokenizer(folder: Path, out: Path) -> None:
    """Copy what transformers leaves out when it saves a tokenizer, and the converter reads.

    `tokenizer_config.json` says which words are whole before anything else is cut.
    """
    for name in (SENTENCEPIECE, "tokenizer_config.json", "added_tokens.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)


def _sentencepiece(config: dict[str, object]) -> bool:
    """Whether llama.cpp's converter reads this model's words from SENTENCEPIECE alone."""
    return re.fullmatch(r"gemma[23]?(_text)?", str(config.get("model_type"))) is not None


def _check_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{file}: {error}", hint="fetch the file again") from error


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInput(f"{path.parent}: {path.name} is missing") from error
    except ValueError as error:
        raise IntegrityError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise IntegrityError(f"{path}: not a JSON object")
    return found


def licence(folder: Path) -> str:
    """The licence that the model card's front matter names, or "unknown"."""
    card = folder / "README.md"
    if card.is_file():
        head = card.read_text(encoding="utf-8", errors="replace")[:4000]
        if found := re.search(r"^license:\s*(\S+)", head, re.MULTILINE):
            return found.group(1)
    return "unknown"
