"""The hand-written questions: each alert exists, and none repeats the runbook's own text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "agents" / "questions.jsonl"
OPENSHIFT = ROOT / "tests" / "data" / "questions" / "openshift.jsonl"
ATTACKS = ROOT / "src" / "opslore" / "dataset" / "data" / "attacks-people.jsonl"
HEADING = re.compile(r"^### Alert: (?P<name>\S+)\s*$", re.MULTILINE)
FIELDS = {"question", "alert", "labels", "why"}
COPIED = 12
"""Words in a row that may not stand in both; shorter runs are pasted error lines."""


def _questions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _wrong(question: dict[str, Any], names: set[str]) -> str:
    """What is wrong with one question, empty when nothing is."""
    if not FIELDS <= set(question) <= FIELDS | {"also"}:
        return "its fields"
    named = {question["alert"], *question.get("also", ())} - {None}
    if named - names:
        return f"the runbook has no {sorted(named - names)}"
    if question["alert"] is None and "also" in question:
        return "nothing can be right beside escalating"
    text = question["question"].lower()
    unread = [value for value in question["labels"].values() if value.lower() not in text]
    if unread:
        return f"nobody can read {unread} in it"
    return "" if question["question"].strip() and question["why"].strip() else "it is empty"


def _check(path: Path, runbook: Path, least: tuple[int, int, int]) -> None:
    """Every question stands for itself, and there are enough of them."""
    text = runbook.read_text("utf-8")
    names = {match["name"] for match in HEADING.finditer(text)}
    questions = _questions(path)
    wrong = {row["question"]: said for row in questions if (said := _wrong(row, names))}
    assert wrong == {}
    folded = [" ".join(_words(row["question"])) or row["question"] for row in questions]
    assert len(folded) == len(set(folded)), "a question is there twice"

    known = [row for row in questions if row["alert"]]
    counts = (len(known), len({row["alert"] for row in known}), len(questions) - len(known))
    assert all(one >= other for one, other in zip(counts, least, strict=True)), counts
    naming = [
        row for row in known if any(name.lower() in row["question"].lower() for name in names)
    ]
    assert len(naming) <= len(known) / 5, "too many name the alert"

    written = _words(text)
    runs = {tuple(written[at : at + COPIED]) for at in range(len(written) - COPIED + 1)}
    copied = [
        row["question"]
        for row in questions
        if (said := _words(row["question"]))
        and any(tuple(said[at : at + COPIED]) in runs for at in range(len(said) - COPIED + 1))
    ]
    assert copied == []


def test_the_questions_of_the_example() -> None:
    _check(EXAMPLE, ROOT / "agents" / "RUNBOOK.md", (120, 80, 40))


def test_the_questions_of_the_openshift_runbook(shared_data: Path) -> None:
    _check(OPENSHIFT, shared_data / "runbooks" / "openshift-RUNBOOK.md", (100, 70, 20))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"alert": "NoSuchAlert"}, "the runbook has no"),
        ({"labels": {"pod": "never-said-0"}}, "nobody can read"),
        ({"alert": None, "also": ["TraefikDown"]}, "nothing can be right"),
        ({"prompt": "x"}, "its fields"),
        ({"why": " "}, "it is empty"),
    ],
)
def test_a_bad_question_is_seen(change: dict[str, Any], said: str) -> None:
    question = _questions(EXAMPLE)[0]
    assert _wrong(question, {question["alert"], "TraefikDown"}) == ""
    assert said in _wrong(question | change, {question["alert"], "TraefikDown"})


def test_the_attacks_written_by_hand() -> None:
    rows = _questions(ATTACKS)
    assert len(rows) >= 60
    assert all(set(row) == {"question", "why", "asks"} for row in rows)
    assert all(row[field].strip() for row in rows for field in row)
    assert len({row["question"].casefold() for row in rows}) == len(rows)
    # Whoever fills the places in replaces the words: other braces are part of an attack.
    places = {place for row in rows for place in re.findall(r"\{(\w+)\}", row["question"])}
    assert places == {"alert", "other"}
