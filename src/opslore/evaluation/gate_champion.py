"""G5: is the new model at least as good as the one that answers today?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opslore.cards import Example, Split
from opslore.errors import DataError
from opslore.evaluation import statistics
from opslore.evaluation.evidence import Evidence, Verdict, marks, of

COMPARED: tuple[Split, ...] = ("s1", "s2")
"""Splits whose prompts both models answer: those that have one right command."""


def champion(evidence: Evidence) -> Verdict:
    """The paired difference to the champion on S1 and S2, and what each phrasing family loses.

    Raises:
        DataError: one of the champion's replies is missing.
    """
    limits = evidence.thresholds
    needs = (
        f"lower bound above {-limits.champion:+.3f}, no family loses more than"
        f" {limits.family_alerts} alerts"
    )
    if not evidence.champion:
        return Verdict(True, "no release yet", needs)
    among = [*of(evidence, "s1"), *of(evidence, "s2")]
    if not among:
        raise DataError("no prompt was asked of both models")
    tuned = marks(evidence, "tuned", among, "equivalent")
    theirs = marks(evidence, "champion", among, "equivalent")
    gap = statistics.paired(tuned, theirs, [e.group for e in among], evidence.resamples)
    family, lost = worst(among, tuned, theirs)
    more = f"; the family {family} loses {lost} alerts" if lost else ""
    return Verdict(
        gap.lower > -limits.champion and lost <= limits.family_alerts,
        f"{gap.value:+.3f} (lower bound {gap.lower:+.3f}) against {evidence.champion} on"
        f" {len(among)} S1 and S2 prompts{more}",
        needs,
        [e.id for e, t, c in zip(among, tuned, theirs, strict=True) if c > t],
    )


def worst(
    among: Sequence[Example], tuned: Sequence[float], theirs: Sequence[float]
) -> tuple[str, int]:
    """The phrasing family that loses most alerts, and how many.

    An alert is lost in a family when fewer of its questions of that family are answered right.
    """
    gain: Counter[tuple[str, str]] = Counter()
    for example, t, c in zip(among, tuned, theirs, strict=True):
        gain[example.family.partition("/")[0], example.group] += int(t) - int(c)
    lost = Counter(family for (family, _), more in gain.items() if more < 0)
    return max(lost.items(), key=lambda item: (item[1], item[0]), default=("", 0))
