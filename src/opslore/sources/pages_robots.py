"""robots.txt as RFC 9309 has it: the rules for us, the longest one that fits wins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

AGENT = "opslore"
MAX_CHARACTERS = 500 << 10
LONGEST_DELAY = 10.0
"""Seconds; a site that asks for longer pauses gets these."""


@dataclass
class Robots:
    """What a site allows."""

    rules: list[tuple[bool, str]] = field(default_factory=list)
    """Whether it allows, and the pattern."""
    delay: float = 0.0
    sitemaps: list[str] = field(default_factory=list)

    def allows(self, path: str) -> bool:
        """Whether an address's path with its query may be read."""
        path = unquote(path or "/")
        fitting = [(len(rule), allow) for allow, rule in self.rules if _pattern(rule).match(path)]
        return max(fitting)[1] if fitting else True


def parse(text: str) -> Robots:
    """Read a robots.txt; lines that make no sense are passed over."""
    groups: dict[str, list[tuple[str, str]]] = {}
    sitemaps: list[str] = []
    agents: list[str] = []
    begun = False
    for line in text[:MAX_CHARACTERS].splitlines():
        key, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        key = key.lower()
        if key == "user-agent":
            agents = [] if begun else agents
            begun = False
            agents.append(value.lower())
            groups.setdefault(value.lower(), [])
        elif key in ("allow", "disallow", "crawl-delay"):
            begun = True
            for agent in agents:
                groups[agent].append((key, value))
        elif key == "sitemap" and value:
            sitemaps.append(value)
    ours = groups.get(AGENT, groups.get("*", []))
    rules = [(key == "allow", value) for key, value in ours if value and key != "crawl-delay"]
    delays = [value for key, value in ours if key == "crawl-delay"]
    wait = next(
        (float(value) for value in delays if re.fullmatch(r"\d{1,4}(?:\.\d+)?", value)), 0.0
    )
    return Robots(rules, min(wait, LONGEST_DELAY), sitemaps)


def _pattern(rule: str) -> re.Pattern[str]:
    ends = rule.endswith("$")
    parts = [re.escape(part) for part in re.split(r"\*+", unquote(rule.removesuffix("$")))]
    return re.compile(".*?".join(parts) + ("$" if ends else ""), re.DOTALL)
