"""The detectors of personal data: e-mail, IP addresses and telephone numbers.

Left as they are, since nobody is found by them: addresses of documentation, loopback, private and
reserved ranges and the well-known resolvers, e-mail of example domains, `git@host:` and units
such as `user@1000.service`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache

from opslore.dataset.secrets import Detector, Span

_EMAIL = re.compile(
    r"(?<![\w.+/=-])(?P<who>[A-Za-z0-9][A-Za-z0-9._%+-]{0,63})@"
    r"(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24})(?![\w@])"
)
_NO_HOST = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|org|net))?|invalid|test|local|localhost|internal|svc|lan"
    r"|service|socket|mount|timer|target|slice|scope|device|path|swap|png|jpe?g|gif|svg|webp|md|yaml"
    r"|yml|json|js|ts|go|rs|py|sh|tgz|gz|zip|whl|jar)$",
    re.I,
)
_USERINFO = re.compile(r"://[^\s/@]*:$")
_NO_WHO = frozenset({"git", "hg", "svn"})

_V4 = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}")
_V4_BEFORE = re.compile(r"[\w.:-]$|(?<!/)/$")
_V4_BEHIND = re.compile(r"[\w-]|\.\d")
_VERSION = re.compile(
    r"(?:\bv(?:er(?:sion)?s?)?\.?|release|tag|chart|build|schema)[\s:=\"'`]*$"
    r"|[<>~]=\s*$|(?<!addr)(?<!src)(?<!dst)(?<!host)(?<!ip)(?<! )==$|\bv\d+ to $",
    re.I,
)
_V6 = re.compile(r"[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])")
_RESOLVERS = frozenset({
    *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"),
    *("2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "1.2.3.4", "4.3.2.1"),
    *("2606:4700:4700::1001", "2620:fe::fe", "5.6.7.8"),
})  # fmt: skip
_DOCUMENTS = tuple(
    ipaddress.ip_network(name)
    for name in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)

_PHONE = re.compile(
    r"(?<![\w+./:=-])(?:"
    r"\+[1-9]\d{0,2}[ .-]?\(?\d{1,5}\)?(?:[ .-]\d{2,8}){1,4}"
    r"|\+[1-9]\d{0,2}[ .-]\d{6,12}"
    r"|\(\d{3}\) ?\d{3}[-. ]\d{4}|[2-9]\d{2}-[2-9]\d{2}-\d{4}"
    r")(?![\w-]|\.\d)"
)
# Patterns that begin with a plain sign are searched many times faster than their union.
_PHONE_BEGINS = tuple(
    map(re.compile, (r"\+[1-9]\d{0,3}[ .(-]", r"\(\d{3}\)", r"\d{3}-\d{3}-\d{4}"))
)
_CALL = re.compile(
    r"\b(?:tel|phone|mobile|call|fax|whatsapp|telefon|handy)\b[ .:#]*"
    r"(?P<number>\+?\(?\d[\d ().-]{7,18}\d)",
    re.I,
)


def detectors() -> tuple[Detector, ...]:
    """Every detector of personal data."""
    call = ("tel", "phone", "mobile", "call", "fax", "whatsapp", "handy")
    return (
        Detector("e-mail", "EMAIL", ("@",), _emails),
        Detector("IPv4", "IP", (), _v4),
        Detector("IPv6", "IP", (), _v6),
        Detector("telephone", "PHONE", (), _phones),
        Detector("telephone by name", "PHONE", call, _calls, folded=True),
    )


def _emails(line: str) -> Iterator[Span]:
    for found in _EMAIL.finditer(line):
        before = line[: found.start()]
        remote = line[found.end() : found.end() + 1] == ":" or before.endswith("://")
        if _NO_HOST.search(found["host"]) or (found["who"] in _NO_WHO and remote):
            continue
        if _USERINFO.search(before):
            continue  # scheme://user:password@host
        yield found.span()


def _v4(text: str) -> Iterator[Span]:
    for found in _V4.finditer(text):
        if not _names_somebody(found.group()) or _V4_BEHIND.match(text, found.end()):
            continue
        before = text[max(0, found.start() - 16) : found.start()]
        if not _V4_BEFORE.search(before) and not _VERSION.search(before):
            yield found.span()


def _v6(text: str) -> Iterator[Span]:
    for found in _V6.finditer(text):
        before = text[found.start() - 1 : found.start()] if found.start() else " "
        part = before in ":._" or before.isalnum()
        if not part and _names_somebody(found.group()):
            yield found.span()


@lru_cache(maxsize=50_000)
def _names_somebody(text: str) -> bool:
    """Whether an address is one of the public internet."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    known = text.lower() in _RESOLVERS or any(address in network for network in _DOCUMENTS)
    return address.is_global and not address.is_multicast and not known


def _phones(text: str) -> Iterator[Span]:
    for begins in _PHONE_BEGINS:
        for begin in begins.finditer(text):
            found = _PHONE.match(text, begin.start())
            if found and 9 <= sum(c.isdigit() for c in found.group()) <= 15:
                yield found.span()


def _calls(line: str) -> Iterator[Span]:
    for found in _CALL.finditer(line):
        if 9 <= sum(c.isdigit() for c in found["number"]) <= 15:
            yield found.span("number")
