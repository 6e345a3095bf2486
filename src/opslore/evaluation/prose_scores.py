"""How near is a reply in prose to its reference, and what did it make up?

None of these numbers says that a reply is right. ROUGE-L counts words in common, recall counts the
reference's own names; together with what is ungrounded they tell a model that learned from one that
only sounds as if.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opslore import commands
from opslore.cards import Example, Finding, Result, Score
from opslore.evaluation import statistics
from opslore.evaluation.prose_terms import Known, Terms, dangers_in, says, terms
from opslore.evaluation.scorers import words
from opslore.evaluation.scores import score

NAMED = ("commands", "flags", "ports", "identifiers")
"""What recall counts."""

SHARES = ("rouge", *(f"recall_{name}" for name in NAMED), "grounded", "named")
"""Scores of a reply that lie between 0 and 1; one that makes no sense for it is left out."""

RATES = ("ungrounded", "unsafe", "stopped")
"""Scores of a reply that are 0 or 1."""

WORST = ("destructive", "denied")


class Scorer:
    """Scores replies against their references and the sources."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self._rouge: Any = None

    def score(self, example: Example, result: Result) -> Result:
        """Add every score to a raw reply, and name its ungrounded and unsafe commands.

        rouge: ROUGE-L F1 with stems; recall_*: share of the reference's commands, flags, ports and
        identifiers that the reply has (left out when the reference has none); grounded: share of
        the reply's commands that the sources or the reference have; named: the same of its names;
        ungrounded, unsafe: whether any command is.
        """
        wanted, found = terms(example.target), terms(result.reply)
        scores = self._recall(wanted, found, result.reply)
        if example.target:
            scores["rouge"] = self.rouge(example.target, result.reply)
        loose = [c for c in found.commands if not self.grounded(c, wanted, example.question)]
        if found.commands:
            scores["grounded"] = 1 - len(loose) / len(found.commands)
        made_up = [name for name in found.identifiers if not self._named(name, example)]
        if found.identifiers:
            scores["named"] = 1 - len(made_up) / len(found.identifiers)
        dangers = self.dangers(example.target, result.reply)
        scores |= {"ungrounded": float(bool(loose)), "unsafe": float(bool(dangers))}
        reasons = [f"in no source: {command}" for command in loose]
        reasons += [f"names nobody used: {', '.join(made_up[:5])}"] if made_up else []
        return result.model_copy(
            update={
                "scores": {**result.scores, **scores},
                "reason": "; ".join(reasons),
                "findings": dangers,
            }
        )

    def rouge(self, reference: str, reply: str) -> float:
        """ROUGE-L F1 over stemmed words (Lin 2004)."""
        if self._rouge is None:
            from rouge_score import rouge_scorer

            self._rouge = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
        return float(self._rouge.score(reference, reply)["rougeL"].fmeasure)

    def grounded(self, command: str, wanted: Terms, question: str) -> bool:
        """Whether a command is the reference's or the sources', holes filled from the question."""
        said = words(question)
        near = [*wanted.commands, *self.known.near(command)]
        return any(commands.equivalent(command, one, {}, said).equal for one in near)

    def dangers(self, reference: str, reply: str) -> list[Finding]:
        """Findings of every destructive command that neither reference nor sources have."""
        allowed = dangers_in(reference)
        out: list[Finding] = []
        for command in dangers_in(reply):
            if commands.unsafe(command, [*allowed, *self.known.near(command)]):
                out += [f for f in commands.risk(command).findings if f.severity in WORST]
        return out

    def _recall(self, wanted: Terms, found: Terms, reply: str) -> dict[str, float]:
        has: dict[str, Callable[[str], bool]] = {
            "commands": lambda one: any(commands.equivalent(c, one).equal for c in found.commands),
            "flags": lambda one: one in found.flags or says(reply, f"--{one}"),
            "ports": lambda one: one in found.ports or says(reply, one),
            "identifiers": lambda one: says(reply, one),
        }
        out = {}
        for name in NAMED:
            listed: list[str] = getattr(wanted, name)
            if listed:
                out[f"recall_{name}"] = sum(has[name](one) for one in listed) / len(listed)
        return out

    def _named(self, name: str, example: Example) -> bool:
        said = f"{example.question}\n{example.target}"
        return self.known.names(name) or says(said, name)


def scores(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    """Every score of an evaluation in prose; what was not asked has none."""
    out = _losses(results, examples, resamples)
    for column in ("tuned", "base"):
        asked = [e for e in examples if (column, e.id) in results]
        for name in (*SHARES, *RATES):
            out += _one(name, column, asked, results, resamples)
    out += _gains(results, examples, resamples)
    out += _parity(results, examples, resamples)
    judged = [e for e in examples if ("judge", e.id) in results]
    for name in ("won", "tied", "lost"):
        out += _one(name, "judge", judged, results, resamples)
    return out


def _one(
    name: str,
    column: str,
    asked: Sequence[Example],
    results: Mapping[tuple[str, str], Result],
    resamples: int,
) -> list[Score]:
    among = [e for e in asked if name in results[column, e.id].scores]
    if not among:
        return []
    values = [results[column, e.id].scores[name] for e in among]
    rate = statistics.summaries({name: values}, [e.group for e in among], resamples)[name]
    return [score(name, column, "test", rate, rate.right)]


def nats(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example]
) -> tuple[list[Example], list[float], list[float], list[float]]:
    """Examples whose loss both sides have; nats of tuned, nats of base, tokens."""
    both = [e for e in examples if {("loss-tuned", e.id), ("loss-base", e.id)} <= results.keys()]
    tuned = [results["loss-tuned", e.id].scores for e in both]
    base = [results["loss-base", e.id].scores for e in both]
    return (
        both,
        [row["nats"] for row in tuned],
        [row["nats"] for row in base],
        [row["tokens"] for row in tuned],
    )


def _losses(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    both, tuned, base, tokens = nats(results, examples)
    if not both:
        return []
    groups = [e.group for e in both]
    gaps = [b - t for t, b in zip(tuned, base, strict=True)]
    return [
        _score(name, column, statistics.mean(sums, tokens, groups, resamples))
        for name, column, sums in (
            ("loss", "tuned", tuned),
            ("loss", "base", base),
            ("loss_gain", "tuned", gaps),
        )
    ]


def _gains(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    """How far the tuned model's scores lie above the base's, on the prompts that have both."""
    out = []
    for name in SHARES[:5]:
        gap = gains(name, results, examples, resamples)
        out += [_score(f"{name}_gain", "tuned", gap)] if gap is not None else []
    return out


def gains(
    name: str,
    results: Mapping[tuple[str, str], Result],
    examples: Sequence[Example],
    resamples: int,
) -> statistics.Mean | None:
    """Paired difference of one score, tuned minus base; None when no prompt has both."""
    both = [
        e
        for e in examples
        if all(name in _scores(results, column, e) for column in ("tuned", "base"))
    ]
    if not both:
        return None
    gaps = [_scores(results, "tuned", e)[name] - _scores(results, "base", e)[name] for e in both]
    return statistics.mean(gaps, [1.0] * len(gaps), [e.group for e in both], resamples)


def _parity(
    results: Mapping[tuple[str, str], Result], examples: Sequence[Example], resamples: int
) -> list[Score]:
    read = [e for e in examples if _scores(results, "trained", e).get("tokens")]
    if not read:
        return []
    rows = [_scores(results, "trained", e) for e in read]
    found = statistics.mean(
        [row["same"] for row in rows],
        [row["tokens"] for row in rows],
        [e.group for e in read],
        resamples,
    )
    return [_score("parity", "trained", found)]


def _scores(
    results: Mapping[tuple[str, str], Result], column: str, example: Example
) -> Mapping[str, float]:
    found = results.get((column, example.id))
    return found.scores if found is not None else {}


def _score(name: str, column: str, found: statistics.Mean) -> Score:
    return score(name, column, "all" if name == "parity" else "test", found)


def headline(found: Sequence[Score]) -> str:
    """The evaluation in one sentence; when the base model is better it says that first."""
    by = {(s.column, s.name): s for s in found}
    if ("tuned", "loss") not in by:
        return "No held-out loss was taken: nothing is known about this model."
    tuned, base, gain = by["tuned", "loss"], by["base", "loss"], by["tuned", "loss_gain"]
    text = (
        f"eld-out loss {tuned.value:.3f} nats per token, the base model's {base.value:.3f}"
        f" (less by {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}] on {gain.n} examples)."
    )
    if ("tuned", "rouge") in by and ("base", "rouge") in by:
        one, other = by["tuned", "rouge"], by["base", "rouge"]
        text += f" ROUGE-L {one.value:.3f}, the base model's {other.value:.3f}, of {one.n} replies."
    if gain.value <= 0:
        return f"The base model beats the trained one: h{text}"
    return f"H{text}"
