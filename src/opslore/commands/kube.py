"""Kubernetes resources among a command's positionals: `deploy x`, `deployments.apps/x`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from opslore.commands.arguments import Invocation
from opslore.commands.spellings import without_prefix
from opslore.commands.syntax import Word
from opslore.commands.tables import ambiguous_kinds, resource_groups, resource_kinds

_ANNOTATING = frozenset({"label", "annotate", "taint", "set"})


class Target(NamedTuple):
    """A resource kind (singular), and the name of one object; no name means all of the kind."""

    kind: str
    name: Word | None = None


@lru_cache(maxsize=4096)
def kind_name(text: str) -> str:
    """A kind's singular name without its plain group: `deployments.v1.apps` -> `deployment`."""
    if not re.fullmatch(r"[A-Za-z][\w.-]*", text):
        return text
    base, _, group = text.lower().partition(".")
    group = re.sub(r"^v\d+(?:(?:alpha|beta)\d+)?(?:\.|$)", "", group)
    kind = resource_kinds().get(base)
    if group and group not in resource_groups():
        group = next(
            (known for known in sorted(resource_groups()) if known.startswith(f"{group}.")), group
        )
    if kind and kind not in ambiguous_kinds() and (not group or group in resource_groups()):
        return kind
    if group in ("networking.k8s.io", "extensions"):
        group = ""
    name = kind or _singular(base)
    name = resource_kinds().get(name, name)
    return f"{name}.{group}" if group else name


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    if re.search(r"(?:sses|shes|ches|xes|zes|nses)$", name):
        return name[:-2]
    return name[:-1] if re.search(r"[^s]s$", name) else name


def targets(call: Invocation) -> tuple[list[Target], list[Word]]:
    """The resources a kubectl command names, and the positionals that are something else."""
    words = list(call.positionals)
    wanted = call.verb.resource
    if not wanted or not words:
        return [], words
    first = words[0].text
    if words[0].parts[0].kind not in ("text", "bare"):
        return [], words
    if "/" in words[0].parts[0].text and not first.startswith(("/", ".", "http")):
        return _slashed(words)
    if wanted != "kind":
        return _implied(wanted, words)
    names = words[1:]
    rest: list[Word] = []
    if call.verb.path[0] in _ANNOTATING:
        cut = next((at for at, item in enumerate(names) if _is_pair(item.text)), len(names))
        names, rest = names[:cut], names[cut:]
    kind = kind_name(first) if "," not in first else _several(first)
    if not names:
        return [Target(kind)], rest
    return [Target(kind, item) for item in names], rest


def _several(kinds: str) -> str:
    return ",".join(sorted([kind_name(kind) for kind in kinds.split(",")]))


def _is_pair(text: str) -> bool:
    return "=" in text or (text.endswith("-") and len(text) > 1) or ":No" in text


def _slashed(words: list[Word]) -> tuple[list[Target], list[Word]]:
    found: list[Target] = []
    for at, item in enumerate(words):
        kind, slash, name = item.parts[0].text.partition("/")
        name = name or "".join(part.text for part in item.parts[1:])
        if not (slash and name) or "=" in kind or _is_pair(item.parts[0].text):
            return found, words[at:]
        found.append(Target(kind_name(kind), without_prefix(item, len(kind) + 1)))
    return found, []


def _implied(wanted: str, words: list[Word]) -> tuple[list[Target], list[Word]]:
    """`logs x` is a pod, `cordon x y` are nodes; `debug node x` still names its kind."""
    first = words[0].text
    if len(words) > 1 and first.lower() in resource_kinds() and first.lower() != "app":
        return [Target(kind_name(first), words[1])], words[2:]
    if wanted == "node":
        return [Target(wanted, item) for item in words], []
    return [Target(wanted, words[0])], words[1:]
