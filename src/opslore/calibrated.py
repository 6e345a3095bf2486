"""From signals to a probability: how often an answer with these signals was right.

The vote is a logistic regression that evaluation fits on validation questions
(evaluation/calibration.py); its numbers travel in the signed evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from opslore.cards import Calibration

SIGNALS = ("margin", "fit", "cosine")
"""Who votes: the model's preference for answering over `escalate_to_human`, how far the index's
best entry leads, and how near it is in meaning (with an embedder)."""

WATCHED = ("confidence",)
"""Measured beside them and no voter: a reply that is limited to a prompt's choices is said only
until one is left, so its confidence is that of fewer words than a free reply's."""

BIAS = "bias"
"""Name of the constant among the weights."""

CERTAIN = 30.0
"""Nats; beyond, the exponential is 0 or 1 in any case."""


def probability(calibration: Calibration, signals: Mapping[str, float]) -> float | None:
    """The probability that an answer with these signals is right.

    Returns:
        0..1, or None when a signal that the vote was fitted on is unknown.
    """
    if not calibration.weights:
        return None
    total = calibration.weights.get(BIAS, 0.0)
    for name, weight in calibration.weights.items():
        if name == BIAS:
            continue
        value = signals.get(name, math.nan)
        if not math.isfinite(value):
            return None
        total += weight * value
    return logistic(total)


def logistic(total: float) -> float:
    """Log-odds as a probability."""
    return 1.0 / (1.0 + math.exp(-max(-CERTAIN, min(CERTAIN, total))))
