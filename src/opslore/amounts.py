"""The numbers that a question asks for: "give it 12gb", "can we have 12 workers instead of 4".

Most numbers in a question are measurements. Only what somebody wants goes into a command, and only
in the unit that the hole has.
"""

from __future__ import annotations

import re

from opslore.holding import Holding, unit_of, units

_NUMBER = re.compile(
    r"(?<![\w.,:/<>=-])(\d+(?:\.\d+)?)(?![\d.]*\d)"
    r"(?!\s+(?:\w+\s+)?(?:of|von|de|out of|sur|/)\s+(?:the\s+)?\d)"
    r"(?:(\s?)([A-Za-z]+|%))?(?![\w./:-]*\d)"
)
_WANTED = re.compile(
    r"(?:\b(?:want|wants|need|needs|needed|give|set|raise|grow|resize|bump|increase|extend|expand|"
    r"enlarge|scale|add|allow|put|make|fallback|like|go|change|lift|lower|reduce|move|"
    r"(?:can|could|may|might|should)\s+(?:i|we|you|they|it|someone)\s+(?:please\s+)?(?:have|get|do|use)|"
    r"brauche[nt]?|braucht|bitte|erhöhen?|vergrößern?|setzen?|gib|gebt|mach|"
    r"aument[aeo]\w*|ampl[ií]\w*|sub[ea]\w*|pon\w*|dale|dar|necesit\w+|precis\w+|"
    r"augment\w*|agrandi\w*|pass[eo]\w*|mett\w+|donn\w+|faut|voudrai\w*)\b)"
    r"(?P<between>(?:(?!(?<![\w.-])\d)[^.;!?\n]|\.(?=\w)){0,60})$",
    re.IGNORECASE,
)
_TO = re.compile(
    r"\b(?:want|need|needs|set|raise|grow|resize|bump|increase|extend|expand|scale|go|change|lift|"
    r"lower|reduce|move|erhöhen?|aument\w*|augment\w*|ampl\w*|pass\w*)\b[^.;!?\n]{0,80}"
    r"\b(?:to|auf|à|a|pra|para)\s+(?:about\s+|say\s+)?$",
    re.IGNORECASE,
)
_MEASURED = re.compile(
    r"\b(?:since|after|from|of|every|until|past|over|above|below|than|least|with|code|exit|mit|seit|nach|von|sur|desde|"
    r"depuis|de|in|within|is|was|are|only|now|about)\s+$",
    re.IGNORECASE,
)


def amount(question: str, holding: Holding) -> list[str]:
    """The amounts somebody asks for, as they belong in the hole.

    Args:
        question: what somebody wrote, in which no label value is unsafe.
        holding: a hole for an amount.
    """
    unit = unit_of(holding)
    found = set()
    for match in _NUMBER.finditer(question):
        before = question[: match.start()]
        value = _in_unit(match, unit)
        if value and (_TO.search(before) or _is_wanted(before)):
            found.add(value)
    return sorted(found)


def number(question: str, holding: Holding) -> list[str]:
    """The numbers that follow a word for the hole: `partition 7`, `port 3`.

    Args:
        question: what somebody wrote.
        holding: a hole for the number of a thing.
    """
    nouns = "|".join(map(re.escape, sorted(holding.nouns, key=lambda noun: (-len(noun), noun))))
    pattern = (
        rf"(?<![\w-])(?:{nouns})\s*(?:is\s+|no\.?\s+|nr\.?\s+|id\s+)?[=:#]?\s*(\d+)(?![\w.%/:-]*\w)"
    )
    return sorted(set(re.findall(pattern, question, re.IGNORECASE)))


def _is_wanted(before: str) -> bool:
    found = _WANTED.search(before)
    return found is not None and not _MEASURED.search(before)


def _in_unit(match: re.Match[str], unit: str) -> str:
    """The number as the hole has it; "" when its unit is another's, or unknown."""
    digits, space, said = match[1], match[2], (match[3] or "").lower()
    known = next((name for name, forms in units().items() if said in forms), "")
    if not known or not unit:
        return digits if not known and (space or not said) else ""
    if unit == "any":
        return "" if space else digits + match[3]
    return digits if known == unit else ""
