"""Two models side by side: on the same questions, or on live traffic split by the question's hash.

A contender is `latest`, `base`, or a version, in llama.cpp or, with `@ollama` behind it, as the
Ollama of `deploy` has it; any other name before `@ollama` is a model of that Ollama. A release
reads its own bundle's prompts, all others the newest's. Every round is kept (rounds.py).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opslore import answer, models, progress, rounds, steps
from opslore.asking import OLLAMA, Asking, deployed
from opslore.cards import Bundle, Release
from opslore.config import Agent
from opslore.errors import ConfigError, DataError, MissingInput
from opslore.evaluation.run import base_gguf
from opslore.evaluation.scorers import same
from opslore.release.version import VERSION
from opslore.rounds import Round, Said, Side, Summary


@dataclass(frozen=True)
class Contender:
    """A model that can be asked."""

    agent: Agent
    mark: str
    """Its name and digest: what the kept lines say."""
    folder: Path
    """The bundle whose index and catalogue its prompts and limits come from."""
    server: str = "llamacpp"
    gguf: Path | None = None
    """For llama.cpp, if it is not the bundle's own."""
    model: str = ""
    """For Ollama."""
    url: str = ""


def contender(agent: Agent, name: str, url: str = "") -> Contender:
    """The model that a name means; see the module.

    Args:
        agent: whose releases.
        name: `latest`, `base`, a version, each also with `@ollama`; or `NAME:TAG@ollama`.
        url: the Ollama; empty is the one that `deploy` names.

    Raises:
        ConfigError: the name means nothing.
        MissingInput: there is no such release, or Ollama has no such model.
    """
    which, _, where = name.partition("@")
    if where not in ("", "llamacpp", OLLAMA):
        raise ConfigError(f"{name!r}: no server {where!r}; there are llamacpp, ollama")
    home = steps.store_of(agent)
    releases = {release.version: release for release in home.cards(Release)}
    newest = answer.shipped(home)
    if which in releases:
        bundle = steps.parent(home, releases[which], Bundle)
        folder, version, digest = home.path(bundle), which, bundle.gguf_sha256
    else:
        folder, version, digest = newest.folder, newest.name, newest.bundle.gguf_sha256
    if where == OLLAMA:
        tag = version if which in ("latest", *releases) else which
        return _in_ollama(agent, name, tag, folder, url)
    if which == "base":
        gguf = base_gguf(agent)
        return Contender(agent, f"{name} {gguf.stem}", folder, gguf=gguf)
    if which != "latest" and which not in releases:
        known = ", ".join(["latest", "base", *releases])
        raise MissingInput(f"no release {which!r} of {agent.name}", hint=f"there are {known}")
    return Contender(agent, f"{name} {version} {digest[:12]}", folder)


def _in_ollama(agent: Agent, name: str, tag: str, folder: Path, url: str) -> Contender:
    from opslore.servers.ollama import address
    from opslore.servers.ollama_client import Client

    if tag == "base":
        raise ConfigError(
            f"{name!r}: Ollama knows no base", hint="name a model that it has, as NAME:TAG@ollama"
        )
    where, model = deployed(agent, url)
    full = f"{model}:{tag}" if VERSION.fullmatch(tag) else tag if ":" in tag else f"{tag}:latest"
    with Client(where or address()) as client:
        digest = client.tags().get(full)
    if digest is None:
        raise MissingInput(
            f"Ollama {client.url} has no model {full}",
            hint="run `opslore deploy AGENT.yaml`, or name one that `ollama list` shows",
        )
    mark = f"{name} {full} {digest[:12]}"
    return Contender(agent, mark, folder, server=OLLAMA, model=full, url=client.url)


def compare(
    a: Contender,
    b: Contender,
    questions: Sequence[str],
    expected: Sequence[str] = (),
    split: float | None = None,
) -> Summary:
    """Ask two contenders, keep what they say, and sum it up.

    Args:
        a: the first.
        b: the second.
        questions: alerts, as they came.
        expected: the right answer of each; empty when nobody knows.
        split: ask only one of them: this share of the questions goes to `b`. None asks both.

    Raises:
        ConfigError: a share outside 0..1.
        DataError: no question, or not one expected answer for each.
    """
    if split is not None and not 0 <= split <= 1:
        raise ConfigError(f"split {split} is no share", hint="0.1 sends every tenth question to B")
    if not questions or not all(question.strip() for question in questions):
        raise DataError("there is a question without words", hint="one alert per line")
    if expected and len(expected) != len(questions):
        raise DataError(f"{len(expected)} expected answers for {len(questions)} questions")
    path = kept(a, b)
    sides: dict[Side, Contender] = {"a": a, "b": b}
    with ExitStack() as stack:
        asked: dict[Side, Asking] = {}
        for number, question in enumerate(questions):
            progress.report("compare", number, len(questions), question[:40])
            chosen: list[Side] = ["a", "b"] if split is None else [side(question, split)]
            said: dict[Side, Said] = {}
            for which in chosen:
                if which not in asked:
                    asked[which] = stack.enter_context(_asking(sides[which]))
                right = expected[number] if expected else None
                said[which] = _said(asked[which], question, right)
            prose = any(asking.prose for asking in asked.values())
            rounds.keep(path, _round(a, b, question, said, prose))
    progress.report("compare", len(questions), len(questions))
    return summary(a, b)


def summary(a: Contender, b: Contender) -> Summary:
    """What was kept of two contenders so far.

    Raises:
        MissingInput: they were never compared.
        IntegrityError: a line is damaged.
    """
    return rounds.summed(kept(a, b), a.mark, b.mark)


def side(question: str, share: float) -> Side:
    """Whom a question goes to: always the same one, about `share` of all questions to `b`."""
    drawn = int.from_bytes(hashlib.sha256(question.strip().encode()).digest()[:8])
    return "b" if drawn < share * 2**64 else "a"


def kept(a: Contender, b: Contender) -> Path:
    """The file with every round of these two; another digest is another file."""
    store = a.agent.store
    # A bucket cannot be appended to: there the rounds stay on this machine.
    home = models.cache() / "compare" if "://" in store else Path(store)
    folder = home / a.agent.name / "compare"
    return folder / f"{hashlib.sha256(f'{a.mark}|{b.mark}'.encode()).hexdigest()[:16]}.jsonl"


def _asking(it: Contender) -> Asking:
    return Asking(it.agent, it.folder, server=it.server, gguf=it.gguf, model=it.model, url=it.url)


def _said(asking: Asking, question: str, right: str | None) -> Said:
    started = time.perf_counter()
    hits, reply = asking.ask(question.strip())
    if asking.prose:
        return Said(
            reply=reply.text,
            command=reply.text.strip(),
            escalate=not reply.stopped,
            right=None if right is None else reply.text.split() == right.split(),
            seconds=round(time.perf_counter() - started, 3),
        )
    judged = answer.judged(reply, hits, question.strip(), {})
    return Said(
        reply=reply.text,
        command=judged.command,
        escalate=judged.escalate,
        right=None if right is None else same(judged.command, right),
        seconds=round(time.perf_counter() - started, 3),
    )


def _round(a: Contender, b: Contender, question: str, said: dict[Side, Said], prose: bool) -> Round:
    both = len(said) == 2
    return Round(
        question=question,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        a=a.mark,
        b=b.mark,
        equal=_equal(said["a"], said["b"], prose) if both else None,
        said=said,
    )


def _equal(one: Said, other: Said, prose: bool) -> bool:
    # Prose that has a code fence is more than the command inside of it.
    if prose:
        return one.command.split() == other.command.split()
    return same(one.command, other.command)
