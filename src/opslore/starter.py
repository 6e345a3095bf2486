"""The first agent file: every field of the configuration with its docstring, limits and default."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opslore import store
from opslore.config import Agent, Judge, Paraphraser
from opslore.config_deploy import Folder
from opslore.config_section import Section
from opslore.config_sources import SOURCES
from opslore.errors import ConfigError

HEADER = """\
# Everything that opslore needs to know about this agent. Every key stands here with its default,
# and may be left out. Next:
#   opslore doctor {path}
#   opslore run {path}
"""

WIDTH = 98
"""Characters of a comment line, its indentation included."""

EXAMPLES: dict[str, Section] = {
    "paraphraser": Paraphraser(url="http://localhost:11434/v1", model="qwen3:8b"),
    "judge": Judge(url="http://localhost:11434/v1", model="qwen3:8b"),
    "deploy": Folder(path="/srv/models/sre"),
}
"""What stands, as a comment, beside keys that are empty by default."""


ANSWERS = "You are an expert on our product. Answer in Markdown, and say so when you do not know."
"""First system prompt of an agent that answers in prose."""


def write(path: Path, task: str = "commands") -> str:
    """Write an agent file that loads; returns its text.

    Raises:
        ConfigError: there is something already, or the folder cannot be written.
    """
    if path.exists():
        raise ConfigError(
            f"{path}: exists already",
            hint=f"choose another path, or edit {path}: nothing was changed",
        )
    text = render(path, task)
    try:
        store.write(path, text)
    except OSError as error:
        where = error.filename or path
        raise ConfigError(f"{where}: {error.strerror or error}", "choose another path") from error
    return text


def render(path: Path, task: str = "commands") -> str:
    """The text of an agent file for this path: its name becomes the agent's."""
    given: dict[str, Any] = {"name": slug(path.stem), "collect": [{"path": runbook(path)}]}
    if task == "answers":
        docs = {"kind": "docs", "path": "docs", "product": "our product"}
        hand = {"kind": "corrections", "path": "corrections.jsonl"}
        given |= {"collect": [docs, hand], "prepare": {"task": task}, "system_prompt": ANSWERS}
    return HEADER.format(path=shlex.quote(str(path))) + "".join(
        f"{row}\n" for row in _section(Agent, "", given)
    )


def slug(text: str) -> str:
    """A file's name as an agent's name."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return found or "agent"


def runbook(path: Path) -> str:
    """The runbook that lies beside the file or here, as seen from here; else the usual name."""
    for candidate in (path.parent / "RUNBOOK.md", Path("RUNBOOK.md"), Path("runbooks")):
        if candidate.exists():
            return candidate.as_posix()
    return "RUNBOOK.md"


def _section(model: type[Section], indent: str, given: dict[str, Any]) -> Iterator[str]:
    # What a source or target is stands first, then the rest as their class has it.
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] != "kind"):
        if not indent:
            yield ""
        yield from _comment(name, field, indent)
        if name in EXAMPLES:
            yield f"{indent}# Example: {name}: {_example(name)}"
        if name == "collect":
            yield f"{indent}collect:"
            for source in given[name]:
                yield from _item(SOURCES[source.get("kind", "runbook")], indent, source)
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section):
            yield f"{indent}{name}:"
            yield from _section(type(default), indent + "  ", given.get(name, {}))
            continue
        yield f"{indent}{name}: {_yaml(given.get(name, default))}"


def _item(model: type[Section], indent: str, given: dict[str, Any]) -> Iterator[str]:
    """A list's one item: the lines of a section, the first of them behind a dash."""
    rows = list(_section(model, indent + "    ", given))
    first = next(i for i, row in enumerate(rows) if not row.lstrip().startswith("#"))
    yield from (f"{indent}  {row.strip()}" for row in rows[:first])
    yield f"{indent}  - {rows[first].strip()}"
    yield from rows[first + 1 :]


def _example(name: str) -> str:
    flat = ", ".join(f"{key}: {_yaml(item)}" for key, item in EXAMPLES[name].model_dump().items())
    return f"[{{{flat}}}]" if name == "deploy" else f"{{{flat}}}"


def _comment(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    limits = "; ".join(part for part in (_choices(field), _limits(field)) if part)
    text = " ".join(f"{field.description or ''}{f' [{limits}]' if limits else ''}".split())
    line = ""
    for word in text.split(" "):
        if line and len(indent) + 2 + len(line) + 1 + len(word) > WIDTH:
            yield f"{indent}# {line}"
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield f"{indent}# {line}"


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) > 1:
        return "one of " + ", ".join(str(choice) for choice in get_args(field.annotation))
    return (
        "required" if field.default is PydanticUndefined and field.default_factory is None else ""
    )


def _limits(field: FieldInfo) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = []
    for limit in field.metadata:
        for key, word in words.items():
            if (value := getattr(limit, key, None)) is not None:
                found.append(f"{word} {value}")
    return ", ".join(found)


def _yaml(value: Any) -> str:
    """A scalar, an empty list or an empty table; JSON is YAML."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value):
        plain = value.lower() not in ("null", "true", "false", "yes", "no", "on", "off")
        return value if plain else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
