"""Everything that can go wrong, as one tree.

OpsloreError(message, hint="", retryable=False)
|- ConfigError      the YAML, a key, a value                                exit 2
|- MissingInput     a step's input was not made yet                         exit 2
|- MissingExtra     a package is not installed                              exit 2
|- SourceError      a page, a token, a file, a rate limit                   exit 66, 75 if retryable
|- DataError        too few examples, no test split, a template that fails  exit 65
|- GateFailed       the evaluation says no: every reason on its own line    exit 3
|- IntegrityError   a digest, a tampered or truncated file                  exit 4
|- ServerError      a model server, a registry, a bucket                    exit 75

The message says what was found and where; the hint is the command or edit that mends it.
"""

from __future__ import annotations


class OpsloreError(Exception):
    """Something a person can mend; the message says what and where, the hint says how."""

    exit_code: int = 1

    def __init__(self, message: str, hint: str = "", retryable: bool = False) -> None:
        """Keep the message, and attach the hint as a note so that tracebacks show it too."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable
        if hint:
            self.add_note(hint)


class ConfigError(OpsloreError):
    """The agent file has a key or a value that cannot be used."""

    exit_code = 2


class MissingInput(OpsloreError):
    """A step was asked to run before the step that feeds it."""

    exit_code = 2


class MissingExtra(OpsloreError):
    """A backend was chosen whose package is not installed."""

    exit_code = 2


class SourceError(OpsloreError):
    """A source could not be read; retryable when waiting may help."""

    exit_code = 66

    def __init__(self, message: str, hint: str = "", retryable: bool = False) -> None:
        """Exit 75 (EX_TEMPFAIL) when trying again may help, 66 (EX_NOINPUT) when it will not."""
        super().__init__(message, hint, retryable)
        if retryable:
            self.exit_code = 75


class DataError(OpsloreError):
    """The data cannot carry the step: too few examples, no test split, a bad template."""

    exit_code = 65


class GateFailed(OpsloreError):
    """The evaluation refuses the release; `reasons` has one line per failed gate."""

    exit_code = 3

    def __init__(self, reasons: list[str], hint: str = "") -> None:
        """Join the reasons, one per line, so that every one of them is seen."""
        super().__init__("\n".join(reasons), hint)
        self.reasons = reasons


class IntegrityError(OpsloreError):
    """A file is not what its digest says."""

    exit_code = 4


class ServerError(OpsloreError):
    """A server refused, broke or did not answer."""

    exit_code = 75
