"""A chat template, rendered as the tokenizer of the trained model renders it.

llama.cpp has a Jinja engine of its own; the same engine on both sides is what makes a prompt in
training and the prompt in serving the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template as Compiled
from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from opslore.cards import Message
from opslore.errors import DataError


class Template:
    """A compiled chat template with the special tokens it may name."""

    def __init__(self, text: str, where: str, **tokens: str) -> None:
        """Compile it.

        Raises:
            DataError: there is none, or it is not Jinja.
        """
        if not text.strip():
            raise DataError(
                f"{where}: no chat template inside",
                hint="export the model again; the template belongs into the GGUF",
            )
        self.text, self.where, self.tokens = text, where, tokens
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        try:
            self._compiled: Compiled = environment.from_string(text)
        except TemplateError as error:
            raise DataError(f"{where}: broken chat template: {error}") from error

    def render(self, messages: Sequence[Message], *, generate: bool = True) -> str:
        """The conversation as one prompt; `generate` opens the assistant's turn.

        Raises:
            DataError: the template refuses this conversation.
        """
        turns = [message.model_dump() for message in messages]
        try:
            return self._compiled.render(
                messages=turns, add_generation_prompt=generate, tools=None, **self.tokens
            )
        except (TemplateError, TypeError) as error:
            roles = ", ".join(message.role for message in messages)
            raise DataError(
                f"{self.where}: the chat template refuses the turns {roles or 'none'}: {error}"
            ) from error


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
