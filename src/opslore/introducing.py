"""Whether a word of a question is introduced as a name: "topic clicks", "the clicks topic".

A word of the language can stand beside a noun as well ("the queue grows", "a database shutdown"):
a bare word counts only where its place in the sentence leaves nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from opslore import labels
from opslore.holding import Holding, all_nouns, foreign_words, plain_words

_INFLECTED = re.compile(r".*(?:ed|ing|ly)|ge\w{3,}t")
_CALLED = (
    r"(?:\s+(?:is|are|was|ist|est|es|é|e|se|s'appelle))?"
    r"(?:\s+(?:called|named|heißt|heisst|namens|llamad[ao]|chamad[ao]|llama|chama|nommée?|appelée?))?"
)
_SURELY = re.compile(
    r"(?:called|named|name is|heißt|heisst|namens|llamad[ao]|chamad[ao]|se llama|se chama|nommée?|"
    r"appelée?|s'appelle)\s+[`'\"(]*$",
    re.IGNORECASE,
)
_LED = re.compile(
    r"(?:^|[,;:(/.?!]|\b(?:in|on|for|from|of|at|by|and|du|de|del|do|da|der|im|en|em|na|no|dans|sur|la"
    r"|pour|für))\s*(?:the\s+|la\s+|le\s+|el\s+|o\s+|der\s+)?$",
    re.IGNORECASE,
)
_GENITIVE = re.compile(r"\b(?:du|del|do|da|des|dem)\s+$", re.IGNORECASE)
"""Behind it no language makes a compound of two bare nouns: `du groupe ventes`."""
_THE = re.compile(
    r"(?:\b(?:the|our|my|of|and|just)\s+(?:main\s+)?)[`'\"\[]*$",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"[`'\"\])]*(?:\s*(?:$|[,.;:!?)(\n/])|\s+(?:-|(?:and|but|or|is|are|was|has|have|had|since|after|for|"
    r"with|on|at|in|of|from|not|no|again|now|please|keeps?|shows?|y|et|und|ist|est|está|é|en|em|sur|auf|"
    r"dans|desde|depuis|seit|do|does|did|gets?|to|by|until|because|when|while|before)(?![\w-])))"
)


@dataclass(frozen=True)
class Word:
    """A word of the question that could be a name, with what stands in front and behind."""

    text: str
    before: str
    after: str

    @property
    def quoted(self) -> bool:
        """Whether it stands in quotation marks alone."""
        mark = self.before[-1:]
        return mark in ("`", "'", '"') and self.after.startswith(mark)

    @property
    def bare(self) -> bool:
        """Whether nothing but its place tells it from a word of the language."""
        return not self.quoted and not re.search(r"[\d_.-]", self.text)


def may_be_bare(text: str) -> bool:
    """Whether a word can be a name where only its neighbour in the sentence says so."""
    return len(text) > 2 and text.lower() not in plain_words() and not labels.is_compound(text)


def introduced(word: Word, holding: Holding, used: frozenset[str]) -> bool:
    """Whether a word for such a thing stands beside it: `topic clicks`, `the clicks topic`."""
    before = _nouns_before(holding.nouns).search(word.before)
    if before and (not word.bare or _sure_bare(word, before, used)):
        return True
    behind = _nouns_behind(holding.nouns).match(word.after)
    if not behind or not (_THE.search(word.before) or not word.bare):
        return False
    return not word.bare or (len(word.text) > 2 and not _is_prose(word.text, used))


def _sure_bare(word: Word, before: re.Match[str], used: frozenset[str]) -> bool:
    """Whether a bare word after a noun is its name: `of stanza billing`, no `database is down`."""
    if _SURELY.search(word.before):
        return word.text.lower() not in labels.STOP
    if _is_prose(word.text, used) or before["copula"].strip():
        return False
    lead = word.before[: before.start()]
    ended = _ENDS.match(word.after) or _next_noun(word.after)
    return bool(_GENITIVE.search(lead) or (ended and _LED.search(lead)))


def _next_noun(after: str) -> bool:
    found = re.match(r"\s+([a-z]+)\s", after, re.IGNORECASE)
    return found is not None and found[1].lower() in all_nouns()


def belongs_elsewhere(word: Word, holding: Holding) -> bool:
    """Whether a word for another kind of thing stands in front: no host is in `topic web-1`."""
    found = _nouns_before(all_nouns()).search(word.before)
    return found is not None and found["noun"].lower() not in holding.nouns


@lru_cache(maxsize=512)
def _nouns_before(nouns: frozenset[str]) -> re.Pattern[str]:
    return re.compile(
        rf"(?<![\w-])(?P<noun>{_any(nouns)})(?:[ -]name)?"
        rf"(?P<copula>{_CALLED})\s*(?:[:=]\s*)?(?:\s|(?<=[:=])|(?=[`'\"(\[]))"
        r"[`'\"(\[]*$",
        re.IGNORECASE,
    )


@lru_cache(maxsize=512)
def _nouns_behind(nouns: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"[`'\"\]]*[\s-]+(?:{_any(nouns)})(?![\w=-])", re.IGNORECASE)


def _any(nouns: frozenset[str]) -> str:
    ordered = sorted(nouns, key=lambda noun: (-len(noun), noun))
    return "|".join(r"\s+".join(map(re.escape, noun.split())) for noun in ordered) or "(?!)"


def _is_prose(text: str, used: frozenset[str]) -> bool:
    low = text.lower()
    if low in used or low in plain_words() or low in all_nouns() or low in foreign_words():
        return True
    return text != low or len(low) < 2 or bool(_INFLECTED.fullmatch(low))
