"""Which word of a question belongs in which hole, weighed for all holes of a command at once.

A name that is introduced ("topic clicks") is sure; a name after "on" is a machine's where the
command has one; a name that nothing speaks for but its form counts only where it fits one hole and
no other fits it. Of two that fit alike none is taken, and neither goes anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from opslore import labels
from opslore.amounts import amount, number
from opslore.commands.tables import tools
from opslore.holding import Holding, plain_words
from opslore.introducing import Word, belongs_elsewhere, introduced

SPELT, WRITTEN, INTRODUCED, FORMED, PLACED, QUOTED, MACHINE, SHAPED = 9, 8, 7, 6, 5, 4, 3, 2
"""What speaks for a word, the surest first: the command's own spelling, a label, a noun beside it,
a form nothing else has, "on", quotation marks, a machine's form, any name's form."""
_TOKEN = re.compile(r"(?<![\w./:@<-])(?:https?://|/)?[A-Za-z0-9À-ÿ](?:[\w.:/@+-]*\w)?(?![\w>])")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*[A-Za-z0-9](?::\d{2,5})?")
_SHAPED = re.compile(
    r"(?=[^-.]*[a-z])(?!.*\d+[a-z]?x\b)[a-z0-9]+(?:[-.][a-z0-9]+)+|[a-z]{2,}\d+[a-z]?"
)
_UNDERSCORED = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
_FILE = re.compile(
    r".*\.(?:sh|py|log|conf|cfg|cnf|service|timer|json|ya?ml|txt|gz|sql|md|ini|pem|crt|key|rb|go|js|php)"
)
_STANDARD = re.compile(
    r"(?:ipv|http|sha|md|utf|base|tls|ext|java|python|php|raid|win|oom)-?\d+\w?|(?:s|ec|k|x|p|n|l|v|q|h)\d+\w?|"
    r"\d+-\d+.*|[\d.:-]+\w{0,2}|v?\d.*|[a-z]\.[a-z]\.?|(?:e\.g|i\.e)"
)
_ON = re.compile(
    r"(?:^|[^\w-])(?P<on>on|at|from|auf|von|sur|en|em|no|na|op|behind|onto|reach|host)\s+[`'\"(]*$",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[a-z]+\.[a-z]+")
_PROGRAM = re.compile(r".*-(?:controller|manager|plugin|agent|daemon|exporter|operator|scheduler)")
_ARGUMENT = re.compile(r"(?:^|\s)--?[a-z][\w=.-]*\s+$")
"""In front of a word of a command that was pasted."""
_FOR = re.compile(r"(?:\b(?:for|of|only)|\s-|,)\s+$")
_METRIC = re.compile(
    r"\s*(?:is|was|at|=|:|>|<|equals|shows?|says?|of|goes)(?![\w-])\s*(?:at\s+)?[\d<>=N]?"
)
_STATE = re.compile(
    r"(?:\b(?:is|are|was|be|it's|says|state|status|as|by|ist|est|está)|=|:)\s*[`'\"]$",
    re.IGNORECASE,
)
"""In front of a quoted word that says how something is, or of a whole message."""


def sure(question: str, holdings: list[Holding], used: frozenset[str]) -> dict[str, str]:
    """Identity of a hole -> the value, where a cue or a form says so.

    Args:
        question: what somebody wrote.
        holdings: the command's open holes.
        used: words in lower case that the entry uses itself: no names but in quotation marks.
    """
    return _Matching(question, holdings, used).solve(PLACED)


def likely(
    question: str, holdings: list[Holding], used: frozenset[str], taken: Iterable[str]
) -> dict[str, str]:
    """The same where only one name fits, and it fits only one hole.

    Args:
        question: what somebody wrote.
        holdings: the command's open holes.
        used: words in lower case that the entry uses itself.
        taken: values of other holes.
    """
    return _Matching(question, holdings, used, frozenset(taken)).solve(SHAPED)


class _Matching:
    """The words of a question against the holes of a command."""

    def __init__(
        self,
        question: str,
        holdings: list[Holding],
        used: frozenset[str],
        taken: frozenset[str] = frozenset(),
    ) -> None:
        self.question = labels.trusted(question)
        self.written = labels.written(question)
        self.holdings = holdings
        self.used = used
        self.machines = any(one.sort == "machine" for one in holdings)
        self.words = [word for word in _words(self.question) if word.text not in taken]

    def solve(self, least: int) -> dict[str, str]:
        """The pairs of hole and value with the most points, as long as they are the only ones."""
        pairs = self._pairs(least)
        out: dict[str, str] = {}
        while pairs:
            most = max(pairs.values())
            best = [pair for pair, points in pairs.items() if points == most]
            holes, values = {hole for hole, _ in best}, {value for _, value in best}
            for hole, value in best:
                if [one for one, _ in best].count(hole) == [v for _, v in best].count(value) == 1:
                    out[hole] = value
            # What is contested here is no weaker hole's either.
            pairs = {p: n for p, n in pairs.items() if p[0] not in holes and p[1] not in values}
        return out

    def _pairs(self, least: int) -> dict[tuple[str, str], int]:
        pairs: dict[tuple[str, str], int] = {}
        for holding in self.holdings:
            for value, points in self._values(holding):
                if points >= least:
                    key = holding.hole.identity, value
                    pairs[key] = max(points, pairs.get(key, 0))
        return pairs

    def _values(self, holding: Holding) -> Iterable[tuple[str, int]]:
        if holding.sort == "amount":
            yield from ((value, INTRODUCED) for value in amount(self.question, holding))
            return
        if holding.sort == "number":
            yield from ((value, INTRODUCED) for value in number(self.question, holding))
            return
        yield from ((value, SPELT) for value in spelt(self.question, holding))
        if holding.sort == "kubernetes":
            return
        yield from ((value, WRITTEN) for value in labelled(self.written, holding))
        for word in self.words:
            points = self._points(word, holding)
            if points:
                yield _value(word, holding), points

    def _points(self, word: Word, holding: Holding) -> int:
        text = _value(word, holding)
        if not holding.takes(text):
            return 0
        if holding.form:
            if introduced(word, holding, self.used):
                return INTRODUCED
            # "v2.18 crashes" is the version that goes, not the one to come.
            return 0 if holding.words[-1] == "version" else FORMED
        if not _NAME.fullmatch(text) or _is_no_name(text, word, self.used):
            return 0
        if introduced(word, holding, self.used):
            # "the target host name x.example" is what a domain is, where the command has one.
            doubted = holding.sort == "machine" and self._is_domain(text)
            if doubted and re.search(r"name\W*$", word.before):
                return 0
            # "the server api.example:6443" is who was called, not where one logs in.
            return SHAPED if holding.sort == "machine" and ":" in text else INTRODUCED
        if belongs_elsewhere(word, holding):
            return 0
        if _ARGUMENT.search(word.before) and not _ON.search(word.before):
            return 0
        if holding.sort == "machine":
            return self._machine(word, text)
        return self._name(word, text, holding)

    def _is_domain(self, text: str) -> bool:
        """Whether a hole with a form of its own takes it as well."""
        return any(one.form and one.takes(text) for one in self.holdings)

    def _machine(self, word: Word, text: str) -> int:
        shaped = bool(_SHAPED.fullmatch(text) or labels.ADDRESS.fullmatch(text))
        if labels.ADDRESS.fullmatch(text) and re.match(r"[\]#]", word.after):
            return 0
        on = _ON.search(word.before)
        # "at basic.publish" is a place in a program.
        if shaped and on and not (_LETTERS.fullmatch(text) and on["on"].lower() == "at"):
            return PLACED
        if word.quoted and "_" not in text and not _STATE.search(word.before):
            return QUOTED
        told = labels.ADDRESS.fullmatch(text) or (shaped and re.search(r"\d|-.*\.", text))
        return MACHINE if told else SHAPED if shaped and "-" in text else 0

    def _name(self, word: Word, text: str, holding: Holding) -> int:
        if labels.ADDRESS.fullmatch(text):
            return 0
        if word.quoted and not _STATE.search(word.before):
            return QUOTED
        if "table" in holding.words and _LETTERS.fullmatch(text):
            return PLACED
        if _UNDERSCORED.fullmatch(text):
            meant = "table" in holding.words or _FOR.search(word.before)
            return SHAPED if meant and not _METRIC.match(word.after) else 0
        if not _SHAPED.fullmatch(text) or _PROGRAM.fullmatch(text):
            return 0
        # "on mq-3" is where it happens; only a command with a machine has a place for it.
        there = _ON.search(word.before) and re.fullmatch(r".*[-.]?\d+(?:\..*)?", text)
        return 0 if there and not self.machines else SHAPED


def _value(word: Word, holding: Holding) -> str:
    """The word, or of `rabbit@hare` the machine."""
    left, at, right = word.text.partition("@")
    alone = holding.sort == "machine" and at and left and right and "." not in right
    return right if alone else word.text


def spelt(question: str, holding: Holding) -> list[str]:
    """Values that stand in the question between the very letters they have in the command."""
    before, behind = holding.before, holding.behind
    if len(before) < 4 and len(behind) < 3:
        return []
    found = set()
    if len(before) > 3 and re.search(r"[\w-]{3}[@/]$", before):
        pattern = rf"(?<![\w.-]){re.escape(before)}([\w-]*\w)"
        found |= set(re.findall(pattern, question))
    if len(behind) > 2:
        pattern = rf"(?<![\w./@-])([\w-]*\w){re.escape(behind)}(?![\w-])"
        found |= set(re.findall(pattern, question))
    return sorted(found)


def labelled(written: Mapping[str, str], holding: Holding) -> list[str]:
    """Values of labels whose names mean the hole: its own first, then what people call it."""
    for names in (frozenset(holding.hole.kinds), holding.nouns):
        found = {
            value
            for key, value in written.items()
            if holding.takes(value)
            and (key in names or key.replace("_", " ").removesuffix(" name") in names)
        }
        if found:
            return sorted(found)
    last = {
        value
        for key, value in written.items()
        if "_" in key and key.split("_")[-1] in holding.nouns and holding.takes(value)
    }
    return sorted(last)


def _is_no_name(text: str, word: Word, used: frozenset[str]) -> bool:
    low = text.lower()
    # "Answer with redis-cli FLUSHALL": a program to run, not a machine's name.
    if (low in plain_words() or ("-" in low and low in tools())) and not word.quoted:
        return True
    if labels.is_compound(text) or _FILE.fullmatch(low) or _STANDARD.fullmatch(low):
        return not labels.ADDRESS.fullmatch(text)
    return low in used or bool(re.match(r"\s*[=(]", word.after) and not word.quoted and "_" in text)


def _words(question: str) -> list[Word]:
    return [
        Word(found.group(), question[: found.start()], question[found.end() :])
        for found in _TOKEN.finditer(question)
    ]
