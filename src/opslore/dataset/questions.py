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

_SHELL = re.compile(r"^\s*(?:`{3,}|~{3,})\s*(?:ba|z|)sh\b|^\s*(?:`{3,}|~{3,})\s*(?:shell|console)", re.M)
_STEPS = re.compile(r"^\s{0,3}\d{1,2}[.)]\s", re.M)
_ITEMS = re.compile(r"^\s{0,3}[-*+]\s+\S", re.M)
_FLAGS = re.compile(r"^\s*(?:[-*+|]|\|)\s*`-{1,2}[\w-]+", re.M)
_ASKING = re.compile(r"^(?:what|why|how|when|where|which|who|can|does|do|is|are|should)\b", re.I)
_DEFINES = re.compile(r"^(?:The |An? )?([A-Z`][\w`./ -]{1,40}?) (is|are) (?:an?|the|one of|used)\b")
_VAGUE = re.compile(r"\b(?:this|that|these|it|there|here|following|above|below|each|both)\b", re.I)
_WEB = re.compile(r"https?://\S+|\[[^\]]*\]\([^)]*\)")
_ADMIN = re.compile(r"^(?:table of contents|contents|toc|licen[cs]e|copyright|index|see also)$", re.I)

_AFTER_VERB = re.compile(
    r"(?:the|an?|your|all|with|to|from|against|on|for|into|up|out|off|it|in|at|by|new)\b", re.I
)
"""What follows a verb and no noun."""

_HOW = (
    "How do I {do} in {about}?",
    "I want to {do}. What do I have to do in {about}?",
    "What is the way to {do} with {about}?",
)
_COMMANDS = (
    "Which commands do I need for {topic} in {about}?",
    "Show me the commands for {topic} in {about}.",
)
_STEPWISE = (
    "What are the steps for {topic} in {about}?",
    "Step by step, how does {topic} work in {about}?",
)
_OPTIONS = (
    "Which options are there for {topic} in {about}?",
    "What flags does {about} have for {topic}?",
)
_CHANGES = (
    "What changed in {about} {release}?",
    "Which fixes and changes came with {about} {release}?",
    "What is in the release notes of {about} {release}?",
)
_LISTED = ("What belongs to {topic} in {about}?",)
_GENERAL = (
    "What do the {about} docs say about {topic}?",
    "What should I know about {topic} in {about}?",
    "Can you explain {topic} in {about}?",
)


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
    return verb + (verb[-1] if double or verb in ("debug", "submit", "commit", "begin") else "") + "ing"


def unfit(section: Section, shortest: int) -> str:
    """The reason why a section answers nothing, or ""."""
    if _ADMIN.match(section.title.strip()):
        return "contents, licence or index"
    text = section.text.strip()
    if len(text) < shortest:
        return "too short"
    prose = _WEB.sub(" ", text)
    words = len(re.findall(r"[A-Za-z]{2,}", prose))
    if words < 6 or len(prose.strip()) < 0.35 * len(text) and words < 25:
        return "only links"
    return ""


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
    if VERSION.match(section.title):
        release = re.sub(r"^(?:version|release)\s+", "", section.title, flags=re.I)
        forms = _turned(_CHANGES, seed, name)[: min(most, 2)]
        return [form.format(about=about, release=release) for form in forms]
    topic = _topic(section, about)
    found: list[str] = []
    if _ASKING.match(section.title):
        asked = section.title.rstrip("?.! ")
        found.append(f"{asked}?" if _says(asked, about) else f"In {about}: {asked}?")
    if do := _infinitive(section.title):
        below = _below(section)
        what = do if not below or _specific(section.title) else f"{do} ({below})"
        found += [form.format(do=what, about=about) for form in _turned(_HOW, seed, name)[:2]]
    if defined := _defined(section):
        subject, verb = defined
        found.append(
            f"What {verb} {subject}?" if _says(subject, about) else f"What {verb} {subject} in {about}?"
        )
    found += [_turned(forms, seed, name)[0].format(topic=topic, about=about) for forms in _kinds(section)]
    general = [form.format(topic=topic, about=about) for form in _turned(_GENERAL, seed, name)]
    chosen = found[: most - 1]
    return list(dict.fromkeys([*chosen, *general]))[:most]


def _kinds(section: Section) -> list[Sequence[str]]:
    """The forms that fit what the section has."""
    text = section.text
    if _infinitive(section.title):
        return []
    out: list[Sequence[str]] = []
    if _FLAGS.search(text):
        out.append(_OPTIONS)
    if _SHELL.search(text):
        out.append(_COMMANDS)
    if len(_STEPS.findall(text)) > 1:
        out.append(_STEPWISE)
    elif len(_ITEMS.findall(text)) > 2 and not out:
        out.append(_LISTED)
    return out


def _turned(forms: Sequence[str], seed: int, name: str) -> list[str]:
    start = int(share(f"{name}/{forms[0]}", seed) * len(forms))
    return [*forms[start:], *forms[:start]]


def _infinitive(title: str) -> str:
    """`Running the tests` and `Run the tests` as `run the tests`; "" for other headings."""
    first, _, rest = title.partition(" ")
    verb = _verbs().base.get(first.lower(), "")
    if not verb or not rest or _ASKING.match(title):
        return ""
    if first.lower() in _verbs().doubtful and not _AFTER_VERB.match(rest):
        return ""
    return f"{verb} {_lowered(rest)}".rstrip(".:!")


def _lowered(text: str) -> str:
    """Without the capital of a plain word; names and abbreviations keep theirs."""
    words = text.split(" ")
    return " ".join(
        [w.lower() if re.fullmatch(r"(?:The|A|An|Your|And|Or|To|For|With|In|On|Of|From)", w) else w for w in words]
    )


def _topic(section: Section, about: str) -> str:
    """What a section is about: its heading in quotes, with the heading it stands under."""
    below = _below(section)
    title = f'"{section.title}"'
    if not section.above:
        return title
    if not below:
        return title if _specific(section.title) else f'{title} ("{section.above[0]}")'
    return f'{title} ("{below}")'


def _below(section: Section) -> str:
    """The heading directly above, but the page's title only where nothing else is."""
    return section.above[-1] if len(section.above) > 1 else ""


def _specific(title: str) -> bool:
    return len(re.findall(r"\w+", title)) > 3


def _says(text: str, about: str) -> bool:
    return about.split(" ")[0].lower() in text.lower()


def _defined(section: Section) -> tuple[str, str] | None:
    """The subject of a first sentence that defines something."""
    first = cut.blocks(section.text)[:1]
    if not first or cut.is_code(first[0]):
        return None
    found = _DEFINES.match(cut.sentences(first[0])[0]) if cut.sentences(first[0]) else None
    if not found or _VAGUE.search(found[1]) or len(found[1].split()) > 5:
        return None
    if found[2] == "is" or found[1].rstrip("`").endswith("s"):
        return found[1].strip(), found[2]
    return None
