"""Install a GGUF in an Ollama under a name, and prove that what is there is what was sent.

Ollama rewrites a GGUF when it takes it in, so its own digest says nothing about ours. The SHA-256
of the file that was sent therefore stands in the model's licence text, which `ollama show` prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opslore import ggufheader
from opslore.cards import Message
from opslore.errors import DataError, IntegrityError, ServerError
from opslore.servers.llamacpp import _adds_bos, _tokens
from opslore.servers.ollama import Server, parameters
from opslore.servers.ollama_client import Client
from opslore.servers.template import Template

FILE = "model.gguf"
"""Name of the file inside the request; only Ollama's log shows it."""

_MARK = re.compile(r"^opslore model\.gguf sha256:([0-9a-f]{64})$", re.MULTILINE)
_REWRITTEN = ("general.file_type", "general.quantization_version", "general.parameter_count")
"""Facts that Ollama writes anew when it takes a GGUF in."""


@dataclass(frozen=True)
class Recipe:
    """How Ollama is to talk to a GGUF: what its Modelfile says."""

    template: str = ""
    """Go template; empty where a renderer writes the prompt."""
    renderer: str = ""
    parser: str = ""
    system: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """num_ctx, temperature, ...; `stop` is a list of texts."""


@dataclass(frozen=True)
class Probe:
    """A conversation that the installed model must answer, and the prompt it must become."""

    messages: Sequence[Message]
    prompt: str
    """What the model was trained to read, without the first token that the tokenizer adds."""
    bos: str = ""
    """The first token's text, if the tokenizer adds it."""


def prober(gguf: Path) -> Callable[[Sequence[Message]], Probe]:
    """What makes a probe of turns, by the chat template inside a GGUF.

    Raises:
        DataError: no template, or a broken one; the probe: the template refuses the turns.
    """
    header = ggufheader.read(gguf)
    tokens = _tokens(header)
    template = Template(header.get("tokenizer.chat_template", ""), str(gguf), **tokens)
    bos = tokens["bos_token"] if _adds_bos(header) else ""
    return lambda turns: Probe(turns, template.render(turns).removeprefix(bos), bos)


def install(client: Client, model: str, gguf: Path, digest: str, recipe: Recipe) -> bool:
    """Bring a GGUF under a name; returns whether anything had to be done.

    Args:
        client: the Ollama.
        model: `name:tag`; a model that is there already is never replaced.
        gguf: the file.
        digest: its SHA-256, 64 hex digits.
        recipe: how Ollama is to talk to it.

    Raises:
        IntegrityError: the name is taken by another model.
        ServerError: unreachable, too old, out of disk.
    """
    client.version()
    if model in client.tags():
        refuse_other(client, model, gguf, digest, recipe)
        return False
    client.upload(gguf, digest)
    try:
        client.create(_request(model, digest, recipe))
    except ServerError:
        # The answer may have been lost after the work was done.
        if model not in client.tags() or differences(client.show(model), gguf, digest, recipe):
            raise
    return True


def refuse_other(client: Client, model: str, gguf: Path, digest: str, recipe: Recipe) -> None:
    """Refuse a model that is not this GGUF with this recipe.

    Raises:
        IntegrityError: it differs; every difference is named.
    """
    if found := differences(client.show(model), gguf, digest, recipe):
        raise IntegrityError(
            f"Ollama {client.url}: {model} is there, but is another model: {'; '.join(found)}",
            hint=f"nothing was changed; look at it with `ollama show {model}`, and if nobody needs"
            f" it: ollama rm {model}",
        )


def verify(
    client: Client,
    model: str,
    gguf: Path,
    digest: str,
    recipe: Recipe,
    probe: Probe,
    max_tokens: int = 160,
) -> None:
    """Prove that Ollama lists the model, has what was sent, writes our prompt, and that it stops.

    Raises:
        IntegrityError: something else is there than what was sent.
        DataError: the prompt differs from the one of training, or a reply never ends.
    """
    if model not in client.tags():
        raise client.error(f"does not list {model} after it made it", "look at its log")
    refuse_other(client, model, gguf, digest, recipe)
    with Server(model, url=client.url) as server:
        written = server.render(probe.messages).removeprefix(probe.bos)
        if written != probe.prompt:
            raise DataError(
                f"Ollama {client.url}: {model} reads another prompt than in training:"
                f" {_apart(probe.prompt, written)}",
                hint=_mend(recipe),
            )
        for way, reply in (
            ("/api/chat", server.chat(probe.messages, max_tokens=max_tokens)),
            ("/api/generate", server.complete(probe.prompt, max_tokens=max_tokens)),
        ):
            if not reply.stopped:
                raise DataError(
                    f"Ollama {client.url}: {model} does not stop within {max_tokens} tokens"
                    f" ({way}): {reply.text[:80]!r}",
                    hint="its stops are missing, or it was not trained to end its turn",
                )


def sent_digest(shown: Mapping[str, Any]) -> str:
    """SHA-256 of the GGUF that opslore sent; empty when opslore did not make the model."""
    found = _MARK.search(str(shown.get("license") or ""))
    return found.group(1) if found else ""


def differences(shown: Mapping[str, Any], gguf: Path, digest: str, recipe: Recipe) -> list[str]:
    """In what an installed model differs from this GGUF with this recipe; empty is the same."""
    there = sent_digest(shown)
    if there != digest:
        return [f"made from model.gguf sha256 {there or 'unknown'}, not {digest}"]
    found = []
    if recipe.template and shown.get("template") != recipe.template:
        found.append("another TEMPLATE")
    if str(shown.get("system") or "") != recipe.system:
        found.append("another SYSTEM")
    for name, wanted in (("RENDERER", recipe.renderer), ("PARSER", recipe.parser)):
        if _named(shown, name) != wanted:
            found.append(f"{name} {_named(shown, name) or 'none'} instead of {wanted or 'none'}")
    has, wants = parameters(shown), dict(recipe.parameters)
    for name in sorted(has.keys() | wants.keys()):
        if has.get(name) != wants.get(name):
            found.append(f"{name} {has.get(name)!r} instead of {wants.get(name)!r}")
    return found + _weights(shown, ggufheader.read(gguf))


def _weights(shown: Mapping[str, Any], header: ggufheader.Header) -> list[str]:
    """Facts and tensors of the GGUF that Ollama tells otherwise than the file's header."""
    found = []
    for name, value in (shown.get("model_info") or {}).items():
        if not isinstance(value, int | str) or name in _REWRITTEN or name not in header.keys:
            continue
        if value != (ours := header.get(name)):
            found.append(f"{name} {value!r} instead of {ours!r}")
    if tensors := shown.get("tensors"):
        theirs = {t["name"]: tuple(t["shape"]) for t in tensors}
        sent = {name: tuple(tensor.shape) for name, tensor in header.tensors.items()}
        if theirs != sent:
            odd = sorted(name for name in theirs | sent if theirs.get(name) != sent.get(name))
            found.append(f"{len(odd)} tensors differ: {odd[0]}")
    return found


def _request(model: str, digest: str, recipe: Recipe) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": model,
        "files": {FILE: f"sha256:{digest}"},
        "license": [f"opslore model.gguf sha256:{digest}"],
        "parameters": dict(recipe.parameters),
    }
    for name in ("template", "system", "renderer", "parser"):
        if value := getattr(recipe, name):
            request[name] = value
    return request


def _named(shown: Mapping[str, Any], word: str) -> str:
    """What the model's Modelfile says behind RENDERER or PARSER."""
    # The template comes first and may hold any line; these two stand after it.
    found = re.findall(rf"^{word} (\S+)$", str(shown.get("modelfile") or ""), re.MULTILINE)
    return str(found[-1]) if found else ""


def _mend(recipe: Recipe) -> str:
    """What to do about a prompt that is not the one of training."""
    if recipe.renderer:
        return (
            f"RENDERER {recipe.renderer} is a part of Ollama and does not fit the chat template of"
            " this model: try another version of Ollama, or a base model with its publisher's"
            " chat template"
        )
    return (
        "the Modelfile's TEMPLATE does not fit the model's chat template: run"
        " `opslore export AGENT.yaml` again"
    )


def _apart(wanted: str, written: str) -> str:
    """Where two prompts part, with a little of both."""
    at = next(
        (i for i, (a, b) in enumerate(zip(wanted, written, strict=False)) if a != b),
        min(len(wanted), len(written)),
    )
    near = slice(max(0, at - 20), at + 30)
    return f"character {at}: {wanted[near]!r} in training, {written[near]!r} here"
