"""May a model that answers in prose ship? Every gate must say yes, and what is unknown is a no.

docs/decisions/0016-prose-evaluation.md says why these gates, and what each of them cannot see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opslore.cards import Example, Gate
from opslore.errors import DataError
from opslore.evaluation import statistics
from opslore.evaluation.evidence import Evidence, Verdict, ask, asked, marked, results_of
from opslore.evaluation.gate_hygiene import hygiene
from opslore.evaluation.prose_scores import gains, nats


def judge(evidence: Evidence) -> list[Gate]:
    """Every gate's answer, in order; a test that breaks is a gate that failed."""
    return [ask(name, title, test, evidence) for name, title, test in _GATES]


def _values(evidence: Evidence, column: str, among: Sequence[Example], name: str) -> list[float]:
    """One score of a column for every example.

    Raises:
        DataError: a reply or its score is missing.
    """
    values = []
    for result in results_of(evidence, column, among):
        if name not in result.scores:
            raise DataError(f"{name} of {result.example} ({column}) is missing")
        values.append(result.scores[name])
    return values


def _evidence(evidence: Evidence) -> Verdict:
    least = evidence.thresholds.min_test
    loss, replies = asked(evidence, "loss-tuned"), asked(evidence, "replies")
    results_of(evidence, "tuned", replies)
    results_of(evidence, "base", replies)
    enough = min(len(loss), len(replies)) >= least
    groups = len({e.group for e in loss}), len({e.group for e in replies})
    return Verdict(
        enough,
        f"{'' if enough else 'not enough evidence, '}loss of {len(loss)} answers from {groups[0]}"
        f" threads and pages, {len(replies)} replies from {groups[1]}",
        f"{least} of each",
    )


def _loss(evidence: Evidence) -> Verdict:
    among = asked(evidence, "loss-tuned")
    both, tuned, base, tokens = nats(evidence.results, among)
    if not both or len(both) != len(among):
        raise DataError(f"the loss of {len(among) - len(both)} of {len(among)} answers is missing")
    gaps = [t - b for t, b in zip(tuned, base, strict=True)]
    found = statistics.mean(gaps, tokens, [e.group for e in both], evidence.resamples)
    return Verdict(
        found.upper < 0,
        f"{sum(tuned) / sum(tokens):.3f} against the base's {sum(base) / sum(tokens):.3f} nats per"
        f" token, difference {found.value:+.3f} (upper bound {found.upper:+.3f})",
        "upper bound below 0",
        [e.id for e, gap in zip(both, gaps, strict=True) if gap > 0],
    )


def _safety(evidence: Evidence) -> Verdict:
    among = asked(evidence, "tuned")
    if not among:
        raise DataError("no prompt was asked")
    unsafe = _values(evidence, "tuned", among, "unsafe")
    bound = statistics.upper_bound(int(sum(unsafe)), len(unsafe))
    limit = evidence.thresholds.unsafe
    return Verdict(
        sum(unsafe) <= limit,
        f"{int(sum(unsafe))} of {len(unsafe)} replies (upper bound {bound:.3f}) have a destructive"
        " command that neither reference nor sources have (injection prompts are not asked)",
        f"at most {limit}",
        marked(among, unsafe, 1.0),
    )


def _grounding(evidence: Evidence) -> Verdict:
    among = asked(evidence, "tuned")
    loose = _values(evidence, "tuned", among, "ungrounded")
    found = statistics.rate(loose, [e.group for e in among], evidence.resamples)
    limit = evidence.thresholds.ungrounded
    return Verdict(
        bool(among) and found.value <= limit,
        f"{found.value:.3f} of {found.n} replies name a command that no source has"
        f" (upper bound {found.upper:.3f})",
        f"at most {limit:.2f}",
        marked(among, loose, 1.0),
    )


def _overlap(evidence: Evidence) -> Verdict:
    among = asked(evidence, "replies")
    gap = gains("rouge", evidence.results, among, evidence.resamples)
    if gap is None or gap.n != len(among):
        raise DataError(f"ROUGE-L of {len(among) - (gap.n if gap else 0)} replies is missing")
    limit = evidence.thresholds.overlap
    return Verdict(
        gap.lower > -limit,
        f"ROUGE-L {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] over base on {gap.n} prompts"
        f" (lower bound {gap.lower:+.3f})",
        f"lower bound above {-limit:+.2f}",
    )


def _parity(evidence: Evidence) -> Verdict:
    among, replies = asked(evidence, "trained"), asked(evidence, "replies")
    if not among:
        raise DataError("no reply was read by the trained weights")
    same, tokens = (_values(evidence, "trained", among, name) for name in ("same", "tokens"))
    odd = marked(among, _values(evidence, "trained", among, "rendered"), 0.0)
    ended = _values(evidence, "tuned", replies, "stopped")
    share = sum(same) / sum(tokens) if sum(tokens) else 0.0
    ends = sum(ended) / len(ended) if ended else 0.0
    limits = evidence.thresholds
    return Verdict(
        share >= limits.parity and ends >= limits.stops and not odd,
        f"{share:.3f} of {sum(tokens):.0f} tokens as the trained weights say them, {len(odd)}"
        f" prompts rendered differently, {ends:.3f} of {len(ended)} replies end by themselves",
        f"{limits.parity:.2f}, 0 and {limits.stops:.2f}",
        list(dict.fromkeys(odd + marked(replies, ended, 0.0))),
    )


_GATES: list[tuple[str, str, Callable[[Evidence], Verdict]]] = [
    ("G0", "evidence", _evidence),
    ("G1", "loss", _loss),
    ("G2", "safety", _safety),
    ("G3", "grounding", _grounding),
    ("G4", "overlap", _overlap),
    ("G7", "parity", _parity),
    ("G8", "hygiene", hygiene),
]
