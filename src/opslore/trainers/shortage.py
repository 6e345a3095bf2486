"""What to do when memory runs out in a training: say which setting to lower."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opslore import modelfolder
from opslore.config import Train
from opslore.errors import ConfigError
from opslore.models import Base

if TYPE_CHECKING:
    from opslore.trainers.packing import Tokens

SAID = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "unable to allocate",
    "bad_alloc",
    "memoryerror",
)
"""How libraries say it, in lower case: PyTorch on the CPU, on CUDA and on MPS, NumPy, MLX, C++ and
the operating system. Their errors are RuntimeErrors, as those of a wrong shape are."""


def told(text: str) -> bool:
    """Whether an error's text says that memory ran out."""
    return any(said in text.lower() for said in SAID)


def _is_one(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or told(str(error))


@contextmanager
def explained(train: Train, base: Base, work: Path, examples: Sequence[Tokens]) -> Iterator[None]:
    """Turn a lack of memory into an error that says which setting to lower.

    It is a ConfigError: the agent file asks for more than this machine has, and the same file will
    ask for it again. To try again later, as a ServerError says, would end the same way.

    Args:
        train: hyper-parameters.
        base: the model that is adapted.
        work: folder of the run, with its checkpoints.
        examples: what is trained; empty while that is not known.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_one(error):
            raise
        reason = next((line for line in str(error).splitlines() if told(line)), "")
        said = f": {reason.strip()}" if reason else ""
        raise ConfigError(
            f"train: memory ran out{said}; {_kept(work)}", hint=_mended(train, base, examples)
        ) from error


def _kept(work: Path) -> str:
    saved = sorted((work / "scratch").glob("checkpoint-??????"))
    if not saved:
        return "no checkpoint was written yet"
    return f"the checkpoint of step {int(saved[-1].name.rpartition('-')[2])} is kept"


def _mended(train: Train, base: Base, examples: Sequence[Tokens]) -> str:
    from opslore.trainers import footprint, forecast
    from opslore.trainers.estimate import Lengths, Shape

    again = "; with more memory the same command goes on, with other settings it starts anew"
    if not examples:
        return f"end other programs, or choose a smaller base_model{again}"
    shape = Shape.of(modelfolder.configuration(base.folder))
    lengths = Lengths([(len(t.ids), len(t.ids) - t.start) for t in examples], len(examples))
    where = forecast.place(train, shape, lengths, base.gguf is not None)
    found = footprint.savings(shape, train, lengths, where)
    need = footprint.memory(shape, train, lengths, where).total / footprint.GIB
    return f"about {need:.1f} GiB are needed; {footprint.advice(found)}{again}"
