"""llama.cpp in this process, through xllamacpp: no server to start, no TCP port.

Replies are greedy. Without the prompt cache, which is the default, the same prompt gives the same
reply whatever was asked before or is asked beside it: conversations that are answered at the same
time have an engine each. Two things change a reply by rounding alone, and only where two tokens are
almost equally likely: a prompt cache, because reused tokens were computed in a batch of another
size, and another number of threads in an engine.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from opslore import ggufheader, llama, machine
from opslore.cards import Message
from opslore.errors import DataError, ServerError
from opslore.servers import Reply, each, margin
from opslore.servers.template import Template


class Server:
    """A GGUF, loaded once and asked many times."""

    def __init__(
        self,
        gguf: Path,
        *,
        context: int = 4096,
        parallel: int = 1,
        threads: int = 0,
        cache: bool = False,
    ) -> None:
        """Check the file, then load it.

        Args:
            gguf: the model, with its chat template inside.
            context: tokens that prompt and reply may have together.
            parallel: conversations that are answered at the same time; they share the threads, and
                one core each is the fastest way through many prompts (docs/LOG.md).
            threads: threads that compute; 0 takes every core this process may use.
            cache: keep the last prompt's keys and values, so that a common beginning is not
                computed again.

        Raises:
            IntegrityError: a damaged file.
            DataError: no chat template, or a broken one.
            ServerError: llama.cpp refuses the model.
        """
        header = ggufheader.read(gguf)
        self.gguf, self.context, self.parallel, self._cache = gguf, context, parallel, cache
        text = header.get("tokenizer.chat_template", "")
        self.template = Template(text, str(gguf), **_tokens(header))
        self._bos = self.template.tokens["bos_token"] if _adds_bos(header) else ""
        self._room = Path(tempfile.mkdtemp(prefix="opslore-"))
        self._engines: list[Any] = []
        self._free: SimpleQueue[Any] = SimpleQueue()
        threads = max(1, (threads or machine.cores()) // parallel)
        try:
            for number in range(parallel):
                self._engines.append(_engine(gguf, self._room, number, context, threads))
                self._free.put(self._engines[-1])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Free the model."""
        self.close()

    def close(self) -> None:
        """Free the model's memory; a closed server does not answer."""
        # The queue holds them too; what frees one is that nobody holds it any more.
        self._engines, self._free = [], SimpleQueue()
        shutil.rmtree(self._room, ignore_errors=True)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as the model reads it, by the template inside the GGUF."""
        return self.template.render(messages)

    def chat(
        self, messages: Sequence[Message], *, grammar: str | None = None, max_tokens: int = 160
    ) -> Reply:
        """Answer one conversation, greedily.

        Raises:
            DataError: prompt and reply do not fit the context, or the grammar is wrong.
            ServerError: llama.cpp gave up.
        """
        return self.complete(self.render(messages), grammar=grammar, max_tokens=max_tokens)

    def chat_many(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        grammar: str | Sequence[str] | None = None,
        max_tokens: int = 160,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Reply]:
        """Answer conversations in order, `parallel` of them at a time."""
        report = progress or (lambda done: None)
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="opslore-ask") as pool:
            asked: deque[Future[Reply]] = deque()
            done = 0
            try:
                limits = each(grammar, len(conversations))
                for messages, limit in zip(conversations, limits, strict=True):
                    prompt = self.render(messages)
                    asked.append(
                        pool.submit(self.complete, prompt, grammar=limit, max_tokens=max_tokens)
                    )
                    if len(asked) > 2 * self.parallel:
                        reply = asked.popleft().result()
                        report(done := done + 1)
                        yield reply
                while asked:
                    reply = asked.popleft().result()
                    report(done := done + 1)
                    yield reply
            finally:
                for future in asked:
                    future.cancel()

    def complete(self, prompt: str, *, grammar: str | None = None, max_tokens: int = 160) -> Reply:
        """Continue a prompt that is already rendered."""
        if not self._engines:
            raise ServerError(f"{self.gguf}: this server was closed")
        request: dict[str, Any] = {
            "prompt": prompt.removeprefix(self._bos),
            "max_tokens": max_tokens,
            "temperature": 0,
            "top_k": 1,
            "seed": 0,
            "logprobs": margin.TOP,
            "cache_prompt": self._cache,
        }
        if grammar is not None:
            request["grammar"] = grammar
        engine = self._free.get()
        try:
            started = time.perf_counter()
            answer = engine.handle_completions(request)
            seconds = time.perf_counter() - started
        finally:
            self._free.put(engine)
        if "error" in answer:
            raise self._refusal(answer["error"], grammar)
        return self._reply(answer, seconds, max_tokens)

    def _reply(self, answer: dict[str, Any], seconds: float, max_tokens: int) -> Reply:
        choice, usage = answer["choices"][0], answer["usage"]
        stopped, made = choice["finish_reason"] == "stop", usage["completion_tokens"]
        if not stopped and made < max_tokens:
            raise self._overflow(usage["prompt_tokens"] + max_tokens)
        said = (choice.get("logprobs") or {}).get("content") or []
        # A reply that is cut where one choice is left ends against the model's will.
        forced = bool(said) and not said[-1]["token"]
        logs = [token["logprob"] for token in (said[:-1] if forced else said)]
        confidence = math.exp(sum(logs) / len(logs)) if logs else math.nan
        sure = margin.margin([margin.step(token) for token in said])
        return Reply(choice["text"], stopped, made, seconds, confidence, sure)

    def _refusal(self, error: dict[str, Any], grammar: str | None) -> DataError | ServerError:
        message = str(error.get("message", error))
        if error.get("type") == "exceed_context_size_error":
            return self._overflow(error.get("n_prompt_tokens", 0))
        if grammar is not None and "grammar" in message:
            return DataError(f"{self.gguf}: llama.cpp cannot read the grammar: {message}")
        return ServerError(f"{self.gguf}: llama.cpp: {message}")

    def _overflow(self, tokens: int) -> DataError:
        return DataError(
            f"{self.gguf}: the prompt and its reply need {tokens} tokens, the context has"
            f" {self.context}",
            hint="raise export.num_ctx, or show fewer entries (prepare.entries)",
        )


def _engine(gguf: Path, room: Path, number: int, context: int, threads: int) -> Any:
    """An engine that writes; it has answered once."""
    engine = llama.engine(
        gguf,
        room / f"{number}.sock",
        context=context,
        threads=threads,
        what="server 'llamacpp'",
        n_ctx_checkpoints=0,
        # Prompts are rendered here; a template that llama.cpp cannot read must not stop the model.
        chat_template="chatml",
    )
    engine.handle_completions({"prompt": "a", "max_tokens": 1, "cache_prompt": False})
    return engine


def _tokens(header: ggufheader.Header) -> dict[str, str]:
    """The special tokens a template may name, as the tokenizer's folder names them."""
    words = header.get("tokenizer.ggml.tokens", [])
    found = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        index = header.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None and index < len(words):
            found[f"{name}_token"] = words[index]
    found.setdefault("bos_token", "")
    return found


def _adds_bos(header: ggufheader.Header) -> bool:
    """Whether llama.cpp puts the first token there itself; a second one would change the answer."""
    default = header.get("tokenizer.ggml.model") == "llama"
    return bool(header.get("tokenizer.ggml.add_bos_token", default))
