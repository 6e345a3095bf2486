"""What MLflow can hold, refused before the first call instead of half-way, or cut in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from opslore.errors import DataError

MAX_KEY = 250
MAX_PARAM = 6000
"""Characters; MLflow cuts a longer parameter without a word."""
MAX_TAG = 8000

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.: -]*"
_KEY = re.compile(f"{_PART}(/{_PART})*")


def refuse(
    params: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    """Refuse names, numbers and texts that MLflow cannot hold.

    Raises:
        DataError: which one, and the limit.
    """
    for key in (*params, *metrics, *tags):
        if len(key) > MAX_KEY or not _KEY.fullmatch(key):
            raise DataError(
                f"{key!r} cannot name a parameter, metric or tag in MLflow",
                hint=f"at most {MAX_KEY} letters, digits, spaces and _ - . : in parts joined by /",
            )
    for key, number in metrics.items():
        if not math.isfinite(number):
            raise DataError(
                f"metric {key} is {number}: what ends without a number is no evidence",
                hint="run `opslore evaluate AGENT.yaml` again and look at its report",
            )
    for values, limit in ((params, MAX_PARAM), (tags, MAX_TAG)):
        for key, value in values.items():
            if len(value) > limit:
                raise DataError(f"{key} has {len(value)} characters; MLflow keeps {limit}")
