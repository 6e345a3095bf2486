"""A symptom in the words of whoever reports it: a sentence, a part, keywords, synonyms, typos."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from opslore.index import TELLS
from opslore.stems import CAMEL

Side = Literal["train", "test"]

DRAWS = 16
"""How many cuts of a symptom are looked at for one that tells its alert."""

Tells = Callable[[str], int]
"""How well a text tells its alert from the others: `opslore.index.Index.tells`."""


@cache
def data(name: str) -> Any:
    """A data file of this room."""
    return json.loads((files("opslore.dataset") / "data" / f"{name}.json").read_text("utf-8"))


def drawn(draw: Callable[[], str], tells: Tells | None) -> str:
    """The first of some draws that tells its alert, or the first of those that tell the most."""
    best = draw()
    for _ in range(DRAWS - 1):
        if tells is None or tells(best) == TELLS:
            break
        best = max(best, draw(), key=tells)
    return best


def sentences(symptoms: str) -> list[str]:
    """The symptoms as sentences of 15 to 220 characters."""
    out = []
    for line in symptoms.splitlines():
        for part in re.split(r"(?<=[.!?])\s+(?=[A-Z`])", line.strip()):
            text = part.strip(" -*")
            if len(text) > 220:
                text = text[:220].rsplit(" ", 1)[0]
            if len(text) >= 15:
                out.append(text)
    return out


def hide_name(text: str, title: str) -> str:
    """Say "this alert" where a text names it."""
    return re.sub(re.escape(title), "this alert", text, flags=re.IGNORECASE)


def spaced(title: str) -> str:
    """A CamelCase name as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", title).lower()


def short(title: str) -> str:
    """A CamelCase name as the words somebody in a hurry types: `OOMKilled` is `oom killed`."""
    return " ".join(CAMEL.findall(title)).lower() or title


def reword(text: str, side: Side, rng: random.Random) -> str:
    """Say up to four phrases in other words."""
    table: dict[str, list[str]] = data("synonyms")[side]
    found = [k for k in table if re.search(rf"\b{re.escape(k)}\b", text, re.IGNORECASE)]
    for key in sorted(rng.sample(found, min(4, len(found))), key=len, reverse=True):
        other = pick(table[key], rng)
        literal = str(other).replace("\\", "\\\\")
        text = re.sub(rf"\b{re.escape(key)}\b", literal, text, flags=re.IGNORECASE)
    return text


def fragment(text: str, rng: random.Random) -> str:
    """Five to nine words of a text in a row."""
    whole = text.rstrip(".").split()
    length = rng.randrange(5, 10)
    start = rng.randrange(max(1, len(whole) - length + 1))
    return " ".join(whole[start : start + length]).strip(",;:. ")


def keywords(text: str, rng: random.Random) -> str:
    """Four to six words of a text, without those nobody types into a search box."""
    whole = [w.strip("`'\",;:.()") for w in text.split()]
    common = frozenset(data("common"))
    good = list(dict.fromkeys(w for w in whole if len(w) > 2 and w.lower() not in common))
    if not good:
        return text
    count = min(len(good), rng.randrange(4, 7))
    chosen = set(rng.sample(range(len(good)), count))
    return " ".join(w for i, w in enumerate(good) if i in chosen)


def noise(text: str, keep: list[str], rng: random.Random) -> str:
    """Lower case and a typo in every eighth word or so; label values stay as they are."""
    out = []
    for word in text.split(" "):
        bare = word.strip(",.;:?!")
        if any(v in word for v in keep):
            out.append(word)
            continue
        word = word.lower()
        if len(bare) > 4 and bare.isalpha() and rng.random() < 0.12:
            i = rng.randrange(1, len(word) - 2)
            word = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        out.append(word)
    return " ".join(out)


def pick(items: Any, rng: random.Random) -> Any:
    """One of some things, with one number drawn."""
    return items[rng.randrange(len(items))]
