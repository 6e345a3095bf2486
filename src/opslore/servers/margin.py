"""How far a model preferred a command to asking a person, read from the tokens' probabilities.

The margin is the log-odds of answering against `escalate_to_human`, at the token where a reply
leaves that text: probabilities before any grammar, so that a limit does not change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opslore.cards import ESCALATE

TOP = 10
"""Likeliest tokens that are asked for at each place; the way to the escalation is among them, or
less likely than all of them."""

LIMIT = 20.0
"""Nats; what lies beyond is rounding."""


class Step(NamedTuple):
    """One token of a reply."""

    token: str
    log: float
    """Log probability, nats."""
    others: Sequence[tuple[str, float]]
    """The likeliest tokens at this place, with theirs."""


def step(told: Mapping[str, Any]) -> Step:
    """A token as an OpenAI-compatible server tells it (llama.cpp, Ollama)."""
    others = told.get("top_logprobs") or []
    return Step(
        str(told["token"]), float(told["logprob"]), [(o["token"], o["logprob"]) for o in others]
    )


def margin(steps: Sequence[Step], before: str = "") -> float:
    """Log-odds, in nats within +-`LIMIT`, of answering with a command; nan when unknown.

    A reply that is the whole escalation is judged by the probability of all of its tokens, any
    other by that of the token that would have gone on with it.

    Args:
        steps: the reply, token by token.
        before: text that stands before the answer in every reply, such as `{"command": "`.
    """
    left, total = before + ESCALATE, 0.0
    free = len(before)
    for token, log, others in steps:
        if token and _goes_on(left, token):
            free -= len(token)
            total += log if free < 0 else 0.0
            left = left[len(token) :]
            if not left:
                return _odds(total)
            continue
        if not others:
            return math.nan
        return _odds(total + _way(left, token, others))
    return math.nan


def _goes_on(left: str, token: str) -> bool:
    return left.startswith(token) or token.startswith(left)


def _way(left: str, said: str, others: Sequence[tuple[str, float]]) -> float:
    """Log probability of going on with the escalation instead of what was said."""
    found = [log for token, log in others if token and token != said and _goes_on(left, token)]
    if not found:
        return min(log for _, log in others)
    top = max(found)
    return top + math.log(sum(math.exp(log - top) for log in found))


def _odds(log: float) -> float:
    if math.isnan(log):
        return math.nan
    if log >= 0:
        return -LIMIT
    return max(-LIMIT, min(LIMIT, math.log(-math.expm1(log)) - log))
