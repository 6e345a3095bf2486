"""What a command's hole can hold: a machine, an amount, a number, a value of a form, a name.

The command says it: the first word after `ssh` and the value of `--host` are machines, whatever the
hole is called; `<seconds>` takes an amount and never a name; `<region>` has a form of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from opslore import labels
from opslore.commands import Hole
from opslore.commands.tables import hole_tables, read_table, vocabulary

Class = Literal["machine", "amount", "number", "form", "name", "kubernetes"]

_MACHINE_PLACE = re.compile(
    r"(?:\b(?:ssh|ping|mosh|telnet)\s+(?:-[46AnqTtvx]+\s+|-[lip]\s+\S+\s+)*(?:[\w.-]+@)?"
    r"|(?:^|\s)(?:-h|-H|-l|--host|--hostname|--server|--limit|--target-host)[ =]['\"]?"
    r"|https?://|(?:^|[\s'\"])(?:root|admin|ops)?@|\s(?=<[^<>]+>:/))$"
)
_NO_MACHINE = re.compile(r"(?:systemctl\s[^|;&]*|\blogger[^|;&]*)$")

_TLD = (
    r"(?!(?:sh|py|log|conf|cfg|cnf|service|timer|socket|json|ya?ml|txt|gz|sql|md|ini|pem|crt|key)$)"
)
_DOMAIN = re.compile(rf"(?:[a-z0-9_](?:[\w-]*[a-z0-9])?\.)+{_TLD}[a-z]{{2,}}", re.IGNORECASE)
_CLOUD_REGION = r"(?:[a-z]{2,}(?:-gov)?-)(?:(?:north|south|east|west|central)+)-?\d"
_REGION = re.compile(_CLOUD_REGION)
_ZONE = re.compile(rf"{_CLOUD_REGION}-?[a-f]")
_SUBNET = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}/\d{1,2}")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|(?=.*::?.*:)[0-9a-f:]{4,39}", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}", re.IGNORECASE)
_URL = re.compile(r"https?://[\w.:/@-]*[\w/]")
_PATH = re.compile(r"/[\w.@-]+(?:/[\w.@-]+)*/?")
_VERSION = re.compile(r"v?\d+(?:\.\d+)+(?:[-+.]\w+)*|v?\d+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
_CLASS = re.compile(
    r"(?:[a-z]+\.)?[a-z]\w*\.(?:\d*x?large|medium|small|micro|nano)|[a-z]\d[a-z]?-[a-z]+-\d+"
)
_PORT = re.compile(r"(?:[A-Z][A-Za-z]{1,18}|[gxe][et]-)?\d+(?:/\d+){1,3}")
_ACCESS_KEY = re.compile(r"A[KS]IA[A-Z0-9]{4,}")

_FORMS: Mapping[str, re.Pattern[str]] = {
    "region": _REGION,
    "zone": _DOMAIN,
    "domain": _DOMAIN,
    "fqdn": _DOMAIN,
    "url": _URL,
    "subnet": _SUBNET,
    "cidr": _SUBNET,
    "ip": _IP,
    "address": _IP,
    "email": _EMAIL,
    "sender": _EMAIL,
    "recipient": _EMAIL,
    "path": _PATH,
    "directory": _PATH,
    "dir": _PATH,
    "folder": _PATH,
    "version": _VERSION,
    "start": _DATE,
    "end": _DATE,
    "date": _DATE,
    "mac": _MAC,
    "class": _CLASS,
}
"""Last words of holes' names whose values have a form that nothing else has."""

_OURS = frozenset(
    [
        "host",
        "instance",
        "database",
        "service",
        "container",
        "job_name",
        "deployment",
        "certificate",
    ]
)
"""Kinds that the tables of Kubernetes' labels know too, and other systems as much."""


@dataclass(frozen=True)
class Holding:
    """A hole, and what it can hold."""

    hole: Hole
    sort: Class
    words: tuple[str, ...]
    """The words of its name."""
    nouns: frozenset[str]
    """What people call such a thing."""
    form: re.Pattern[str] | None = None
    before: str = ""
    """The text that is written against it, as in `kafka-consumer@<group>`."""
    behind: str = ""

    def takes(self, value: str) -> bool:
        """Whether a value that stands in the question can be this hole's at all."""
        if self.sort == "amount":
            return bool(re.fullmatch(r"\d+(?:\.\d+)?[A-Za-z%]{0,3}", value))
        if self.sort == "number":
            return value.isdigit()
        if self.form:
            return bool(self.form.fullmatch(value))
        if self.sort == "machine":
            return not value.isdigit() and value.lower() not in plain_words()
        return True


def holdings(command: str, holes: list[Hole]) -> list[Holding]:
    """What each hole of a command can hold, one for each identity."""
    return [_holding(command, hole) for hole in {h.identity: h for h in reversed(holes)}.values()]


def _holding(command: str, hole: Hole) -> Holding:
    name = tuple(re.findall(r"[a-z]+", hole.text.lower())) or ("value",)
    before, behind = command[: hole.start], command[hole.end :]
    sort, form = _sort(name, hole, before, behind)
    against = re.search(r"[\w./:-]*[@/=.-]$", before)
    after = re.match(r"[-.@][\w-]+", behind)
    nouns = _nouns(name, hole)
    if sort == "machine":
        nouns |= _nouns_for("machine") | vocabulary("spoken", "machines")
    return Holding(
        hole, sort, name, nouns, form, against[0] if against else "", after[0] if after else ""
    )


def _sort(
    name: tuple[str, ...], hole: Hole, before: str, behind: str
) -> tuple[Class, re.Pattern[str] | None]:
    words = set(name)
    if words & vocabulary("spoken", "amounts") and name[-1] not in ("name", "id"):
        return "amount", None
    if "port" in words and re.search(r"switch|interface|swport", before + behind):
        return "form", _PORT
    if words & vocabulary("spoken", "numbers"):
        return "number", None
    machine = _MACHINE_PLACE.search(before) and not re.match(r"\.[a-z]", behind)
    if not machine and _in_kubernetes(hole, before):
        return "kubernetes", None
    form = _form(name, before)
    if machine and (form is None or form is _IP):
        return "machine", None
    if form:
        return "form", form
    by_name = name[-1] in vocabulary("spoken", "machines") or hole.kinds[0] in ("host", "instance")
    return ("machine" if by_name and not _NO_MACHINE.search(before) else "name"), None


def _form(name: tuple[str, ...], before: str) -> re.Pattern[str] | None:
    if name[-1] == "zone" and re.search(r"\b(?:gcloud|aws|az)\b|-zone[ =]", before):
        return _ZONE
    if name[-1] == "key" and re.search(r"--access-key-id[ =]$", before):
        return _ACCESS_KEY
    if name[-1] == "address" and re.search(r"mail|postfix|postsuper|exim|doveadm|sender", before):
        return _EMAIL
    return _FORMS.get(name[-1])


def _in_kubernetes(hole: Hole, before: str) -> bool:
    """Whether a name by its place and form is what `placing` reads."""
    kind = hole.kinds[0]
    tables = hole_tables()
    if kind in _OURS and not (_CLUSTER_TOOL.search(before) and kind not in ("host", "instance")):
        return False
    return kind in tables.kind_of.values() or kind in tables.generic or kind == "model"


_CLUSTER_TOOL = re.compile(r"\b(?:kubectl|oc|helm|flux|velero|linkerd|cmctl|istioctl|virtctl)\s")


def _nouns(name: tuple[str, ...], hole: Hole) -> frozenset[str]:
    own = {" ".join(name), hole.kinds[0].replace("_", " ")}
    return frozenset(own).union(*(_nouns_for(kind) for kind in {*own, name[-1], *hole.kinds}))


@cache
def _nouns_for(kind: str) -> frozenset[str]:
    said: str = _table()["nouns"].get(kind, "")
    spoken = labels.spoken(kind) if kind in hole_tables().kind_of.values() else set()
    return frozenset(word.replace("_", " ") for word in said.split()) | spoken


@cache
def all_nouns() -> frozenset[str]:
    """Every word for a thing that has a name."""
    tables = hole_tables()
    out = {noun for kind in _table()["nouns"] for noun in _nouns_for(kind)}
    return frozenset(
        out
        | set(tables.kind_of)
        | vocabulary("spoken", "machines")
        | vocabulary("spoken", "numbers")
    ) - {"no", "po", "name", "names"}


@cache
def plain_words() -> frozenset[str]:
    """Words that are no name of anything unless they stand in quotes."""
    return vocabulary("spoken", "plain") | labels.STOP


@cache
def foreign_words() -> frozenset[str]:
    """Small words of other languages, that name nothing either."""
    return vocabulary("spoken", "foreign")


@cache
def units() -> Mapping[str, frozenset[str]]:
    """The spellings of each unit."""
    return {unit: frozenset(said.split()) for unit, said in _table()["units"].items()}


def unit_of(holding: Holding) -> str:
    """The unit an amount is given in; "any" where its spelling is free, "" where it has none."""
    given: Mapping[str, str] = _table()["unit_of"]
    return next((given[word] for word in reversed(holding.words) if word in given), "")


@cache
def _table() -> dict[str, Any]:
    return read_table("spoken")
