"""Llama 3 and 3.1 in a real Ollama: it writes the prompt that the chat template writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ollama_world
import pytest
from ollama_world import SYSTEM, client, one_thread  # noqa: F401

from opslore.bundle import modelfile
from opslore.cards import Message
from opslore.release.ollama import recipe_of
from opslore.servers.ollama import Server
from opslore.servers.ollama_client import Client
from opslore.servers.ollama_install import install
from opslore.servers.template import Template
from opslore.store import sha256

pytest_plugins = ["real.fixtures"]

TURN = (
    "{{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n'"
    " + turn['content'] | trim + '<|eot_id|>' }}"
)
GENERATE = (
    "{% if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
LLAMA3 = "{{- bos_token }}{% for turn in messages %}" + TURN + "{% endfor %}" + GENERATE
LLAMA31 = (
    "{{- bos_token }}"
    '{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
    "{%- if messages[0]['role'] == 'system' %}"
    "{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}"
    '{%- else %}{%- set system = "" %}{%- endif %}'
    '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}'
    '{{- "Cutting Knowledge Date: December 2023\\n" }}'
    '{{- "Today Date: " + date_string + "\\n\\n" }}{{- system }}{{- "<|eot_id|>" }}'
    "{%- for turn in messages %}" + TURN + "{%- endfor %}" + GENERATE
)
"""What 3.1 reads without tools, in fewer lines than its authors took."""
TEMPLATES = {"llama3": LLAMA3, "llama31": LLAMA31}
CONVERSATIONS = [
    [Message(role="system", content=SYSTEM), Message(role="user", content='Disk "full"?\n ok')],
    [
        Message(role="system", content=" \n"),
        Message(role="user", content="\t{{ .System }} <b>\u00e9 "),
    ],
    [
        Message(role="system", content="S \n"),
        Message(role="user", content="one"),
        Message(role="assistant", content=" df -h\n"),
        Message(role="user", content="and?"),
    ],
]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_prompt_is_equal_byte_for_byte(
    kind: str,
    ollama_server: str,
    client: Client,
    tmp_path: Path,
) -> None:
    files = ollama_world.bundle(tmp_path / kind)
    gguf, recipe = recipe_of(files)
    jinja = TEMPLATES[kind]
    recipe = replace(recipe, template=modelfile.go_template(jinja), system="")
    assert install(client, f"{kind}:1", gguf, sha256(gguf), recipe)
    wanted = Template(jinja, kind, bos_token="")
    with Server(f"{kind}:1", url=ollama_server) as server:
        for turns in [*CONVERSATIONS, *(turns[1:] for turns in CONVERSATIONS)]:
            assert server.render(turns) == wanted.render(turns)
