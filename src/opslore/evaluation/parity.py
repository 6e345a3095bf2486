"""G7 in the live server: trained weights, GGUF in llama.cpp and the model in Ollama, side by side.

The replies of the first two are those that `evaluate` kept; only Ollama is asked anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from opslore import store
from opslore.cards import Example, Record, Result
from opslore.config import Agent
from opslore.errors import DataError, MissingInput
from opslore.evaluation import columns, scorers
from opslore.evaluation.columns import Progress, Run
from opslore.evaluation.replies import Log
from opslore.evaluation.run import read
from opslore.index import Index
from opslore.servers.ollama import Server
from opslore.servers.ollama_install import prober

COLUMN = "ollama"


class Parity(Record):
    """How many of the held-out prompts get the same answer everywhere."""

    model: str
    prompts: int
    gguf: int
    """Replies of the GGUF in llama.cpp that are those of the trained weights."""
    ollama: int
    """Replies of Ollama that are those of the trained weights."""
    between: int
    """Replies of Ollama that are those of the GGUF in llama.cpp."""
    rendered: int
    """Prompts that Ollama writes as the model was trained to read them, byte by byte."""
    stops: int
    """Replies of Ollama that end by themselves."""
    seconds: float
    """Median seconds of an answer of Ollama."""
    differ: list[str]
    """What differs, one line each: example, what, both sides."""

    def passed(self, share: float = 0.98) -> bool:
        """Whether both agree at least this often, with every prompt and every stop right."""
        least = share * self.prompts
        return min(self.gguf, self.ollama) >= least and self.rendered == self.stops == self.prompts

    def line(self) -> dict[str, float]:
        """The shares, rounded to four places."""
        shares = {"parity_gguf": self.gguf, "parity_ollama": self.ollama, "stops": self.stops}
        return {name: round(count / self.prompts, 4) for name, count in shares.items()}


def parity(
    agent: Agent,
    dataset: Path,
    bundle: Path,
    results: Path,
    url: str,
    model: str,
    progress: Progress | None = None,
) -> Parity:
    """Ask Ollama the prompts of G7, and compare with what `evaluate` kept.

    Args:
        agent: the agent file.
        dataset: folder with s1.jsonl, s2.jsonl, s3.jsonl and index.jsonl.
        bundle: folder with model.gguf.
        results: `results.jsonl` of the evaluation of this bundle.
        url: the Ollama; empty is OLLAMA_HOST, else this machine's.
        model: the bundle's name there, `agent-sre:v20260131-0123abcd`.
        progress: called with (column, done, total).

    Raises:
        MissingInput: Ollama has no such model, or nothing was evaluated.
        DataError: the evaluation asked nothing of the trained weights.
        ServerError: Ollama gave up.
    """
    if not results.is_file():
        raise MissingInput(f"{results}: no such file", hint="run `opslore evaluate AGENT.yaml`")
    examples = read(dataset)
    with tempfile.TemporaryDirectory(prefix="opslore-parity-") as room:
        kept = {(row.column, row.example): row for row in store.read_rows(results, Result)}
        with Log(Path(room) / "replies.jsonl") as log, Server(model, url=url) as server:
            run = Run(agent, examples, Index.read(dataset), log, progress or _quiet)
            among = run.asked()["trained"]
            _complete(among, kept, results)
            probe = prober(bundle / "model.gguf")
            odd = []
            for example in among:
                wanted = probe(columns.open_book(example))
                if server.render(wanted.messages).removeprefix(wanted.bos) != wanted.prompt:
                    odd.append(example.id)
            columns.ask(run, COLUMN, among, server, columns.open_book)
        return _counted(model, among, {**kept, **log.found}, odd)


def _complete(among: list[Example], kept: dict[tuple[str, str], Result], results: Path) -> None:
    """Refuse to compare with replies that are not there."""
    if not among:
        raise DataError(
            "no prompt is asked of the trained weights", hint="set evaluate.parity above 0"
        )
    for column in ("trained", "tuned"):
        missing = [e.id for e in among if (column, e.id) not in kept]
        if missing:
            raise MissingInput(
                f"{results}: {len(missing)} of {len(among)} {column} replies are missing",
                hint="run `opslore evaluate AGENT.yaml` with the settings of the agent file",
            )


def _counted(
    model: str,
    among: list[Example],
    replies: dict[tuple[str, str], Result],
    odd: list[str],
) -> Parity:
    differ: list[str] = []

    def same(one: str, other: str) -> int:
        equal = 0
        for e in among:
            first, second = replies[one, e.id].reply, replies[other, e.id].reply
            if scorers.same(first, second):
                equal += 1
            else:
                differ.append(f"{e.id}: {one} {first!r}, {other} {second!r}")
        return equal

    endless = [e.id for e in among if replies[COLUMN, e.id].scores["stopped"] != 1.0]
    seconds = sorted(replies[COLUMN, e.id].seconds for e in among)
    return Parity(
        model=model,
        prompts=len(among),
        gguf=same("trained", "tuned"),
        ollama=same("trained", COLUMN),
        between=same("tuned", COLUMN),
        rendered=len(among) - len(odd),
        stops=len(among) - len(endless),
        seconds=round(seconds[len(seconds) // 2], 3),
        differ=[
            *differ,
            *(f"{name}: Ollama writes another prompt" for name in odd),
            *(f"{name}: Ollama's reply never ends" for name in endless),
        ],
    )


def _quiet(column: str, done: int, total: int) -> None:
    pass
