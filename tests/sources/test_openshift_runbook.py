"""All 245 alerts of a real runbook, against what its own regular layout says line by line.

The oracle below knows nothing of Markdown: `## ` is a section, `### Alert:` an alert, two bold
words are the roles, and what stands between ```` ```bash ```` and ```` ``` ```` are commands.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from opslore.cards import Document
from opslore.config_sources import RunbookSource
from opslore.sources import Collected
from opslore.sources.coverage import coverage
from opslore.sources.runbook import collect

NO_COMMAND = {
    533: "the head of a loop whose body the file does not have",
    1774: "the head of a loop without `do` and `done`",
    1776: "the head of a loop without `do` and `done`",
    2592: "breaks off inside a quoted JSON patch",
    2593: "breaks off inside a quoted JSON patch",
    2594: "breaks off inside a quoted JSON patch",
    2628: "breaks off inside a quoted JSON patch",
    2629: "breaks off inside a quoted JSON patch",
    2630: "breaks off inside a quoted JSON patch",
    2888: "breaks off inside `$(`",
    3288: "breaks off inside a quoted JSON patch",
    4004: "a here-document without its text",
    4324: "PromQL: a metric compared with a number",
    4660: "`get pods` without the program before it",
    5013: "PromQL: a metric compared with a number",
}
"""Lines of bash fences that are no whole command: line -> why."""

REMARKED = {
    2863: "ceph osd set noup",
    2864: "ceph osd set nodown",
    3170: "ceph osd df tree",
    3171: "ceph osd perf",
    5395: "oc logs <virt-launcher-pod> -n <namespace> -c istio-proxy",
}
"""Lines with a comment behind the command, which is kept as the command's comment."""

INLINE = {
    "OpenShiftUpdateRiskMightApply": [
        "OC_ENABLE_CMD_UPGRADE_ACCEPT_RISKS=true oc adm upgrade accept TO_BE_REPLACED"
    ],
}
"""The one command that stands back-ticked in a sentence (of a resolution) and not in a fence."""


@dataclass
class Expected:
    title: str
    section: str
    first: int
    last: int = 0
    bullets: int = 0
    lines: dict[str, list[str]] = field(
        default_factory=lambda: {"investigation": [], "resolution": []}
    )


def oracle(text: str) -> list[Expected]:
    found: list[Expected] = []
    section = role = ""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("## "):
            section = line[3:]
            continue
        elif not fenced and line.startswith("### Alert: "):
            found.append(Expected(line[11:], section, number))
        elif not fenced and line.startswith("**") and line.endswith(":**"):
            role = line.strip("*:").lower()
        elif fenced and found and line.strip() and not line.lstrip().startswith("#"):
            if number not in NO_COMMAND:
                found[-1].lines[role].append(REMARKED.get(number, line))
        elif found and role == "symptoms" and line.startswith("- "):
            found[-1].bullets += 1
        if found and line.strip() not in ("", "---"):
            found[-1].last = number
    return found


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "runbooks"


@pytest.fixture(scope="module")
def collected(folder: Path) -> Collected:
    return collect(RunbookSource(path="openshift-RUNBOOK.md"), folder)


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[Expected]:
    return oracle((folder / "openshift-RUNBOOK.md").read_text("utf-8"))


def test_every_alert_is_there_with_its_section_and_lines(
    collected: Collected, expected: list[Expected]
) -> None:
    assert len(expected) == 245
    assert [(d.title, d.section, d.span.first, d.span.last) for d in collected.documents] == [
        (e.title, e.section, e.first, e.last) for e in expected
    ]
    assert {d.span.file for d in collected.documents} == {"openshift-RUNBOOK.md"}


@pytest.mark.parametrize("role", ["investigation", "resolution"])
def test_every_alert_has_exactly_its_commands(
    collected: Collected, expected: list[Expected], role: str
) -> None:
    for document, wanted in zip(collected.documents, expected, strict=True):
        lines = [line for text in getattr(document, role) for line in text.split("\n")]
        inline = INLINE.get(document.title, []) if role == "resolution" else []
        assert lines == wanted.lines[role] + inline, document.title


def test_the_count_of_commands_is_the_known_one(collected: Collected) -> None:
    assert sum(len(document.commands) for document in collected.documents) == 836


def test_symptoms_are_one_line_per_bullet(collected: Collected, expected: list[Expected]) -> None:
    for document, wanted in zip(collected.documents, expected, strict=True):
        assert len(document.symptoms.split("\n")) == wanted.bullets, document.title


def test_a_command_stands_where_it_says(collected: Collected, folder: Path) -> None:
    lines = (folder / "openshift-RUNBOOK.md").read_text("utf-8").split("\n")
    for document in collected.documents:
        for command in document.commands:
            assert document.span.first < command.first <= command.last <= document.span.last
            assert command.text in "\n".join(lines[command.first - 1 : command.last])


def test_what_is_no_command_is_dropped_with_its_reason(collected: Collected) -> None:
    rows = {line for row in collected.dropped if row.span for line in _lines(row.span)}
    assert rows >= NO_COMMAND.keys()
    assert {row.reason for row in collected.dropped} == {
        "not a command",
        "cut off: a quote is never closed",
        "cut off: a parenthesis is never closed",
        "cut off: a here-document is never closed",
        "cut off: a loop is never closed",
    }


def _lines(span: object) -> range:
    return range(span.first, span.last + 1)  # type: ignore[attr-defined]


def test_comments_are_kept_beside_their_command(collected: Collected) -> None:
    by_line = {c.first: c for d in collected.documents for c in d.commands}
    assert by_line[2863].comment == "prevent OSDs from getting marked up"
    assert by_line[5395].comment == "if using Istio"
    assert by_line[43].comment == "Once all the pods are rescheduled, you can uncordon the node"


def test_a_multi_line_command_is_one(collected: Collected) -> None:
    by_line = {c.first: c for d in collected.documents for c in d.commands}
    assert by_line[91].last == 93
    assert by_line[91].text.count("\n") == 2


def test_coverage_of_the_runbook(collected: Collected) -> None:
    report = coverage(collected)
    assert (report.files, report.alerts, report.commands) == (1, 245, 836)
    assert report.with_resolution + report.only_investigation + report.without_commands == 245
    assert (report.with_resolution, report.only_investigation) == (72, 98)
    assert any("oc delete" in danger.command for danger in report.destructive)
    assert report.same_commands
    # Two alerts stand twice: once with their commands, once to say where they have moved.
    doubles = {"KubeAPIDown", "KubeAggregatedAPIErrors"}
    assert {group.what for group in report.duplicates} == doubles
    assert all(len(group.alerts) == 2 for group in report.duplicates)


def test_ids_are_stable_and_unique(collected: Collected, folder: Path) -> None:
    again = collect(RunbookSource(path="openshift-RUNBOOK.md"), folder)
    assert again == collected
    ids = [document.id for document in collected.documents]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 16 for one in ids)


def test_it_is_read_in_under_two_seconds(folder: Path) -> None:
    best = min(_timed(folder) for _ in range(3))
    assert best < 2.0


def _timed(folder: Path) -> float:
    start = time.perf_counter()
    collect(RunbookSource(path="openshift-RUNBOOK.md"), folder)
    return time.perf_counter() - start


def test_the_text_of_a_document_is_its_lines(collected: Collected, folder: Path) -> None:
    lines = (folder / "openshift-RUNBOOK.md").read_text("utf-8").split("\n")
    document: Document
    for document in collected.documents:
        span = document.span
        assert document.text == "\n".join(lines[span.first - 1 : span.last])
