"""The labels that a question states: written by a machine, or said in plain words by a person.

A small model copies a pod's name wrong now and then, and a wrong namespace in a right command is
the worst kind of answer. What a program can read, a program fills in.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from opslore.commands.tables import hole_tables, vocabulary

_WRITTEN = re.compile(
    r"""(?<![\w.])(["']?)([A-Za-z_][\w.]*)["']?(=|:\s?)(["']?)"""
    r"""(/(?![/\w])|/?[A-Za-z0-9][\w.:/@-]*)(?![\w.:/@-]*=)"""
)
"""A Prometheus label name, `=` or `:`, a value that could be a Kubernetes name or host:port."""

_SHELL = tuple("$`|&<>(){}*\\")
"""Characters that make a shell do something with what stands before them."""

_VALUE = r"[`'\"]?(?P<value>[A-Za-z0-9/](?:[A-Za-z0-9._:/@-]*[A-Za-z0-9/])?)[`'\"]?"
_BEFORE = r"(?P<lead>(?:^|[,;(]|\b(?:in|on|for|at|from|of))\s*(?:the\s+)?)?"
ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?")
_SHORT = frozenset(["ns", "pv", "vm", "db"])
"""The two-letter names that people say; `no` and `po` are other words."""

_DECOYS = ("job_name", "host_name", "alert_name", "cluster_name", "user_name")
"""Read even where no command asks for one, so that none of them is read as a `name`."""

STOP = frozenset(
    """is are was were has have had be been being do does did done the a an and or but not no nor
    in on at for from of to with by as it its that this these those which who what when while where
    why how if then than there here after before since because still again also just only now so
    very too can could may might will would should must get gets got keeps keep kept goes same
    other another every each any all some one two three first second last next new old whole entire
    main wrong right affected bad good my our your their his her we you they i me us both few many
    most more less own such per via up down out off over under""".split()  # noqa: SIM905
)
"""Words that are no name of anything."""


def written(question: str) -> dict[str, str]:
    """The labels in machines' spelling: `name=value`, `name: value`, JSON.

    Of a name that is given twice the first value counts; quotes and closing punctuation are not
    part of a value.
    """
    sure, loose = _written(question)
    return {**loose, **sure}


def _written(question: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels nobody can mistake, and those of the form `container: terminated`, maybe prose."""
    sure: dict[str, str] = {}
    loose: dict[str, str] = {}
    for match in _WRITTEN.finditer(question):
        opened, name, sign, quote, value = match.groups()
        if _is_unsafe(match):
            continue
        clean = value.rstrip(".,;:!?)")
        bare = sign == ": " and not (opened and quote) and clean.isalpha()
        # After a colon prose begins with a capital; Kubernetes names have none.
        if clean and not (bare and (not clean.islower() or clean in STOP)):
            (loose if bare else sure).setdefault(name.lower(), clean)
    return sure, loose


def trusted(question: str) -> str:
    """A question whose label values that no command may get are blanks, none of them a name.

    Of `pod="web-0; reboot"` or `pod=web-0$(reboot)` no part is the pod's name.
    """
    out, last = [], 0
    for match in _WRITTEN.finditer(question):
        if match.start() < last or not _is_unsafe(match):
            continue
        start, quote = match.start(5), match[4]
        end = question.find(quote, match.end()) if quote else -1
        if end < 0:
            rest = re.match(r"\S*" if not quote else r"[^\n]*", question[start:])
            end = start + (rest.end() if rest else 0)
        out += [question[last:start], " " * (end - start)]
        last = end
    return "".join([*out, question[last:]])


def _is_unsafe(match: re.Match[str]) -> bool:
    """Whether more belongs to a label's value than a name may have."""
    quote, follows = match[4], match.string[match.end() : match.end() + 1]
    return follows != quote if quote else follows in _SHELL


def said(question: str, names: Collection[str], prose: Collection[str] = ()) -> dict[str, str]:
    """The labels said in plain words: `namespace shop`, `the web-0 pod`, `shop (namespace)`.

    Careful rather than complete: a word that could be prose is no value, and of a label with two
    values none is told; the model reads those.

    Args:
        question: what somebody wrote.
        names: label names to look for.
        prose: words in lower case that are no values unless they look like a machine's names.
    """
    if not names:
        return {}
    ways = sorted(map(_ways, {*names, *_DECOYS}), key=lambda way: way.order)
    spoken = {said for way in ways for said in way.spoken}
    found: dict[str, set[str]] = {}
    rest = question
    for form, way in product(range(3), ways):
        for match in list(way.forms[form].finditer(rest)):
            value = match["value"]
            if value.lower() in spoken or not _is_value(value, match, form == 0, prose):
                continue
            found.setdefault(way.name, set()).add(value)
            # A value that was read is not read again as its neighbour's.
            spans = (match.span("value"), match.span("name"))
            start, end = min(spans)[0], max(spans)[1]
            rest = rest[:start] + "\0" * (end - start) + rest[end:]
    return {name: values.pop() for name, values in sorted(found.items()) if len(values) == 1}


def read(question: str, names: Collection[str], prose: Collection[str] = ()) -> dict[str, str]:
    """Every label a program can read in a question; what is written counts before what is said."""
    sure, loose = _written(question)
    return {**loose, **said(trusted(question), names, prose), **sure}


def is_prose(word: str) -> bool:
    """Whether a word is no name of anything, wherever it stands."""
    return word.lower() in STOP


_COMPOUND_LAST = ("only", "wide", "based", "free", "ended", "side", "like", "in", "up", "time")
_COMPOUND_FIRST = ("in", "re", "non", "pre", "post", "multi", "self", "one", "two", "three")


def is_compound(word: str) -> bool:
    """Whether a word with hyphens is one of the language's, such as `read-only`, and no name."""
    if "-" not in word:
        return False
    first, *_, last = word.lower().split("-")
    both = {first, last} <= vocabulary("spoken", "parts")
    return both or last in _COMPOUND_LAST or first in _COMPOUND_FIRST


def _is_value(value: str, match: re.Match[str], explicit: bool, prose: Collection[str]) -> bool:
    word = value.lower()
    if word in STOP or word in ("named", "called") or is_compound(word):
        return False
    if value.startswith("/") or ADDRESS.fullmatch(value):
        return True
    if not re.search(r"[A-Za-z]", value):
        return False
    if explicit or re.search(r"[\d._:/@-]", value):
        return True
    # A bare word: only where a name is introduced ("in namespace shop"), and no word of the prose.
    return bool(match["lead"]) and word not in prose and not word.endswith("ed")


@dataclass(frozen=True)
class _Way:
    """How people say one label."""

    name: str
    spoken: tuple[str, ...]
    forms: tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]
    """`value (name)`, `name value`, `value name`."""

    @property
    def order(self) -> tuple[int, str]:
        """The longest first: `job name x` must not be read as `name x`."""
        return -max(map(len, self.spoken)), self.name


@lru_cache(maxsize=4096)
def _ways(name: str) -> _Way:
    forms = spoken(name)
    forms |= {f"{form} name" for form in forms}
    ordered = tuple(sorted(forms, key=lambda form: (-len(form), form)))
    any_form = "|".join(r"\s+".join(map(re.escape, form.split())) for form in ordered)
    said = rf"(?<![\w-])(?P<name>{any_form})(?![\w-])"
    value = rf"(?<![\w.:/@-]){_VALUE}"
    patterns = (
        rf"{_BEFORE}{value}\s+\({said}\)",
        rf"{_BEFORE}{said}\s+(?:(?:named|called)\s+)?{value}(?![\w-])",
        # "redis-0 ns jobs": the short word belongs to what follows it.
        rf"(?P<lead>\bthe\s+)?{value}\s+{said}(?!(?<=\bns)\s+\w)",
    )
    paren, after, before = (re.compile(form, re.IGNORECASE) for form in patterns)
    return _Way(name, ordered, (paren, after, before))


def spoken(name: str) -> set[str]:
    """The words that people say for a label: its name and its aliases, in plain lower case."""
    tables = hole_tables()
    forms = {_plain(name)}
    if name not in tables.generic:
        aliases = (alias for alias, kind in tables.kind_of.items() if kind == name)
        forms |= {_plain(alias) for alias in aliases if len(alias) > 2 or alias in _SHORT}
    return forms


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
