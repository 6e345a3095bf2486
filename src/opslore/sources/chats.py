"""One conversation as files have it: ShareGPT, messages and Alpaca rows to question and answer."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

Form = Literal["sharegpt", "messages", "alpaca"]

_ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "model", "chatgpt", "bot"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
_KEYS: dict[str, Form] = {
    "conversations": "sharegpt",
    "conversation": "sharegpt",
    "messages": "messages",
    "instruction": "alpaca",
}


class BadRow(Exception):
    """A row that is no conversation; the message says what and how to mend it."""


class Post(NamedTuple):
    """One turn, in order; system prompts are left out."""

    role: Literal["user", "assistant"]
    text: str


def parsed(line: bytes) -> dict[str, Any]:
    """A line of JSON as an object.

    Raises:
        BadRow: no JSON, or no object.
    """
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRow(f"not UTF-8: byte {error.start}; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadRow(f"no JSON: {error}; write one object a line") from error
    if not isinstance(row, dict):
        raise BadRow(f"a JSON {type(row).__name__}; write an object: {EXAMPLE}")
    return row


EXAMPLE = '{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}'


def form_of(row: dict[str, Any]) -> Form | None:
    """Which form a row has, by its keys."""
    return next((form for key, form in _KEYS.items() if key in row), None)


def posts(row: dict[str, Any], form: Form | None = None) -> list[Post]:
    """The turns of a row; the first is the user's and the last the assistant's.

    Args:
        row: one object of the file.
        form: the form it must have; None takes the one it has.

    Raises:
        BadRow: another form, an unknown role, a text that is none, or nobody answers.
    """
    known = form_of(row)
    wanted = form or known
    if wanted is None or known != wanted:
        keys = ", ".join(sorted(map(str, row))[:6]) or "none"
        raise BadRow(f"keys {keys}: not a {wanted or 'conversation'}; write {EXAMPLE}")
    found = _alpaca(row) if wanted == "alpaca" else _turns(row)
    if not found or found[0].role != "user":
        raise BadRow("the first turn is not the user's; put the question first")
    while found and found[-1].role == "user":
        found.pop()  # a last word that nobody answered teaches nothing
    if not found:
        raise BadRow("nobody answers; add the assistant's turn")
    return found


def _alpaca(row: dict[str, Any]) -> list[Post]:
    question, answer = _text(row["instruction"], "instruction"), _text(row.get("output"), "output")
    given = _text(row.get("input") or "", "input", empty=True)
    return [
        Post("user", f"{question}\n\n{given}" if given else question),
        Post("assistant", answer),
    ]


def _turns(row: dict[str, Any]) -> list[Post]:
    key = next(key for key in _KEYS if key in row)
    turns = row[key]
    if not isinstance(turns, list):
        raise BadRow(f"{key!r} is a {type(turns).__name__}; write a list of turns")
    found: list[Post] = []
    for number, turn in enumerate(turns):
        where = f"{key}[{number}]"
        if not isinstance(turn, dict):
            raise BadRow(f"{where} is a {type(turn).__name__}; write an object with role and text")
        said = turn.get("from", turn.get("role"))
        role = _ROLES.get(str(said).lower())
        if role is None:
            raise BadRow(f"{where} has the role {said!r}; only user, assistant and system are read")
        text = _text(turn.get("value", turn.get("content")), where)
        if role == "user" or role == "assistant":
            found.append(Post("user" if role == "user" else "assistant", text))
    return found


def _text(value: Any, where: str, empty: bool = False) -> str:
    """A turn's text; a list of parts when each of them is text."""
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        value = "\n".join(str(part["text"]) for part in value if "text" in part)
    if not isinstance(value, str):
        raise BadRow(f"{where} has no text but {type(value).__name__}; write a string")
    text = clean(value).strip()
    if not text and not empty:
        raise BadRow(f"{where} is empty; write what was said")
    return text


def clean(text: str) -> str:
    """A text that UTF-8 can hold, with line feeds, without NUL."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
