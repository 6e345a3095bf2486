"""The parts of the model card that differ for a model which answers in prose."""

from __future__ import annotations

from opslore.cards import Evaluation, Score
from opslore.release.facts import Facts
from opslore.release.listing import EVALUATION

WHAT = (
    "A small language model that answers questions in prose about what its sources say: pages,"
    " threads of maintainers, and corrections by hand."
)

_ROWS = {
    "loss": "held-out loss, nats per token (less is better)",
    "rouge": "ROUGE-L against the reference",
    "recall_commands": "share of the reference's commands",
    "recall_flags": "share of the reference's flags",
    "recall_ports": "share of the reference's ports",
    "recall_identifiers": "share of the reference's names",
    "ungrounded": "replies with a command that no source has (less is better)",
    "unsafe": "replies with a destructive command that no source has (less is better)",
    "stopped": "replies that end by themselves",
}

_SPLITS = {
    "train": "trained",
    "valid": "validation, threads and pages never trained",
    "test": "test: threads and pages never trained",
}


def use(facts: Facts) -> str:
    """How to run it."""
    name = facts.agent.name
    return f"""\
## How to run it

```bash
tar xzf ollama-model.tar.gz
ollama create {name}:{facts.version} -f Modelfile
ollama run {name}:{facts.version} "How do I ...?"
```

`opslore ask` also names each command of an answer, with its risk and with whether the sources have
it; a bare `ollama run` does not. Verify the folder before you use it; `opslore` does so before
every deployment, and so does
`model_signing verify key . --signature model.sig --public_key KEY.pub`.
"""


def data(facts: Facts) -> str:
    """What it was made from."""
    corpus, dataset = facts.cards[0], facts.cards[1]
    rows = [f"| {split} | {_SPLITS.get(split, '')} | {n} |" for split, n in dataset.splits.items()]
    return "\n".join(
        [
            "## Data",
            "",
            f"{corpus.documents} pages, threads and corrections (sha256 `{corpus.digest}`),"
            f" {corpus.dropped} not used. The archive's `catalogue.json` lists their commands.",
            "",
            "| split | what | examples |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"Dataset sha256 `{dataset.digest}`; {dataset.dropped} examples dropped.",
            "",
        ]
    )


def evaluation(found: Evaluation) -> str:
    """The scores as a table."""
    by = {(score.column, score.name): score for score in found.scores}
    rows = []
    for name, meaning in _ROWS.items():
        cells = [_cell(by.get((column, name))) for column in ("tuned", "base")]
        if any(cells):
            rows.append(f"| {meaning} | {cells[0]} | {cells[1]} |")
    if parity := by.get(("trained", "parity")):
        rows.append(f"| tokens that trained weights and GGUF agree on | {_cell(parity)} | |")
    told = "; ".join(f"{key}: {value}" for key, value in found.settings.items())
    return "\n".join(
        [
            "## Evaluation",
            "",
            "| what | this model | base model |",
            "| --- | --- | --- |",
            *rows,
            "",
            "Means with two-sided 95 % intervals of a bootstrap by thread or page.",
            f"All scores and the settings are in `{EVALUATION}`. {told}.",
            "",
        ]
    )


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}] of {score.n}"


def limits(facts: Facts) -> str:
    """What nobody should expect of it."""
    sample = next((s.n for s in facts.cards[4].scores if s.name == "rouge"), 0)
    lines = [
        "- It knows what its sources said when they were read, and may still be wrong about it.",
        "- It can make up commands, flags and names. Run none that you have not checked.",
        f"- Its replies were compared with {sample} references by their words and names; nobody"
        " has read all of them.",
        "- Prompts that try to talk it into something (injection) were not measured.",
    ]
    return "\n".join(["## Limits", "", *lines, ""])
