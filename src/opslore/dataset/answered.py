"""Corrections win: a question that a correction answers is asked of nobody else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from opslore.dataset import near
from opslore.stems import words

SAME = 0.7
"""Share of stems in common from which on two questions ask the same."""

SHORT = 300
"""Longest question, in characters, that is compared whole."""

_LITTLE = frozenset(words("how do i does can what is are the a an in of to for my with on and it"))


class Corrections:
    """The questions of all corrections, by their stems."""

    def __init__(self, questions: Iterable[str]) -> None:
        self.asked = [(_stems(question), near.numbers(question)) for question in questions]
        self.having: dict[str, list[int]] = defaultdict(list)
        for place, (stems, _) in enumerate(self.asked):
            for stem in sorted(stems):
                self.having[stem].append(place)

    def answer(self, question: str) -> bool:
        """Whether a correction answers a question, or the first line of a long one."""
        if not self.asked:
            return False
        heads = {question.partition("\n")[0][:SHORT], question[: SHORT + 1]}
        return any(self._same(head) for head in heads if len(head) <= SHORT)

    def _same(self, text: str) -> bool:
        stems, numbers = _stems(text), near.numbers(text)
        shared = Counter(place for stem in stems for place in self.having.get(stem, ()))
        return any(
            count / (len(stems) + len(self.asked[place][0]) - count) >= SAME
            and numbers == self.asked[place][1]
            for place, count in shared.items()
        )


def _stems(text: str) -> frozenset[str]:
    return frozenset(words(text)) - _LITTLE
