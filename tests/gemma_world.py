"""Gemma 3 models small enough for a test, with the chat templates that its models come with."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import ollama_world
import tiny_models

SAYS = ["df", "▁-", "<0x68>"]
"""`df -h`; the letter alone is no common piece, so it is a byte."""

WIDTH = 64

IT = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set before = messages[0]['content'] + '\\n\\n' -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set before = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for turn in turns -%}"
    "{{- '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' -}}"
    "{{- (before if loop.first else '') + turn['content'] | trim + '<end_of_turn>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"
)
"""What the instruct models of Gemma 3 read: as the base's turns, but white space around a text of
a turn is cut off."""

FUNCTION = (
    "{{ bos_token }}"
    "{%- set turns = messages -%}"
    "{%- if tools or messages[0]['role'] in ('system', 'developer') -%}"
    "{{- '<start_of_turn>developer\\n' -}}"
    "{%- if messages[0]['role'] in ('system', 'developer') -%}"
    "{{- messages[0]['content'] | trim -}}{%- set turns = messages[1:] -%}"
    "{%- endif -%}"
    "{%- for tool in tools or [] -%}"
    "{{- '<start_function_declaration>declaration:' + tool['function']['name'] -}}"
    "{{- '{description:<escape>' + tool['function']['description'] + '<escape>}' -}}"
    "{{- '<end_function_declaration>' -}}"
    "{%- endfor -%}"
    "{{- '<end_of_turn>\\n' -}}"
    "{%- endif -%}"
    "{%- for turn in turns -%}"
    "{%- if turn['role'] == 'tool' -%}"
    "{{- '<start_function_response>response:' + turn['content'] + '<end_function_response>' -}}"
    "{%- else -%}"
    "{{- '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\\n' -}}"
    "{{- turn['content'] | trim -}}"
    "{%- for call in turn['tool_calls'] or [] -%}"
    "{{- '<start_function_call>call:' + call['function']['name'] + '{}<end_function_call>' -}}"
    "{%- endfor -%}"
    "{{- '<end_of_turn>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"
)
"""What FunctionGemma reads (ai.google.dev/gemma/docs/functiongemma): the system text is a turn of
the developer; the tools, which opslore does not use, are declared there in short."""

OTHER = FUNCTION.replace("'<start_of_turn>developer\\n'", "'<start_of_turn>developer\\n\\n'")
"""FunctionGemma's template, changed by somebody: Ollama's renderer does not know of it."""

TOKENS = (
    *("<start_function_declaration>", "<end_function_declaration>", "<start_function_call>"),
    *("<end_function_call>", "<start_function_response>", "<end_function_response>", "<escape>"),
)
"""FunctionGemma's own tokens; they stand where Gemma 3 has unused ones."""


def parrot(path: Path, template: str, pieces: list[str] = SAYS) -> Path:
    """A Gemma 3 that says these tokens after `model` and a line break, and then ends its turn.

    The block adds nothing, so the output matrix maps the last token's embedding to the next token.
    """
    words = tiny_models.gemma_words()
    if "<start_function_call>" in template:
        first = words.index("<unused40>")
        words[first : first + len(TOKENS)] = TOKENS
    chain = [words.index(piece) for piece in ["\n", *pieces, "<end_of_turn>"]]
    assert len(set(chain)) == len(chain), "a token cannot have two next ones"
    rows = np.random.default_rng(5)
    known = rows.standard_normal((len(words), WIDTH)).astype(np.float32)
    known *= np.sqrt(WIDTH) / np.linalg.norm(known, axis=1, keepdims=True)
    output = np.zeros_like(known)
    for token, following in itertools.pairwise(chain):
        output[following] = known[token]
    writer = tiny_models.gemma_header(path, 1, words)
    writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", known)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    tiny_models.gemma_block(writer, rows, "blk.0", silent=True)
    return tiny_models._written(writer, path)


def bundle(folder: Path, template: str, pieces: list[str] = SAYS) -> Path:
    """What `export` leaves of such a model."""
    folder.mkdir(parents=True, exist_ok=True)
    parrot(folder / "model.gguf", template, pieces)
    return ollama_world.around(folder)
