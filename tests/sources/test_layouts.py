"""The ways in which people lay out a runbook; each is read as the same alerts."""

# ruff: noqa: E501, RUF001 (a file's text is easier to read on one line)

from __future__ import annotations

from pathlib import Path

import pytest

from opslore.cards import Document
from opslore.config_sources import RunbookSource
from opslore.sources import Collected
from opslore.sources.runbook import collect


def read(folder: Path, text: str, name: str = "RUNBOOK.md", **more: object) -> Collected:
    (folder / name).write_text(text, "utf-8")
    return collect(RunbookSource(path=name, **more), folder)  # type: ignore[arg-type]


def one(folder: Path, text: str, **more: object) -> Document:
    documents = read(folder, text, **more).documents
    assert len(documents) == 1, [document.title for document in documents]
    return documents[0]


LAYOUTS = {
    "bold below ### Alert:": (
        "# Book\n\n## nodes\n\n### Alert: DiskFull\n\n**Symptoms:**\n- `df` says 100 %.\n\n"
        "**Investigation:**\n```bash\ndf -h\n```\n\n**Resolution:**\n```bash\njournalctl --vacuum-size=1G\n```\n"
    ),
    "bold below ###": (
        "# Book\n\n## nodes\n\n### DiskFull\n\n**Symptoms:** `df` says 100 %.\n\n"
        "**Investigation**\n```sh\ndf -h\n```\n\n**Fix:**\n```sh\njournalctl --vacuum-size=1G\n```\n"
    ),
    "headings below headings": (
        "# Book\n\n## nodes\n\n### DiskFull\n\n#### Symptoms\n\n`df` says 100 %.\n\n"
        "#### Diagnosis steps\n\n    df -h\n\n#### How to fix\n\n~~~shell\njournalctl --vacuum-size=1G\n~~~\n"
    ),
    "setext headings": (
        "Book\n====\n\nnodes\n-----\n\n### DiskFull\n\n#### Meaning\n`df` says 100 %.\n\n"
        "#### Troubleshooting\n```console\n$ df -h\nFilesystem Size\n/dev/sda1  100G\n```\n\n"
        "#### Remediation\n```console\n# journalctl --vacuum-size=1G\n```\n"
    ),
    "fields at the level of the alert": (
        "# Book\n\n# nodes\n\n## DiskFull\n\n## Symptoms\n`df` says 100 %.\n\n## Investigation\n"
        "```\ndf -h\n```\n\n## Resolution\n```\njournalctl --vacuum-size=1G\n```\n\n"
        "## Other\n\n## Symptoms\nNothing.\n\n## Resolution\nWait.\n"
    ),
    "list items": (
        "# Book\n\n## nodes\n\n### DiskFull\n\n- **Symptoms:** `df` says 100 %.\n"
        "- **Investigation:** run `df -h` on the node\n- **Resolution:**\n\n"
        "  ```bash\n  journalctl --vacuum-size=1G\n  ```\n"
    ),
    "plain words": (
        "# Book\n\n## nodes\n\n### DiskFull\n\nSymptoms: `df` says 100 %.\n\nInvestigation: `df -h`\n\n"
        "Resolution: `journalctl --vacuum-size=1G`\n"
    ),
    "labels on lines of one paragraph": (
        "# Book\n\n## nodes\n\n### DiskFull\n\n**Symptoms:** `df` says 100 %.\n"
        "**Investigation:** `df -h`\n**Resolution:** `journalctl --vacuum-size=1G`\n"
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(tmp_path: Path, name: str) -> None:
    alert = read(tmp_path, LAYOUTS[name]).documents[0]
    assert alert.title == "DiskFull"
    assert alert.section == "nodes"
    assert alert.symptoms == "df says 100 %."
    assert alert.investigation == ["df -h"]
    assert alert.resolution == ["journalctl --vacuum-size=1G"]


def test_a_page_per_alert(tmp_path: Path) -> None:
    book = tmp_path / "book"
    (book / "nodes" / "deep").mkdir(parents=True)
    page = (
        "---\ntitle: Disk Full\nseverity: Critical\n---\n\n# DiskFull\n\n## Meaning\nFull.\n\n"
        "## Impact\n- Pods are evicted.\n- Logs are lost.\n\n## Diagnosis\n### Look\n```\n$ df -h\n```\n"
        "## Mitigation\nFree space with `journalctl --vacuum-size=1G`, see `man journald`.\n"
    )
    (book / "nodes" / "DiskFull.md").write_text(page)
    (book / "nodes" / "deep" / "Other.markdown").write_text("# Other\n\n## Fix\nCall us.\n")
    (book / "nodes" / "_index.md").write_text("---\ntitle: nodes\n---\n")
    (book / "README.md").write_text("# Our runbooks\n\nHow we write them.\n")
    (book / "logo.png").write_bytes(b"\x89PNG")
    found = collect(RunbookSource(path="book"), tmp_path)
    alert, other = found.documents
    assert (alert.title, alert.section, alert.severity) == ("DiskFull", "nodes", "critical")
    assert alert.symptoms == "Full.\nPods are evicted.\nLogs are lost."
    assert [(c.text, c.first, c.comment) for c in alert.commands] == [
        ("df -h", 18, "Look"),
        ("journalctl --vacuum-size=1G", 21, "Free space with , see"),
    ]
    assert (alert.span.file, alert.span.first, alert.span.last) == ("book/nodes/DiskFull.md", 6, 21)
    assert (other.title, other.section, other.commands) == ("Other", "deep", [])
    assert {(row.what, row.reason) for row in found.dropped} == {
        ("book/logo.png", "not a Markdown file (.md, .markdown)"),
        (
            "book/README.md",
            "no alert: no heading has a field such as Symptoms, Diagnosis or Resolution below it",
        ),
        ("book/nodes/_index.md", "nothing but front matter or comments"),
    }


def test_a_page_that_only_points_elsewhere_yields_to_the_alert(tmp_path: Path) -> None:
    book = tmp_path / "book"
    (book / "old").mkdir(parents=True)
    (book / "DiskFull.md").write_text("# DiskFull\n\n## Fix\n```\ndf -h\n```\n")
    (book / "old" / "DiskFull.md").write_text("# DiskFull\n\nMoved to [there](../DiskFull.md).\n")
    (book / "Gone.md").write_text("# Gone\n\nSee [DiskFull](DiskFull.md).\n")
    found = collect(RunbookSource(path="book"), tmp_path)
    assert [document.span.file for document in found.documents] == [
        "book/DiskFull.md",
        "book/Gone.md",
    ]
    assert [row.reason for row in found.dropped] == [
        "only points to another page, and an alert of that name was read"
    ]


def test_other_languages_are_configured(tmp_path: Path) -> None:
    text = "# Handbuch\n\n## Alarm: PlatteVoll\n\n**Anzeichen:** voll\n\n**Abhilfe:**\n```\ndf -h\n```\n"
    alert = one(
        tmp_path,
        text,
        titles=["Alarm"],
        fields={"symptoms": ["Anzeichen"], "resolution": ["Abhilfe"]},
    )
    assert (alert.title, alert.symptoms, alert.resolution) == ("PlatteVoll", "voll", ["df -h"])


def test_chinese_headings(tmp_path: Path) -> None:
    text = "# 手册\n\n## 节点\n\n### 告警：磁盘已满\n\n**症状：**\n- 磁盘使用率 100%\n\n**解决方案：**\n```bash\ndf -h\n```\n"
    alert = one(tmp_path, text)
    assert (alert.title, alert.section) == ("磁盘已满", "节点")
    assert (alert.symptoms, alert.resolution) == ("磁盘使用率 100%", ["df -h"])


def test_severity_in_each_place(tmp_path: Path) -> None:
    for text in (
        "### A\n**Severity:** Critical\n\n**Fix:** wait\n",
        "### A\n**Symptoms:**\n- **Severity:** Critical **Impact:** high\n\n**Fix:** wait\n",
        "# A\n## Severity\nCritical\n## Fix\nwait\n",
        "---\nseverity: critical\n---\n# A\n## Fix\nwait\n",
    ):
        assert one(tmp_path, text).severity == "critical", text


def test_a_heading_without_fields_is_a_section(tmp_path: Path) -> None:
    text = (
        "# Recovery\n\n## Troubleshooting\n\nGeneral words.\n\n### DiskFull\n**Symptoms:** x\n\n"
        "**Fix:** `df -h`\n\n## Fixes\n\n### NodeDown\n**Symptoms:** y\n\n**Fix:** call\n"
    )
    documents = read(tmp_path, text).documents
    assert [(d.title, d.section) for d in documents] == [
        ("DiskFull", "Troubleshooting"),
        ("NodeDown", "Fixes"),
    ]


def test_labels_inside_a_field_do_not_make_an_alert(tmp_path: Path) -> None:
    text = (
        "# X\n\n## Meaning\nm\n\n## Diagnosis\n\n### Check etcd\n**Steps:** `etcdctl endpoint health`\n\n"
        "## Mitigation\n\n### Option A\n**Symptoms:** slow\n\n**Fix:**\n```\netcdctl defrag\n```\n"
    )
    alert = one(tmp_path, text)
    assert alert.investigation == ["etcdctl endpoint health"]
    assert alert.resolution == ["etcdctl defrag"]


def test_commands_under_a_heading_that_is_no_field_are_dropped_and_told(tmp_path: Path) -> None:
    text = "# X\n\n## Fix\n```\ndf -h\n```\n\n## Prevention\n```\nkubectl delete ns prod\n```\n"
    found = read(tmp_path, text)
    assert found.documents[0].resolution == ["df -h"]
    assert [(row.reason, row.span and row.span.first) for row in found.dropped] == [
        ("under 'Prevention', which is no field of an alert", 10)
    ]


def test_code_right_below_the_title_is_the_resolution_when_there_is_no_other(
    tmp_path: Path,
) -> None:
    assert one(tmp_path, "### Alert: X\n```\ndf -h\n```\n").resolution == ["df -h"]
    alert = one(tmp_path, "### Alert: X\n```\ndf -h\n```\n**Fix:**\n```\nls -l\n```\n")
    assert (alert.investigation, alert.resolution) == (["df -h"], ["ls -l"])


def test_a_fence_among_the_symptoms_is_to_look(tmp_path: Path) -> None:
    alert = one(tmp_path, "# X\n## Meaning\n`df -i` is high\n```\ndf -h\n```\n## Fix\nwait\n")
    assert (alert.investigation, alert.resolution) == (["df -h"], [])


def test_the_same_name_twice_is_two_alerts(tmp_path: Path) -> None:
    half = "### Alert: A\n**Fix:** `df -h`\n\n"
    first, second = read(tmp_path, half * 2).documents
    assert (first.title, second.title) == ("A", "A")
    assert first.id != second.id
    assert second.span.first == 4


def test_html_comments_hide_alerts(tmp_path: Path) -> None:
    text = "<!--\n### Alert: Old\n**Fix:** `rm -rf /x`\n-->\n### Alert: New\n**Fix:** `df -h`\n"
    alert = one(tmp_path, text)
    assert (alert.title, alert.span.first, alert.commands[0].first) == ("New", 5, 6)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_are_the_files_own(tmp_path: Path, end: str, codec: str) -> None:
    text = "---\na: b\n---\n### Alert: É\n**Fix:**\n\n```\ndf -h\n```\n\n---\n\n## End\n".replace(
        "\n", end
    )
    (tmp_path / "R.md").write_bytes(text.encode(codec))
    found = collect(RunbookSource(path="R.md"), tmp_path)
    alert = found.documents[0]
    assert (alert.title, alert.span.first, alert.span.last) == ("É", 4, 9)
    assert alert.commands[0].first == 8
    assert found.dropped == []


def test_an_absolute_path_and_a_path_outside_the_root(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "team").mkdir(parents=True)
    (tmp_path / "out" / "team" / "R.md").write_text("### Alert: A\n**Fix:** `df -h`\n")
    for path in (str(tmp_path / "out"), "../out"):
        found = collect(RunbookSource(path=path), tmp_path / "in")
        assert found.documents[0].span.file in ("out/team/R.md", "../out/team/R.md")
    found = collect(RunbookSource(path=str(tmp_path / "out" / "team" / "R.md")), tmp_path / "in")
    assert found.documents[0].span.file == "R.md"
