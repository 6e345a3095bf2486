"""Plain variables put where they are used: `NS=x; kubectl get po -n $NS` is `kubectl get po -n x`.

Only values that no shell would change are put in, and only for names that are set once, at the top
level, and used only in words. Everything else stays as it is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from opslore.commands.syntax import (
    Assignment,
    Clause,
    Compound,
    Part,
    Redirect,
    Script,
    Simple,
    Word,
    simple_commands,
    words_of,
)

_PLAIN_VALUE = re.compile("[\\w./:@%+=,\ue000\ue001-]+")


def inlined(script: Script) -> Script:
    """The script with its plain variables resolved, and their assignments dropped."""
    sets = [item for item in script.items if isinstance(item, Simple) and item.assignments]
    values = _plain_variables(script) if sets else {}
    if not values:
        return script
    items, operators = [], []
    for operator, item in script.joined:
        if _sets_only(item, values):
            continue
        items.append(_item(item, values))
        operators.append(operator)
    if not items:
        return script
    return script._replace(items=tuple(items), operators=tuple(operators[1:]))


def _plain_variables(script: Script) -> dict[str, Word]:
    found: dict[str, Word] = {}
    for before, item, after in zip(
        ("", *script.operators), script.items, (*script.operators, ";"), strict=True
    ):
        alone = isinstance(item, Simple) and (not item.words or item.program == "export")
        if not alone or before not in ("", ";", "&&") or after not in (";", "&&"):
            continue
        if isinstance(item, Simple) and len(item.words) <= 1 and not item.redirects:
            for one in item.assignments:
                if one.value.literal is not None and _PLAIN_VALUE.fullmatch(one.value.text):
                    found[one.name] = one.value
    if not found:
        return {}
    counts = Counter(one.name for command in simple_commands(script) for one in command.assignments)
    used, fixed = _uses(script)
    return {
        name: value
        for name, value in found.items()
        if counts[name] == 1 and name in used and not re.search(rf"\b{name}\b", fixed)
    }


def _uses(script: Script) -> tuple[set[str], str]:
    """Names used as plain variables, and all text in which nothing can be put in place."""
    used: set[str] = set()
    fixed: list[str] = []
    for item in script.items:
        if isinstance(item, Compound):
            fixed.append(item.head)
            for clause in item.clauses:
                more, text = _uses(clause.script)
                used |= more
                fixed += [text, clause.label]
        elif item.program in ("read", "unset", "eval"):
            fixed += [word.text for word in item.words]
        fixed += [redirect.body for redirect in item.redirects if redirect.body]
        for word in words_of(item):
            for part in word.parts:
                if part.kind == "variable":
                    used.add(part.text[1:])
                elif part.kind == "expansion":
                    fixed.append(part.text)
                for inner in part.scripts:
                    more, text = _uses(inner)
                    used |= more
                    fixed.append(text)
    return used, " ".join(fixed)


def _sets_only(item: Simple | Compound, values: Mapping[str, Word]) -> bool:
    return (
        isinstance(item, Simple)
        and (not item.words or item.program == "export")
        and bool(item.assignments)
        and all(one.name in values for one in item.assignments)
    )


def _script(script: Script, values: Mapping[str, Word]) -> Script:
    return script._replace(items=tuple(_item(item, values) for item in script.items))


def _item(item: Simple | Compound, values: Mapping[str, Word]) -> Simple | Compound:
    words = tuple(_word(word, values) for word in item.words)
    redirects = tuple(
        Redirect(one.operator, one.descriptor, _word(one.target, values), one.body)
        for one in item.redirects
    )
    if isinstance(item, Simple):
        assignments = tuple(
            Assignment(one.name, _word(one.value, values)) for one in item.assignments
        )
        return Simple(words, assignments, redirects, item.negated)
    clauses = tuple(Clause(one.label, _script(one.script, values)) for one in item.clauses)
    return item._replace(words=words, redirects=redirects, clauses=clauses)


def _word(word: Word, values: Mapping[str, Word]) -> Word:
    parts: list[Part] = []
    for part in word.parts:
        value = values.get(part.text[1:]) if part.kind == "variable" else None
        scripts = tuple(_script(inner, values) for inner in part.scripts)
        new = Part("text", value.text) if value else Part(part.kind, part.text, scripts)
        if parts and parts[-1].kind == new.kind == "text":
            parts[-1] = Part("text", parts[-1].text + new.text)
        else:
            parts.append(new)
    return Word(tuple(parts))
