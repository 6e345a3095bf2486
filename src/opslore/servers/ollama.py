"""A model in an Ollama, by its name: what people run, asked the way evaluation asks.

Replies are greedy. Ollama keeps the last prompt's keys and values, which may change a reply by
rounding alone, where two tokens are almost equally likely.
"""

from __future__ import annotations

import ast
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from opslore.cards import Message
from opslore.errors import ConfigError, DataError, ServerError
from opslore.servers import Reply, each, margin
from opslore.servers.ollama_client import Client

HOME = "http://127.0.0.1:11434"
"""Where Ollama listens when nobody says otherwise."""

REPEATED = 30
"""Equal pieces in a row after which Ollama ends a reply without a word (llm/llama_server.go)."""

_VALUE = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*"(?P<value>(?:[^"\\]|\\.)*)"', re.DOTALL)
_PARAMETER = re.compile(r"(\S+)\s+(.*)")


class Server:
    """A model that Ollama has, asked over HTTP."""

    def __init__(
        self,
        model: str | Path,
        *,
        context: int = 0,
        parallel: int = 1,
        threads: int = 0,
        url: str = "",
    ) -> None:
        """Look the model up; Ollama loads it with the first question.

        Args:
            model: its name there, such as `agent-sre:v20260131-0123abcd`.
            context: not used: Ollama takes `num_ctx` from the model's own Modelfile.
            parallel: not used: conversations are asked one after the other.
            threads: threads that compute; 0 takes OPSLORE_OLLAMA_THREADS, else what Ollama does.
            url: the Ollama; empty takes OLLAMA_HOST, else this machine's.

        Raises:
            ConfigError: a GGUF file instead of a name.
            MissingInput: there is no such model.
            ServerError: nobody answers, or it is too old.
        """
        if isinstance(model, Path):
            raise ConfigError(
                f"{model}: server 'ollama' answers with a model that was deployed, by its name",
                hint="evaluate with server: llamacpp; `make parity` proves that Ollama agrees",
            )
        self.model = model
        self.client = Client(url or address())
        try:
            self.client.version()
            shown = parameters(self.client.show(model))
        except BaseException:
            self.client.close()
            raise
        self.context = int(shown.get("num_ctx") or 0)
        threads = threads or int(os.environ.get("OPSLORE_OLLAMA_THREADS") or 0)
        self._options: dict[str, Any] = {"num_thread": threads} if threads else {}

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the model stays loaded for its other readers."""
        self.client.close()

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as Ollama writes it, read from the running server."""
        return self.client.render({**self._request(messages), "options": self._options})

    def chat(
        self,
        messages: Sequence[Message],
        *,
        grammar: str | None = None,
        max_tokens: int = 160,
        format: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Answer one conversation, greedily; `format` is a JSON schema that limits the reply.

        With a schema the confidence is that of the value alone: a model that was never trained to
        write JSON finds every brace unlikely, and says nothing about the answer by that.

        Raises:
            ConfigError: a GBNF grammar, which Ollama does not take.
            DataError: prompt and reply do not fit the context.
            ServerError: Ollama gave up.
        """
        if grammar is not None:
            raise ConfigError(
                "Ollama takes no GBNF grammar", hint="give it the catalogue's JSON schema instead"
            )
        request = self._request(messages) | {"logprobs": True, "top_logprobs": margin.TOP}
        request["options"] = self._greedy(max_tokens)
        if format is not None:
            request["format"] = dict(format)
        return self._answer("/api/chat", request, max_tokens)

    def chat_many(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        grammar: str | Sequence[str] | None = None,
        max_tokens: int = 160,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Reply]:
        """Answer conversations in order; `progress` hears how many are done."""
        limits = each(grammar, len(conversations))
        for done, (messages, limit) in enumerate(zip(conversations, limits, strict=True), 1):
            reply = self.chat(messages, grammar=limit, max_tokens=max_tokens)
            if progress is not None:
                progress(done)
            yield reply

    def complete(self, prompt: str, *, max_tokens: int = 160) -> Reply:
        """Continue a prompt that is already rendered."""
        request = {"model": self.model, "prompt": prompt, "raw": True, "logprobs": True}
        request |= {"truncate": False, "options": self._greedy(max_tokens)}
        return self._answer("/api/generate", request, max_tokens)

    def _request(self, messages: Sequence[Message]) -> dict[str, Any]:
        turns = [message.model_dump() for message in messages]
        # Without this a prompt beyond the context loses its beginning, and nobody is told.
        return {"model": self.model, "messages": turns, "truncate": False}

    def _greedy(self, max_tokens: int) -> dict[str, Any]:
        # Older servers lower the probability of what was said; nothing here was judged that way.
        greedy = {"temperature": 0, "top_k": 1, "seed": 0, "repeat_penalty": 1.0}
        return {**greedy, "num_predict": max_tokens, **self._options}

    def _answer(self, path: str, request: dict[str, Any], max_tokens: int) -> Reply:
        started = time.perf_counter()
        pieces: list[str] = []
        tokens: list[margin.Step] = []
        end: dict[str, Any] | None = None
        try:
            for line in self.client.stream(path, request):
                pieces.append(_text(line))
                tokens += [margin.step(token) for token in line.get("logprobs") or []]
                end = line if line.get("done") else None
        except ServerError as error:
            raise self._overflow(error) or error from error
        seconds = time.perf_counter() - started
        if end is None and not _stuttered(pieces):
            raise self.client.error(
                f"broke off in the middle of an answer of {self.model}",
                "look at its log, then ask again",
            )
        made = int((end or {}).get("eval_count", len(pieces)))
        read = int((end or {}).get("prompt_eval_count", 0))
        if self.context and read + made > self.context:
            raise self._too_long(f"need {read + made} tokens")
        stopped = end is not None and end.get("done_reason") == "stop"
        before, inside = _inside(tokens) if "format" in request else ("", tokens)
        logs = [token.log for token in inside]
        confidence = math.exp(sum(logs) / len(logs)) if logs else math.nan
        sure = margin.margin(tokens, before) if inside else math.nan
        return Reply("".join(pieces), stopped, made, seconds, confidence, sure)

    def _overflow(self, error: ServerError) -> DataError | None:
        if "exceed" in error.message and "context" in error.message:
            return self._too_long(f"do not fit: {error.message}")
        return None

    def _too_long(self, how: str) -> DataError:
        return DataError(
            f"{self.model}: the prompt and its reply {how}, the context has {self.context}",
            hint="raise export.num_ctx, or show fewer entries (prepare.entries)",
        )


def address() -> str:
    """The Ollama of this machine, or the one that OLLAMA_HOST names."""
    return os.environ.get("OLLAMA_HOST") or HOME


def parameters(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a model as `/api/show` writes them; `stop` is a list.

    Each stands on a line of its own, its value as Go writes a constant.
    """
    found: dict[str, Any] = {}
    stops: list[str] = []
    for line in str(shown.get("parameters") or "").splitlines():
        if (match := _PARAMETER.fullmatch(line.strip())) is None:
            continue
        name, value = match.group(1), _constant(match.group(2))
        if name == "stop":
            stops.append(str(value))
        else:
            found[name] = value
    return {**found, "stop": stops} if stops else found


def _constant(text: str) -> Any:
    """A Go constant; its quoted text is written as Python's is."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _text(line: Mapping[str, Any]) -> str:
    """The piece of reply in a line of `chat` or `generate`."""
    message = line.get("message")
    return str(
        message.get("content", "") if isinstance(message, dict) else line.get("response", "")
    )


def _inside(tokens: Sequence[margin.Step]) -> tuple[str, list[margin.Step]]:
    """What stands before the first text value of an object, and the tokens of that value."""
    found = _VALUE.match("".join(token.token for token in tokens))
    if found is None:
        return "", []
    inside, at = [], 0
    for token in tokens:
        if at < found.end("value") and at + len(token.token) > found.start("value"):
            inside.append(token)
        at += len(token.token)
    return found.string[: found.start("value")], inside


def _stuttered(pieces: Sequence[str]) -> bool:
    """Whether Ollama ended the reply because it said the same again and again."""
    last = {piece.strip() for piece in pieces[-REPEATED:]}
    return len(pieces) >= REPEATED and len(last) == 1
