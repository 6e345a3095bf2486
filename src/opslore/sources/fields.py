"""The names under which runbooks write an alert's symptoms, investigation, resolution, severity."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, cast

Key = Literal["symptoms", "investigation", "resolution", "severity"]

_NAMES: dict[Key, str] = {
    "symptoms": """symptom symptoms meaning impact summary description overview cause causes
        root_cause root_causes background context what_it_means what_does_it_mean what_happened
        why_it_fires trigger triggers trigger_condition effect effects consequence consequences
        signs problem problem_description details explanation alert_description alert_details
        alert_summary alert_meaning alert_impact 症状 现象 影响 含义""",
    "investigation": """investigation investigate investigating diagnosis diagnose diagnosing
        diagnostic diagnostics troubleshooting troubleshoot debugging debug triage triaging check
        checks analysis analyse analyze inspection verification verify what_to_check
        where_to_look 诊断 排查 调查 检查""",
    "resolution": """resolution resolutions resolve resolving mitigation mitigations mitigate
        mitigating remediation remediate remedy fix fixes fixing repair solution solutions solve
        recovery recover action actions response workaround workarounds steps runbook playbook
        what_to_do 解决 解决方案 解决方法 处理 处理方法 修复 缓解 恢复""",
    "severity": "severity priority alert_level 严重程度 严重性 级别 优先级",
}
_EMPTY_WORDS = """a an the this that of for to and or how your it section guide guidance note notes
    recommended suggested immediate initial manual possible potential common quick further
    additional detailed basic general step steps procedure procedures instructions"""
_FILLERS = frozenset(_EMPTY_WORDS.split())
_ALERT = ("alert", "告警", "警报")
_DECORATION = re.compile(r"^[\W\d_]+|[\W_]+$")
_ENUMERATION = re.compile(r"^(?:\d+(?:\.\d+)*[.)]|\d+\s+-)\s+")
_ANCHOR = re.compile(r"\s*\{#[^}]*\}\s*$")
_JOINTS = re.compile(r"\s+(?:and|und|et|y|or)\s+|\s*[/&+,]\s*")


class Fields:
    """Reads the name of a field, with the words that the agent file adds."""

    def __init__(self, more: Mapping[str, Sequence[str]], titles: Sequence[str]) -> None:
        self._keys: dict[str, Key] = dict(_defaults())
        for key, names in more.items():
            self._keys |= {_normal(name): cast(Key, key) for name in names}
        words = "|".join(re.escape(word) for word in sorted({*_ALERT, *titles}, key=len)[::-1])
        self._title = re.compile(rf"(?:{words})\s*(?:[:\uff1a]|\s[-\u2013\u2014]\s)\s*(?=\S)", re.I)
        self._seen: dict[str, Key | None] = {}

    def key(self, name: str) -> Key | None:
        """The field that a heading names, also as `Mitigation steps` or `Diagnosis and fix`."""
        if name not in self._seen:
            self._seen[name] = self._loose(name)
        return self._seen[name]

    def exact(self, name: str) -> Key | None:
        """The field that these very words name."""
        return self._keys.get(_normal(name))

    def _loose(self, name: str) -> Key | None:
        if len(name) > 60:
            return None
        found = self.exact(name)
        if found:
            return found
        for part in _JOINTS.split(name):
            words = [word for word in _normal(part).split() if word not in _FILLERS]
            key = self._keys.get(" ".join(words))
            if key:
                return key
        return None

    def title(self, text: str) -> tuple[str, bool]:
        """An alert's name without `Alert:`, numbering and anchors; True if the word was there."""
        name = _ENUMERATION.sub("", _ANCHOR.sub("", " ".join(text.split())))
        found = self._title.match(name)
        return (name[found.end() :] if found else name).strip(" *_`"), bool(found)


@cache
def _defaults() -> dict[str, Key]:
    return {name.replace("_", " "): key for key, names in _NAMES.items() for name in names.split()}


def _normal(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(_DECORATION.sub("", folded).replace("-", " ").split())
