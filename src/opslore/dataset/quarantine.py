"""Text that could carry orders a reader does not see: it waits for a person, with the reason.

`visible(text)` is what may be learned: the text without its HTML comments, which nobody sees and
most of which are the form of an issue template. `suspicious(text)` reads all of it, the comments
too, and says what is wrong. docs/decisions/0015-trust.md has the reasons and the measured counts.
"""

from __future__ import annotations

import base64
import binascii
import re

from opslore.dataset import hidden, orders

LONG = 200
"""Characters of base64 in a row that a person cannot read; a SHA-512 has 88."""
SHORT = 40
"""Characters of base64 that could hold an order; they are decoded and read."""

_BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{%d,}={0,2}" % SHORT)  # noqa: UP031
_LINES = re.compile(r"(?:^[ \t>]*[A-Za-z0-9+/]{56,80}={0,2}[ \t]*\r?\n){4,}", re.M)
LINE = 56
"""Characters of a line of wrapped base64."""
_PEM = re.compile(r"-----BEGIN (?P<what>[A-Z0-9 ]{1,40})-----.*?-----END (?P=what)-----", re.S)
"""A certificate is what it says; a private key is masked as a secret."""
_NO_BLOB = re.compile(r"[A-Za-z]+|[0-9a-fA-F]+|[0-9]+|[-_/+]+|(?:[A-Za-z0-9]{1,24}[-_/+]+)+\w*")


def suspicious(text: str) -> str:
    """Why this text may not teach unless a person says so; empty when nothing is wrong."""
    return (
        hidden.invisible(text)
        or _comments(text)
        or _base64(_PEM.sub("", text) if "-----BEGIN " in text else text)
        or orders.found(text)
    )


def visible(text: str) -> str:
    """The text that its readers see: HTML comments outside code are taken out."""
    return hidden.without_comments(text)[0]


def _comments(text: str) -> str:
    """Comments that do more than explain a form: order something, run it, or hide the rest."""
    if "<!--" not in text:
        return ""
    _, comments = hidden.without_comments(text)
    for comment in comments:
        if comment.open:
            return "an HTML comment that does not end hides what follows"
        if reason := orders.found(comment.text) or _base64(comment.text):
            return f"an HTML comment hides {reason}"
        if hidden.acts(comment.text):
            return "an HTML comment hides a command or an instruction for a model"
    return ""


def _base64(text: str) -> str:
    longest = 0
    for found in _BLOB.finditer(text):
        run = found.group()
        longest = max(longest, len(run))
        if _NO_BLOB.fullmatch(run):
            continue
        plain = _decoded(run)
        if orders.found(plain):
            return "base64 that hides an order to a model"
        if len(run) >= LONG and not plain.startswith("-----BEGIN CERTIFICATE"):
            return f"a base64 blob of {len(run)} characters"
    if longest >= LINE and (block := _LINES.search(text)):
        return f"a base64 blob of {len(block.group())} characters"
    return ""


def _decoded(run: str) -> str:
    """What base64 says; empty when it is none or is no text."""
    body = run.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    body = body[: len(body) // 4 * 4]
    try:
        return base64.b64decode(body, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
