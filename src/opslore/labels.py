"""The labels that a question states: written by a machine, or said in plain words by a person.

A small model copies a pod's name wrong now and then, and a wrong namespace in a right command is
the worst kind of answer. What a program can read, a program fills in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from opslore.commands.tables import hole_tables

_WRITTEN = re.compile(
    r"""(?<![\w.])(["']?)([A-Za-z_][\w.]*)["']?(=|:\s?)(["']?)"""
    r"""(/(?![/\w])|/?[A-Za-z0-9][\w.:/@-]*)(?![\w.:/@-]*=)"""
)
"""A Prometheus label name, `=` or `:`, a value that could be a Kubernetes name or host:port."""

_VALUE = r"[`'\"]?(?P<value>[A-Za-z0-9/](?:[A-Za-z0-9._:/@-]*[A-Za-z0-9/])?)[`'\"]?"
_BEFORE = r"(?P<lead>(?:^|[,;(]|\b(?:in|on|for|at|from|of))\s*(?:the\s+)?)?"
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?")
_SHORT = frozenset(["ns", "pv", "vm", "db"])
"""The two-letter names that people say; `no` and `po` are other words."""

_STOP = frozenset(
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
    for opened, name, sign, quote, value in _WRITTEN.findall(question):
        clean = value.rstrip(".,;:!?)")
        bare = sign == ": " and not (opened and quote) and clean.isalpha()
        # After a colon prose begins with a capital; Kubernetes names have none.
        if clean and not (bare and (not clean.islower() or clean in _STOP)):
            (loose if bare else sure).setdefault(name.lower().replace(" ", "_"), clean)
    return sure, loose


def said(question: str, names: Collection[str], prose: Collection[str] = ()) -> dict[str, str]:
    """The labels said in plain words: `namespace shop`, `the web-0 pod`, `shop (namespace)`.

    Careful rather than complete: a word that could be prose is no value, and of a label with two
    values none is told; the model reads those.

    Args:
        question: what somebody wrote.
        names: label names to look for.
        prose: words in lower case that are no values unless they look like a machine's names.
    """
    spoken, paren, after, before = _patterns(frozenset(names))
    found: dict[str, set[str]] = {}
    rest = question
    for pattern in (paren, after, before) if names else ():
        for match in list(pattern.finditer(rest)):
            value = match["value"]
            if value.lower() in spoken or not _is_value(value, match, pattern is paren, prose):
                continue
            found.setdefault(spoken[_plain(match["name"])], set()).add(value)
            # A value that was read is not read again as its neighbour's.
            start, end = match.span("value")
            start, end = min(start, match.start("name")), max(end, match.end("name"))
            rest = rest[:start] + "\0" * (end - start) + rest[end:]
    return {name: values.pop() for name, values in sorted(found.items()) if len(values) == 1}


def read(question: str, names: Collection[str], prose: Collection[str] = ()) -> dict[str, str]:
    """Every label a program can read in a question; what is written counts before what is said."""
    sure, loose = _written(question)
    return {**loose, **said(question, names, prose), **sure}


def _is_value(value: str, match: re.Match[str], explicit: bool, prose: Collection[str]) -> bool:
    word = value.lower()
    if word in _STOP or word in ("named", "called"):
        return False
    if value.startswith("/") or _ADDRESS.fullmatch(value):
        return True
    if not re.search(r"[A-Za-z]", value):
        return False
    if explicit or re.search(r"[\d._:/@-]", value):
        return True
    # A bare word: only where a name is introduced ("in namespace shop"), and no word of the prose.
    return bool(match["lead"]) and word not in prose and not word.endswith("ed")


@lru_cache(maxsize=256)
def _patterns(
    names: frozenset[str],
) -> tuple[dict[str, str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """How each label is said, and the three forms: value (name), name value, value name."""
    spoken = {_plain(name): name for name in sorted(names)}
    tables = hole_tables()
    for alias, kind in sorted(tables.kind_of.items()):
        known = kind in names and kind not in tables.generic
        if known and (len(alias) > 2 or alias in _SHORT):
            spoken.setdefault(_plain(alias), kind)
    for form, kind in [*spoken.items()]:
        spoken.setdefault(f"{form} name", kind)
    # Read even where no command asks for one: `job name x` must not be read as `name x`.
    for other in ("job", "host", "alert", "cluster", "user"):
        spoken.setdefault(f"{other} name", f"{other}_name")
    # The longest first: `job name` before `name`.
    any_name = "|".join(r"\s+".join(map(re.escape, s.split())) for s in _longest(spoken))
    name = rf"(?<![\w-])(?P<name>{any_name or '(?!)'})(?![\w-])"
    value = rf"(?<![\w.:/@-]){_VALUE}"
    forms = (
        rf"{_BEFORE}{value}\s+\({name}\)",
        rf"{_BEFORE}{name}\s+(?:(?:named|called)\s+)?{value}(?![\w-])",
        rf"(?P<lead>\bthe\s+)?{value}\s+{name}",
    )
    paren, after, before = (re.compile(form, re.IGNORECASE) for form in forms)
    return spoken, paren, after, before


def _longest(spoken: Collection[str]) -> Iterator[str]:
    return iter(sorted(spoken, key=lambda s: (-len(s), s)))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
