"""G6: has training cost the model what its base could do?"""

from __future__ import annotations

import math

from opslore.errors import DataError
from opslore.evaluation import statistics
from opslore.evaluation.evidence import Evidence, Verdict

ENOUGH = 200
"""So many questions can tell a model that forgot from chance; with fewer any drop counts."""

CHANCE = 0.05
"""A drop that chance brings more often than this (exact McNemar, one-sided) is none."""


def forgetting(evidence: Evidence) -> Verdict:
    """The paired difference to the base model on S5, and how much the perplexity grew.

    Raises:
        DataError: S5 was not measured, or a perplexity is not a number.
    """
    limits, found = evidence.thresholds, evidence.retention
    if found is None:
        raise DataError("S5 was not asked: set evaluate.general above 0")
    before, after = found.base_perplexity, found.tuned_perplexity
    if not (math.isfinite(before) and math.isfinite(after) and before > 0):
        raise DataError(f"the perplexity of general text is {after}, the base model's {before}")
    gap = statistics.paired(found.tuned_right, found.base_right, found.groups, evidence.resamples)
    grown = after / before - 1
    told = [
        name
        for name, tuned, base in zip(found.groups, found.tuned_right, found.base_right, strict=True)
        if tuned < base
    ]
    # Greedy replies of a small model change both ways: of 250 about thirty, without a loss.
    chance = gap.p / 2 if gap.value < 0 else 1.0
    kept = gap.value >= -limits.forgetting or (len(found.groups) >= ENOUGH and chance > CHANCE)
    passed = kept and after <= before * (1 + limits.perplexity)
    return Verdict(
        passed,
        f"S5 {sum(found.tuned_right):.0f} of {len(found.groups)}, base {sum(found.base_right):.0f}"
        f" ({gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}], by chance {chance:.2g}),"
        f" perplexity {after:.1f}, base {before:.1f} ({grown:+.1%})",
        f"at least {-limits.forgetting:+.2f}, or from {ENOUGH} questions on a drop that may be"
        f" chance ({CHANCE:g}), perplexity at most {limits.perplexity:+.0%}",
        [] if passed else told,
    )
