"""What is fuzzed: for each reader its seeds, and a function that reads one damaged input."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opslore import config, ggufheader
from opslore.bundle import modelfile, modelread
from opslore.cards import Example
from opslore.commands import canonical, equivalent, fill, holes, parse, risk, template
from opslore.commands.recognise import is_setup, looks_like_command
from opslore.config_sources import RunbookSource
from opslore.errors import OpsloreError
from opslore.files import read_rows
from opslore.release import yamltext
from opslore.sources import archive_rows, chats, runbook
from opslore.sources.blocks import pieces
from tests.commands.corpus import every_command

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """A reader; it may raise an OpsloreError and nothing else."""

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], object]


def _commands(data: bytes, room: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    script = parse(text)
    assert script.ok or script.reason
    # That it is its own canonical form is a property of commands, not of damaged bytes
    # (tests/commands/test_command_properties.py).
    canonical(canonical(text))
    template(text)
    fill(text, {"namespace": "a"})
    assert all(text[hole.start : hole.end] == hole.text for hole in holes(text))
    equivalent(text, text)
    risk(text)
    looks_like_command(text)
    is_setup(text)


def _markdown(data: bytes, room: Path) -> None:
    (room / "RUNBOOK.md").write_bytes(data)
    runbook.collect(RunbookSource(path="RUNBOOK.md"), room)
    pieces(data.decode("utf-8", "replace"), 1, "bash")


def _ndjson(data: bytes, room: Path) -> None:
    path = room / "rows.jsonl"
    path.write_bytes(data)
    for row in archive_rows.rows(path):
        assert row.reason or row.value is not None or b"null" in data
    for line in data.splitlines():
        with suppress(chats.BadRow):
            row = chats.parsed(line)
            chats.posts(row, chats.form_of(row))
    list(read_rows(path, Example))


def _gguf(data: bytes, room: Path) -> None:
    path = room / "model.gguf"
    path.write_bytes(data)
    header = ggufheader.read(path)
    for name in header.keys:
        header.get(name)
    assert all(one.offset + one.size <= len(data) for one in header.tensors.values())


def _modelfile(data: bytes, room: Path) -> None:
    path = room / "Modelfile"
    path.write_bytes(data)
    modelread.read(path)


def _yaml(data: bytes, room: Path) -> None:
    path = room / "agent.yaml"
    path.write_bytes(data)
    text = data.decode("utf-8", "replace")
    with suppress(OpsloreError):
        for node in yamltext.documents(text, "values.yaml"):
            yamltext.find(node, yamltext.path("train.seed"), "values.yaml")
    config.load(path)


def _rows(room: Path) -> list[bytes]:
    turns = [{"role": "user", "content": "q \u2028"}, {"role": "assistant", "content": "a"}]
    shapes = [
        {"messages": turns},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "q", "input": "", "output": "a"},
        {"number": 1, "title": "t", "comments": [{"body": "b", "user": {"login": "u"}}]},
        {"id": "x", "messages": turns, "target": "df -h", "group": "g", "split": "train"},
    ]
    lines = [json.dumps(shape).encode() for shape in shapes]
    return [*lines, b"\n".join(lines) + b"\n", b"[" + b",\n".join(lines) + b"]", b"{}\n" * 20]


def _ggufs(room: Path) -> list[bytes]:
    from tests.test_ggufheader import small

    return [small(room / "seed.gguf").read_bytes()]


def _modelfiles(room: Path) -> list[bytes]:
    kinds = ("{{ '<|im_start|>' }}", "{{ '<start_of_turn>' }}")
    numbers = {"num_ctx": 4096, "temperature": 0.0, "min_p": 1e-05}
    return [
        modelfile.render("m.gguf", kind, "You are\nan SRE.", ["<|im_end|>"], numbers).encode()
        for kind in kinds
    ]


def _runbooks(room: Path) -> list[bytes]:
    text = (ROOT / "agents" / "RUNBOOK.md").read_text("utf-8")
    entries = text.split("\n### ")
    return [f"## s\n\n### {entry}".encode() for entry in entries[1:]] + [text[:8000].encode()]


TARGETS = {
    "commands": Target(lambda room: [one.encode() for one in every_command()], _commands),
    "markdown": Target(_runbooks, _markdown),
    "ndjson": Target(_rows, _ndjson),
    "gguf": Target(_ggufs, _gguf),
    "modelfile": Target(_modelfiles, _modelfile),
    "yaml": Target(
        lambda room: [one.read_bytes() for one in sorted((ROOT / "agents").glob("*.yaml"))], _yaml
    ),
}


def folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the damaged files; in memory where the system has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
