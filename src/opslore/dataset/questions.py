"""What a section of a page answers, asked in full sentences: a heading is not a question.

The forms follow what the section has: steps, commands, options, a definition, a list of changes.
Every question names the product, so that it stands on its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from opslore.dataset import cut, wording
from opslore.dataset.sections import Section
from opslore.dataset.split import share

VERSION = re.compile(
    r"^(?:\w+[ /])?(?:v|version |release |stable-|edge-)?\d+\.\d+(?:\.\d+)*(?:[-.+]\w+)*"
    r"(?:\s*[-(\u2013].*)?$",
    re.I,
)
"""A heading that is a release."""

_SHELL = re.compile(
    r"^\s*(?:`{3,}|~{3,})\s*(?:ba|z|)sh\b|^\s*(?:`{3,}|~{3,})\s*(?:shell|console)", re.M
)
STEPS = re.compile(r"^\s{0,3}\d{1,2}[.)]\s", re.M)
ITEMS = re.compile(r"^\s{0,3}[-*+]\s+\S", re.M)
_FLAGS = re.compile(r"^\s*(?:[-*+|]|\|)\s*`-{1,2}[\w-]+", re.M)
_ASKING = re.compile(r"^(?:what|why|how|when|where|which|who|can|does|do|is|are|should)\b", re.I)
_DEFINES = re.compile(
    r"^(?:(The|An?) )?([A-Za-z`][\w`./ -]{1,40}?) (is|are) (?:an?|the|one of|used)\b"
)
_VAGUE = re.compile(
    r"\b(?:this|that|these|it|there|here|following|above|below|each|both|our|"
    r"document|section|page|guide|release|repo|goal|idea|purpose|first|next|last|easiest|best|only)\b",
    re.I,
)
POINTS = re.compile(r"\b(?:this|that|these|those|it|here|there|above|below)\b", re.I)
_PROCESS = re.compile(
    r"\b(?:steps?|process|procedure|set ?up|install\w*|upgrad\w+|releas\w+|migrat\w+|how)\b", re.I
)
"""Headings under which a numbered list is a list of steps."""

_AFTER_VERB = re.compile(
    r"(?:the|an?|your|all|with|to|from|against|on|for|into|up|out|off|it|in|at|by|new)\b", re.I
)
"""What follows a verb and no noun."""

_HOW = (
    "How do I {do}{within}{below}?",
    "I want to {do}{within}{below}. What do I have to do?",
    "What is the way to {do}{within}{below}?",
)
_COMMANDS = (
    "Which commands do the {docs} docs give for {topic}?",
    "Show me the commands for {topic}{within}.",
)
_STEPWISE = ("What are the steps for {topic}{within}?",)
_OPTIONS = (
    "Which options are there for {topic}{within}?",
    "What are the flags and options for {topic}{within}?",
)
_CHANGES = (
    "What changed in {about} {release}?",
    "Which fixes and changes came with {about} {release}?",
    "What is in the release notes of {about} {release}?",
)
_GENERAL = (
    "What do the {docs} docs say about {topic}?",
    "What should I know about {topic}{within}?",
    "Can you explain {topic}{within}?",
)
_PAGE = ('What is the {docs} page "{title}" about?',)


@dataclass(frozen=True)
class _Verbs:
    base: dict[str, str]
    """Base form or gerund -> base form."""
    doubtful: frozenset[str]
    """Those that are nouns as well: `Commit messages`, `Logging levels`."""


@cache
def _verbs() -> _Verbs:
    found = wording.data("verbs")
    both = {form: verb for verb in found["verbs"] for form in (verb, _gerund(verb))}
    doubtful = [*found["noun_too"], *(_gerund(verb) for verb in found["gerund_too"])]
    return _Verbs(both, frozenset(doubtful))


def _gerund(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    double = re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", verb)
    return (
        verb
        + (verb[-1] if double or verb in ("debug", "submit", "commit", "begin") else "")
        + "ing"
    )


def questions(section: Section, about: str, seed: int, name: str, most: int = 3) -> list[str]:
    """Up to `most` questions that the section answers, the most telling form first.

    Args:
        section: the section.
        about: product and version.
        seed: of the choice among forms.
        name: what the choice depends on besides the seed.
        most: how many questions.
    """
    about = about or (section.above[0] if section.above else section.title)
    values = {"about": about, "docs": re.sub(r"^the ", "", about, flags=re.I)}

    def asked(forms: Sequence[str], count: int, **more: str) -> list[str]:
        return [form.format(**values, **more) for form in _turned(forms, seed, name)[:count]]

    if VERSION.match(section.title):
        release = re.sub(r"^(?:version|release)\s+", "", section.title, flags=re.I)
        return asked(_CHANGES, min(most, 2), release=release)
    found = _asking(section, about)
    if do := _infinitive(section):
        below = _below(section, "" if len(do.split()) > 2 else "page")
        found += asked(_HOW, 2, do=do, within=_within(do + below, about, "with"), below=below)
    topic = _topic(section)
    place = {"topic": topic, "within": _within(topic, about, "in")}
    for forms in _kinds(section, bool(do)):
        found += asked(forms, 1, **place)
    if section.above:
        found = [*found[: most - 1], *asked(_GENERAL, max(1, 2 - len(found)), **place)]
    else:
        found = [*found[: most - 1], *asked(_PAGE, 1, title=section.title)]
    return list(dict.fromkeys(found))[:most]


def _asking(section: Section, about: str) -> list[str]:
    """The heading itself where it is a question, and what the first sentence defines."""
    found: list[str] = []
    if _ASKING.match(section.title):
        asked = section.title.rstrip("?.! ")
        found.append(f"{asked}?" if _says(asked, about) else f"In {about}: {asked}?")
    if defined := _defined(section):
        subject, verb = defined
        found.append(f"What {verb} {subject}{_within(subject, about, 'in')}?")
    return found


def _kinds(section: Section, is_action: bool) -> list[Sequence[str]]:
    """The forms that fit what the section has."""
    text = section.text
    out: list[Sequence[str]] = []
    if is_action:
        return out
    if len(_FLAGS.findall(text)) > 1:
        out.append(_OPTIONS)
    if _SHELL.search(text):
        out.append(_COMMANDS)
    if len(STEPS.findall(text)) > 1 and _PROCESS.search(section.title):
        out.append(_STEPWISE)
    return out


def _turned(forms: Sequence[str], seed: int, name: str) -> list[str]:
    start = int(share(f"{name}/{forms[0]}", seed) * len(forms))
    return [*forms[start:], *forms[:start]]


def _infinitive(section: Section) -> str:
    """`Running the tests` and `Run the tests` as `run the tests`; "" for other headings."""
    first, _, rest = section.title.partition(" ")
    verb = _verbs().base.get(first.lower(), "")
    if not verb or not rest or _ASKING.match(section.title):
        return ""
    if first.lower() in _verbs().doubtful and not _AFTER_VERB.match(rest):
        return ""
    if POINTS.search(rest):
        return ""
    return f"{verb} {_lowered(rest, section.text)}".rstrip(".:!")


def _lowered(text: str, said: str) -> str:
    """Plain words without the capitals of a Title; a name keeps its own, as in the text."""

    def lower(found: re.Match[str]) -> str:
        word = found.group()
        is_name = re.search(rf"[a-z,(] ?{re.escape(word)}\b", said) is not None
        return word if is_name or text[: found.start()].endswith("(") else word.lower()

    if " " not in text.strip():
        return text  # Rust, Docker, Web: more often a name than not
    return re.sub(r"(?<![\w./-])[A-Z][a-z]+(?![\w./-])", lower, text)


def _topic(section: Section) -> str:
    """What a section is about in running text, with the heading it stands under."""
    title = section.title
    if do := _infinitive(section):
        verb, _, rest = do.partition(" ")
        least = "" if len(do.split()) > 2 else "page"
        return f"{_gerund(verb)} {rest}" + _below(section, least)
    plain = re.fullmatch(r"[\w ,'/()-]+", title) is not None and len(title.split()) < 8
    topic = _lowered(title, section.text) if plain else f'"{title}"'
    return topic + _below(section, "" if len(title.split()) > 3 else "page")


def _below(section: Section, least: str) -> str:
    """The heading directly above in brackets; a page's title only when `least` asks for it."""
    if len(section.above) > 1 or (section.above and least):
        return f" ({section.above[-1]})"
    return ""


def _within(text: str, about: str, word: str) -> str:
    """The product, unless the text names it already."""
    return "" if _says(text, about) else f" {word} {about}"


def _says(text: str, about: str) -> bool:
    name = re.sub(r"^the ", "", about, flags=re.I)
    return re.search(rf"(?<!\w){re.escape(name)}\b", text, re.I) is not None


def _defined(section: Section) -> tuple[str, str] | None:
    """The subject of a first sentence that defines something."""
    first = cut.blocks(section.text)[:1]
    if not first or cut.is_code(first[0]):
        return None
    said = cut.sentences(first[0])
    found = _DEFINES.match(said[0]) if said else None
    if not found or _VAGUE.search(found[2]) or len(found[2].split()) > 5:
        return None
    if not found[1] and found[2][0].islower():
        return None
    article = f"{found[1].lower()} " if found[1] else ""
    if found[3] == "are" and not found[2].rstrip("`").endswith("s"):
        return None
    return f"{article}{found[2].strip()}", found[3]
