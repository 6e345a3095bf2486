"""The Modelfile: how Ollama is to talk to the bundle.

Ollama does not read the Jinja template inside the GGUF; it wants one in Go's template language. It
is written here per family of turns, and is tested to give the same prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from opslore.errors import ConfigError, DataError

Family = Literal["chatml", "gemma", "functiongemma", "llama3"]

STOPS: dict[Family, list[str]] = {
    "chatml": ["<|im_end|>"],
    "gemma": ["<end_of_turn>"],
    "functiongemma": ["<end_of_turn>", "<start_function_response>"],
    "llama3": ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"],
}
"""What ends a reply, by family."""

_LAST = "{{- $last := eq (len (slice $.Messages $i)) 1 }}\n"

_TRIM = re.compile(r"\|\s*trim\b")
"""Instruct models of Gemma and Llama read a text without the space around it; Go cannot trim."""
_BOUNDS = (
    "{{- $from := -1 }}{{ $to := 0 }}{{ $in := false }}\n"
    "{{- range $k := len .Content }}{{ if $in }}{{ $to = $k }}{{ end }}\n"
    "{{- $c := index $m.Content $k }}\n"
    "{{- $in = not (or (and (ge $c 9) (le $c 13)) (and (ge $c 28) (le $c 32))) }}\n"
    "{{- if and $in (lt $from 0) }}{{ $from = $k }}{{ end }}\n"
    "{{- end }}{{ if $in }}{{ $to = len .Content }}{{ end }}\n"
)
_INSIDE = "{{ if ge $from 0 }}{{ slice .Content $from $to }}{{ end }}"

_CHATML = (
    "{{- range $i, $m := .Messages }}\n"
    + _LAST
    + '{{- if and (eq $i 0) (ne .Role "system") }}DEFAULT{{ end }}<|im_start|>{{ .Role }}\n'
    '{{ .Content }}{{ if not (and $last (eq .Role "assistant")) }}<|im_end|>\n'
    '{{ end }}{{- if and $last (ne .Role "assistant") }}<|im_start|>assistant\n'
    "{{ end }}\n"
    "{{- end }}"
)
_GEMMA = (
    '{{- $system := "" }}\n'
    "{{- range $i, $m := .Messages }}\n"
    + _LAST
    + 'BOUNDS{{- if eq .Role "system" }}{{ $system = printf "%s\\n\\n" .Content }}\n'
    '{{- else }}<start_of_turn>{{ if eq .Role "assistant" }}model{{ else }}{{ .Role }}{{ end }}\n'
    '{{ $system }}CONTENT{{ $system = "" }}'
    '{{ if not (and $last (eq .Role "assistant")) }}<end_of_turn>\n'
    '{{ end }}{{- if and $last (ne .Role "assistant") }}<start_of_turn>model\n'
    "{{ end }}\n"
    "{{- end }}\n"
    "{{- end }}"
)

_LLAMA3 = (
    "{{- range $i, $m := .Messages }}\n"
    + _LAST
    + 'BOUNDSFIRST{{- "" }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n'
    "BEFORECONTENT"
    '{{ if not (and $last (eq .Role "assistant")) }}<|eot_id|>{{ end }}'
    '{{- if and $last (ne .Role "assistant") }}<|start_header_id|>assistant<|end_header_id|>\n\n'
    "{{ end }}\n"
    "{{- end }}"
)
_LLAMA3_FIRST = (
    '{{- if and (eq $i 0) (ne .Role "system") }}<|start_header_id|>system<|end_header_id|>\n\n'
    "PREFACE<|eot_id|>{{ end }}"
)
_LLAMA3_BEFORE = '{{ if and (eq $i 0) (eq .Role "system") }}PREFACE{{ end }}'
_KNOWN_UNTIL = re.compile(r'"Cutting Knowledge Date: ([\w ]+)\\n"')
_TODAY = re.compile(r'set date_string = "([\w ]+)"')


def family(template: str) -> Family:
    """Which turns a chat template writes.

    Raises:
        DataError: turns that no Go template is known for.
    """
    if "<start_function_call>" in template and "<start_of_turn>developer" in template:
        return "functiongemma"
    if "<start_of_turn>" in template:
        return "gemma"
    if "<|im_start|>" in template:
        return "chatml"
    if "<|start_header_id|>" in template:
        return "llama3"
    raise DataError(
        "the chat template has no turns of ChatML, Gemma or Llama 3: no Modelfile can be written",
        hint="choose a base model with one of these, or add its turns to bundle/modelfile.py",
    )


def stops(template: str) -> list[str]:
    """The texts that end a reply under this chat template."""
    return STOPS[family(template)]


def go_template(template: str, default_system: str = "") -> str:
    """The chat template in Go, as Ollama wants it; the first token (BOS) is the tokenizer's job.

    Args:
        template: the Jinja chat template.
        default_system: what a ChatML template puts in front when there is no system turn.
    """
    kind = family(template)
    if kind == "chatml" or kind == "functiongemma":
        return _CHATML.replace("DEFAULT", default_system)
    text = _GEMMA if kind == "gemma" else _llama3(template)
    if _TRIM.search(template):
        return text.replace("BOUNDS", _BOUNDS).replace("CONTENT", _INSIDE)
    return text.replace("BOUNDS", "").replace("CONTENT", "{{ .Content }}")


def _llama3(template: str) -> str:
    """Llama 3's turns; those of 3.1 begin with a system turn that says two dates."""
    until = _KNOWN_UNTIL.search(template)
    if until is None:
        return _LLAMA3.replace("FIRST", "").replace("BEFORE", "")
    today = _TODAY.search(template)
    if today is None or "strftime_now" in template:
        raise DataError(
            "the chat template writes today's date, so no prompt would be the trained one tomorrow",
            hint='let it say one date: {%- set date_string = "26 Jul 2024" %}, as Llama 3.1 does',
        )
    preface = f"Cutting Knowledge Date: {until[1]}\nToday Date: {today[1]}\n\n"
    whole = _LLAMA3.replace("FIRST", _LLAMA3_FIRST).replace("BEFORE", _LLAMA3_BEFORE)
    return whole.replace("PREFACE", preface)


def render(
    gguf_name: str,
    template: str,
    system: str,
    stops: Sequence[str],
    parameters: Mapping[str, str | int | float],
    default_system: str = "",
) -> str:
    """The text of a Modelfile.

    Args:
        gguf_name: the GGUF's file name, beside the Modelfile.
        template: the Jinja chat template inside the GGUF.
        system: the system prompt the model was trained with.
        stops: texts that end a reply.
        parameters: Ollama's parameters, such as num_ctx and temperature.
        default_system: see `go_template`.

    Raises:
        ConfigError: a text that a Modelfile cannot hold.
    """
    lines = [f"FROM ./{gguf_name}"]
    if family(template) == "functiongemma":
        # Ollama does not recognise this model by itself (ollama#13804).
        lines += ["RENDERER functiongemma", "PARSER functiongemma"]
    else:
        lines.append(f"TEMPLATE {_block(go_template(template, default_system), 'the template')}")
    if system:
        lines.append(f"SYSTEM {_block(system, 'system_prompt')}")
    lines += [f"PARAMETER stop {_block(stop, 'stop')}" for stop in stops]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    return "\n".join(lines) + "\n"


def _block(text: str, what: str) -> str:
    """A quoted Modelfile value, which knows no escapes."""
    if '"""' in text or text.endswith('"'):
        raise ConfigError(
            f"{what}: three quotes, or a quote at the end, cannot stand in a Modelfile: {text!r}"
        )
    return f'"""{text}"""'
