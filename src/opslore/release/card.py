"""The model card: what a person has to know before they run the model, in one page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence

from opslore.cards import ESCALATE, Evaluation, Score
from opslore.release import card_prose
from opslore.release.facts import Facts
from opslore.release.listing import BOM, DATASET, EVALUATION, LICENCE, NOTICE, PROVENANCE

_COLUMNS = {
    "tuned": "this model",
    "constrained": "constrained",
    "base": "base model",
    "first": "first entry",
    "bm25": "BM25",
    "lookup": "lookup",
}
"""Whose answers the table shows; all columns are in evaluation.json."""

_ROWS = [
    ("S1", "s1", "equivalent", "trained alerts, new phrasings: the right command"),
    ("S2", "s2", "equivalent", "alerts never trained: the right command"),
    ("S3 error", "s3", "answered", "unknown alerts answered instead of escalated (less is better)"),
    (
        "S1 escalated",
        "s1",
        "escalated",
        "known alerts escalated instead of answered (less is better)",
    ),
    ("S6", "s6", "equivalent", "questions that people wrote: the right command"),
    ("S4 unsafe", "s4", "unsafe", "attacks with an unsafe answer (less is better)"),
    ("S4 outside", "s4", "outside", "attacks with a command the runbook lacks (less is better)"),
    ("unsafe S1", "s1", "unsafe", "unsafe answers to S1 prompts (less is better)"),
]

_SPLITS = {
    "train": "trained",
    "valid": "validation, alerts never trained",
    "s1": "test: trained alerts, new phrasings",
    "s2": "test: alerts never trained",
    "s3": "test: unknown alerts, to be escalated",
    "s4": "test: attacks and traps",
    "s6": "test: questions that people wrote",
}


def render(facts: Facts) -> str:
    """The card as Markdown, with the front matter that model hubs read."""
    prose = facts.agent.prepare.task == "answers"
    parts = [
        _front(facts),
        _what(facts),
        card_prose.use(facts) if prose else _use(facts),
        _data(facts),
        _evaluation(facts.cards[4]),
        _gates(facts.cards[4]),
        card_prose.limits(facts) if prose else _limits(facts.cards[4]),
        _licence(facts),
    ]
    return "\n".join(parts)


def _front(facts: Facts) -> str:
    # JSON strings are YAML strings, whatever is in them.
    lines = [
        "---",
        f"license: {json.dumps(facts.licence.name)}",
        f"base_model: {json.dumps(facts.base)}",
        "library_name: gguf",
        "pipeline_tag: text-generation",
        "tags: [opslore, sre, runbook, gguf, ollama]",
        "---",
        "",
    ]
    return "\n".join(lines)


def _what(facts: Facts) -> str:
    _, _, adapter, bundle, evaluation = facts.cards
    train = facts.agent.train
    rows = [
        ("version", f"{facts.version}, release {facts.counter} of {facts.agent.name}"),
        ("made", facts.made),
        ("base model", f"{_code(facts.base)}, digest {_code(adapter.base_digest)}"),
        ("revision", _code(facts.agent.revision) if facts.agent.revision else "none (a file)"),
        ("licence of the base model", facts.licence.name),
        ("format", f"GGUF, {bundle.quantization}, sha256 {_code(bundle.gguf_sha256)}"),
        (
            "training",
            f"LoRA rank {train.lora_rank} on {train.lora_layers} layers, {adapter.steps} steps of "
            f"{train.batch_size}, loss {adapter.loss:.3f}",
        ),
        ("command templates in its catalogue", str(bundle.commands)),
    ]
    what = (
        "A small language model that answers an alert with the command the team's runbook"
        f" prescribes, or with `{ESCALATE}` when it has none."
    )
    return "\n".join(
        [
            f"# {facts.agent.name} {facts.version}",
            "",
            card_prose.WHAT if facts.agent.prepare.task == "answers" else what,
            "",
            evaluation.headline,
            "",
            *_table(["", ""], rows),
        ]
    )


def _use(facts: Facts) -> str:
    name = facts.agent.name
    return f"""\
## How to run it

```bash
tar xzf ollama-model.tar.gz
ollama create {name}:{facts.version} -f Modelfile
ollama run {name}:{facts.version} "[FIRING:1] SomeAlert namespace=shop"
```

It was trained to read the alert beside the runbook entries that fit it; `opslore ask` finds those
in the `index.jsonl` of the archive. A bare `ollama run` answers from memory, and is worse.
Verify the folder before you use it; `opslore` does so before every deployment, and so does
`model_signing verify key . --signature model.sig --public_key KEY.pub`.
"""


def _data(facts: Facts) -> str:
    corpus, dataset = facts.cards[0], facts.cards[1]
    if facts.agent.prepare.task == "answers":
        return card_prose.data(facts)
    commit = f", commit {_code(corpus.commit)}" if corpus.commit else ""
    rows = [(split, _SPLITS.get(split, ""), str(n)) for split, n in dataset.splits.items()]
    return "\n".join(
        [
            "## Data",
            "",
            f"{corpus.documents} runbook entries{commit} (sha256 {_code(corpus.digest)}), "
            f"{corpus.dropped} not used. No text of the runbook is in these papers; the archive's "
            "`index.jsonl` has the entries.",
            "",
            *_table(["split", "what", "examples"], rows),
            f"Dataset sha256 {_code(dataset.digest)}; {dataset.dropped} examples dropped.",
            "",
        ]
    )


def _evaluation(evaluation: Evaluation) -> str:
    found = {(s.column, s.split, s.name): s for s in evaluation.scores}
    if evaluation.settings.get("task") == "answers":
        return card_prose.evaluation(evaluation)
    columns = [c for c in _COLUMNS if any(s.column == c for s in evaluation.scores)]
    rows = []
    for title, split, name, meaning in _ROWS:
        cells = [_rate(found.get((column, split, name))) for column in columns]
        if any(cells):
            rows.append((title, meaning, *cells))
    if parity := found.get(("trained", "all", "parity")):
        cells = [_rate(parity) if column == "tuned" else "" for column in columns]
        rows.append(("parity", "trained weights and GGUF give the same answer", *cells))
    told = "; ".join(f"{key}: {value}" for key, value in evaluation.settings.items())
    return "\n".join(
        [
            "## Evaluation",
            "",
            *_table(["", "what", *(_COLUMNS[c] for c in columns)], rows),
            "Rates with two-sided 95 % intervals, the wider of Wilson's and a bootstrap by alert.",
            f"All scores and the settings are in `{EVALUATION}`. {_plain(told)}.",
            "",
        ]
    )


def _gates(evaluation: Evaluation) -> str:
    rows = [
        (g.name, g.title, g.measured, g.threshold, "yes" if g.passed else "**no**")
        for g in evaluation.gates
    ]
    let = [f"- **{_plain(one.told())}**" for one in evaluation.overrides]
    verdict = "passed every gate" if evaluation.passed else "did NOT pass its gates"
    if let:
        verdict = f"did not pass every gate: {len(let)} failed and a person let it pass"
    champion = f" It was compared with {evaluation.champion}." if evaluation.champion else ""
    return "\n".join(
        [
            "## Gates",
            "",
            f"This release {verdict}.{champion}",
            *(["", *let] if let else []),
            "",
            *_table(["gate", "what", "measured", "needs", "holds"], rows),
        ]
    )


def _limits(evaluation: Evaluation) -> str:
    found = {(s.column, s.split, s.name): s for s in evaluation.scores}
    lines = [
        "- It knows one team's runbook as it was at the commit above, and nothing else.",
        "- Its answers are for a person, or a program that checks them, to run; a command can be"
        " right for the alert and wrong for the moment.",
    ]
    told = [
        (("tuned", "s1", "equivalent"), "known alerts in new words: {wrong} of {n} answers wrong"),
        (("tuned", "s2", "equivalent"), "alerts it never trained: {wrong} of {n} answers wrong"),
        (("tuned", "s3", "answered"), "unknown alerts: {right} of {n} answered with a command"),
        (("tuned", "s4", "unsafe"), "attacks: {right} of {n} answered with an unsafe command"),
        (("tuned", "s6", "equivalent"), "questions by people: {wrong} of {n} answers wrong"),
    ]
    for where, words in told:
        if score := found.get(where):
            text = words.format(right=score.right, wrong=score.n - score.right, n=score.n)
            lines.append(f"- In the test: {text}.")
    return "\n".join(["## Limits", "", *lines, ""])


def _licence(facts: Facts) -> str:
    warning = f"**Warning:** {facts.licence.warning}.\n\n" if facts.licence.warning else ""
    copy = f"; `{LICENCE}` is its text" if facts.licence.text else ""
    return f"""\
## Licence and papers

{warning}The base model's licence is {facts.licence.name}{copy}. `{NOTICE}` says:

```text
{facts.licence.notice.rstrip().replace("```", "'''")}
```

`{PROVENANCE}` says what this was made from (SLSA v1), `{BOM}` lists its parts (CycloneDX),
`{DATASET}` the data by count and digest. `model.sig` signs all of it.
"""


def _rate(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}] of {score.n}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return [*lines, ""]


def _plain(text: str) -> str:
    """Text that stays inside its table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"
