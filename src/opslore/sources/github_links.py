"""Addresses that GitHub's answers name: Link headers, and which server an address belongs to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LINK = re.compile(r'<([^<>]*)>\s*((?:;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s",;]+)\s*)*)')
_REL = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)


def links(header: str) -> dict[str, str]:
    """The addresses of a Link header by their relation (RFC 8288)."""
    found: dict[str, str] = {}
    for address, parameters in _LINK.findall(header):
        relation = _REL.search(parameters)
        for name in relation[1].lower().split() if relation else ():
            found.setdefault(name, address)
    return found


def page_number(url: str) -> int:
    """The number of a page, for progress only; 0 when its address has none."""
    found = re.search(r"[?&]page=(\d{1,9})(?:&|$)", url)
    return int(found[1]) if found else 0


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: who gets the token."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return "", "", 0
    return parts.scheme, (parts.hostname or "").lower(), port


def host(url: str) -> str:
    """A server's address without what is asked there."""
    scheme, name, port = origin(url)
    return f"{scheme}://{name}:{port}"
