"""Reading an agent file's YAML, and saying what is wrong with it in the reader's words."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from opslore.errors import ConfigError

DEEPEST = 20
"""Levels of nesting; an agent file has six."""


def parse(path: Path, raw: bytes) -> dict[str, Any]:
    """The file's keys and values; aliases are refused, they make small files expand to huge ones.

    Raises:
        ConfigError: not UTF-8, not YAML (with the line), an alias, deep nesting, or no mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = raw.decode("utf-8-sig")
        _refuse(path, YAML(typ="safe", pure=True).parse(io.StringIO(text)))
        data = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error
    except MarkedYAMLError as error:
        where = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{where}: {error.problem or 'not YAML'}") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys such as `name:` and `collect:`, found none")
    return data


def _refuse(path: Path, events: Iterable[Any]) -> None:
    """Aliases, and nesting that the parser would follow for minutes."""
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            raise ConfigError(f"{path}: YAML aliases (*{event.anchor}) are not allowed")
        if depth > DEEPEST:
            raise ConfigError(f"{path}: nested more than {DEEPEST} deep")


def explain(item: Any, root: type[BaseModel]) -> str:
    """One pydantic error as `train.rnak: not a key of train (did you mean lora_rank?)`."""
    location, models = _place(root, list(item["loc"]))
    dotted = ".".join(location)
    if item["type"] == "extra_forbidden":
        known = [key for model in models for key in model.model_fields]
        near = _nearest(location[-1], known)
        return f"{dotted}: not a key of {'.'.join(location[:-1]) or 'the agent file'}{near}"
    if item["type"] == "missing":
        return f"{dotted}: missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{dotted}: {message}; got {item['input']!r}" if "got" not in message else message


def _place(root: type[BaseModel], location: list[Any]) -> tuple[list[str], list[type[BaseModel]]]:
    """Where an error is, as the file has it, and the sections that its key could belong to.

    Of several kinds of section pydantic names the one it took, which no line of the file does.
    """
    shown: list[str] = []
    models, inner = [root], [root]
    for part in location:
        kinds = {m.model_fields["kind"].default: m for m in inner if "kind" in m.model_fields}
        if shown and shown[-1].isdigit() and part in kinds and len(inner) > 1:
            models = inner = [kinds[part]]
            continue
        shown.append(str(part))
        if isinstance(part, str):
            models = inner
            fields = [m.model_fields[part] for m in inner if part in m.model_fields]
            inner = [found for field in fields for found in _models(field.annotation)]
    return shown, models


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]


def _nearest(word: str, known: list[str]) -> str:
    # A typo inside one word of a key (`rnak` for `lora_rank`) counts as well as one of the whole.
    parts = {part: key for key in known for part in [key, *key.split("_")]}
    close = difflib.get_close_matches(word, parts, n=1, cutoff=0.6)
    return f" (did you mean {parts[close[0]]}?)" if close else ""
