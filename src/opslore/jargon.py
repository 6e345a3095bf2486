"""What people on call say, in the words that runbooks use.

"dies and comes back" is no word of an alert about a crash loop, and "Uhr geht falsch" none of one
about clock skew. `data/jargon.json` has what tired people say of two hundred situations,
`data/glossary.json` the operations words of eleven languages in English, `data/languages.json` the
words that tell which one a text is in. They were written without a look at a runbook or a question.
What they add is searched for beside the question; the question itself, which the model reads, stays
as it is.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any

from opslore.stems import words

_WORD = re.compile(r"[^\W\d_]+")

LONGEST = 5
"""Most words of a phrase."""

PLAIN = 2
"""Words such as "der" or "sur" that must stand in a text before it is taken for a language."""


def meaning(question: str) -> tuple[str, str]:
    """The technical words for what a question says.

    Returns:
        What its phrases mean, and its foreign words in English; each empty when there are none.
    """
    return " ".join(_phrases(question)), " ".join(_translated(question))


def _phrases(question: str) -> list[str]:
    asked, known = words(question), _jargon()
    found: dict[str, None] = {}
    for start in range(len(asked)):
        for length in range(LONGEST, 0, -1):
            if means := known.get(tuple(asked[start : start + length])):
                found[means] = None
    return list(found)


def _translated(question: str) -> list[str]:
    said = _said(question)
    language = _language(said)
    if language == "en":
        return []
    table, out, place = _glossary()[language], [], 0
    while place < len(said):
        for length in (3, 2, 1):
            phrase = " ".join(said[place : place + length])
            english = table.get(phrase) or table.get(_bare(phrase))
            if english is not None and place + length <= len(said):
                out.append(english)
                place += length
                break
        else:
            place += 1
    return out


def _language(said: list[str]) -> str:
    """The language with the most of its little words in a text; English unless two are there."""
    counts = {name: sum(word in little for word in said) for name, little in _little().items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] >= PLAIN and counts[best] > counts["en"] else "en"


def _said(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def _bare(text: str) -> str:
    """Without accents, as people type in a hurry."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _data(name: str) -> Any:
    return json.loads(files("opslore").joinpath(f"data/{name}.json").read_text("utf-8"))


@cache
def _little() -> dict[str, frozenset[str]]:
    return {name: frozenset(text.split()) for name, text in _data("languages").items()}


@cache
def _jargon() -> dict[tuple[str, ...], str]:
    concepts = _data("jargon")["concepts"]
    return {tuple(words(said)): c["means"] for c in concepts for said in c["said"]}


@cache
def _glossary() -> dict[str, dict[str, str]]:
    """Each language's words; without accents where that is no other word of it."""
    tables: dict[str, dict[str, str]] = _data("glossary")
    split = {name: {" ".join(_said(k)): v for k, v in t.items()} for name, t in tables.items()}
    return {name: {_bare(k): v for k, v in t.items()} | t for name, t in split.items()}
