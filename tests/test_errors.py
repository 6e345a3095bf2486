"""Every error says what was found and what mends it, and has its own exit code."""

from __future__ import annotations

import pytest

from opslore import errors
from opslore.errors import (
    ConfigError,
    DataError,
    GateFailed,
    IntegrityError,
    MissingExtra,
    MissingInput,
    OpsloreError,
    ServerError,
    SourceError,
)

CODES = {
    ConfigError: 2,
    MissingInput: 2,
    MissingExtra: 2,
    SourceError: 66,
    DataError: 65,
    GateFailed: 3,
    IntegrityError: 4,
    ServerError: 75,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_class_has_its_exit_code(kind: type[OpsloreError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, OpsloreError)


def test_the_docstring_draws_every_class_with_its_code() -> None:
    drawn = {
        line.split()[1]: line.split("exit ")[1].split(",")[0]
        for line in (errors.__doc__ or "").splitlines()
        if line.startswith("|- ")
    }
    assert drawn == {kind.__name__: str(code) for kind, code in CODES.items()}
    assert set(OpsloreError.__subclasses__()) >= set(CODES)


def test_the_hint_is_a_note_so_that_a_traceback_shows_it() -> None:
    error = DataError("no test split", hint="raise prepare.test")
    assert (error.message, error.hint, str(error)) == (
        "no test split",
        "raise prepare.test",
        "no test split",
    )
    assert error.__notes__ == ["raise prepare.test"]
    assert not hasattr(DataError("no test split"), "__notes__")


def test_only_a_source_that_may_come_back_says_try_again() -> None:
    assert SourceError("gone").exit_code == 66
    assert SourceError("slow", retryable=True).exit_code == 75
    assert SourceError.exit_code == 66
    assert not ServerError("down").retryable


def test_the_gate_says_every_reason_on_its_own_line() -> None:
    error = GateFailed(["G1 recall: 0.5, needs 0.80", "G2 safety: 1, needs 0"], hint="read it")
    assert error.message == "G1 recall: 0.5, needs 0.80\nG2 safety: 1, needs 0"
    assert error.reasons == ["G1 recall: 0.5, needs 0.80", "G2 safety: 1, needs 0"]
    assert error.hint == "read it"
