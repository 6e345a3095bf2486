"""What makes a step fast, each with a switch: anybody can see what it does and what it is worth.

`OPSLORE_TRAIN_WITHOUT=head,prefix opslore train agents/sre.yaml` trains without two of them. The
loss and its gradient are the same with and without, but for rounding (a test); `make bench-tricks`
says what each gains.
"""

from __future__ import annotations

import os

from opslore.errors import ConfigError

VARIABLE = "OPSLORE_TRAIN_WITHOUT"

TRICKS = {
    "packing": "examples lie end to end; without: each is filled up to the longest of its part",
    "prefix": "what the prompts of a part have in common is computed once",
    "head": "the vocabulary is asked about completions only; without: about every token",
    "last": "the last block ends where something is read from it; without: at every token",
    "attention": "explicit matrix products where something is learned; without: the fused kernel",
    "rounding": "lengths are rounded as the type asks (fp32 to 8); without: always to 64",
    "bf16": "half precision on processors that multiply it; without: fp32",
    "processes": "one process for each core; without: one of many threads",
}
"""Every trick, and what there is without it."""


def used(name: str) -> bool:
    """Whether a trick is used.

    Raises:
        ConfigError: the variable names a trick that there is not.
    """
    without = {one.strip() for one in os.environ.get(VARIABLE, "").split(",") if one.strip()}
    if unknown := sorted(without - set(TRICKS)):
        raise ConfigError(
            f"{VARIABLE}: no trick {', '.join(unknown)}", hint=f"there are {', '.join(TRICKS)}"
        )
    return name not in without
