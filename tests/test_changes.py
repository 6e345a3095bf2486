"""What changed between two readings of a runbook, and what of it a model has to hear of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flow_world import runbook

from opslore import changes
from opslore.cards import Document
from opslore.changes import Change, Changes, Reading
from opslore.config_sources import CorrectionsSource, DocsSource, RunbookSource
from opslore.sources import gather

TEXT = runbook()


def read(folder: Path, text: str, *more: object, prose: bool = False) -> Reading:
    (folder / "RUNBOOK.md").write_text(text)
    sources = [RunbookSource(path="RUNBOOK.md"), *more]
    return Reading.of(gather.collect(sources, folder, folder / "keep").rows(), prose)  # type: ignore[arg-type]


@pytest.fixture
def before(tmp_path: Path) -> Reading:
    return read(tmp_path, TEXT)


def only(found: Changes) -> Change:
    (one,) = found.alerts
    return one


def test_the_same_words_are_no_change(before: Reading, tmp_path: Path) -> None:
    found = changes.compare(before, read(tmp_path, TEXT))
    assert (found.alerts, found.passed, found.matters) == ([], {}, False)


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("### Alert: NodeDiskFull", "\n\n### Alert: NodeDiskFull", {"moved in the file": 12}),
        ("- the load average", "-   the load  average", {"white space": 1}),
        ("chronyc tracking", "chronyc   tracking", {"the same commands written otherwise": 1}),
        (
            "kubectl describe job <job_name> -n <namespace>",
            "kubectl -n <namespace> describe jobs <job_name>",
            {"the same commands written otherwise": 1},
        ),
        (
            "df -h\n```",
            "df -h\n```\nAsk Ada.",
            {"words that no prompt shows": 1, "moved in the file": 11},
        ),
    ],
    ids=["lines", "blanks", "shell blanks", "flags", "prose"],
)
def test_what_does_not_matter_is_named(
    before: Reading, tmp_path: Path, was: str, becomes: str, said: dict[str, int]
) -> None:
    assert TEXT.count(was) == 1
    found = changes.compare(before, read(tmp_path, TEXT.replace(was, becomes)))
    assert found.alerts == []
    assert not found.matters
    assert found.passed == said


def test_another_order_of_the_alerts_does_not_matter(before: Reading, tmp_path: Path) -> None:
    head, *sections = TEXT.split("\n## ")
    turned = "\n## ".join([head, *reversed(sections)])
    found = changes.compare(before, read(tmp_path, turned))
    assert not found.matters
    assert found.passed["order of the alerts"] == 1


def test_another_command_shows_both_in_canonical_form(before: Reading, tmp_path: Path) -> None:
    text = TEXT.replace("velero backup get", "velero backup describe --details")
    one = only(changes.compare(before, read(tmp_path, text)))
    assert (one.alert, one.what, one.was) == ("BackupTooOld", "commands", "")
    assert one.old[0] == "velero backup get"
    assert one.new[0] == "velero backup describe --details"
    assert one.old[1:] == one.new[1:]  # the investigation
    line = TEXT[: TEXT.index("### Alert: BackupTooOld")].count("\n") + 1
    assert one.place == f"RUNBOOK.md:{line}"


def test_added_removed_and_renamed(before: Reading, tmp_path: Path) -> None:
    gone = TEXT[TEXT.index("### Alert: NodeLoadHigh") : TEXT.index("## storage")]
    text = TEXT.replace(gone, "") + "\n### Alert: FluxPaused\n**Resolution:** `flux resume ks a`\n"
    text = text.replace("Alert: VolumeOrphaned", "Alert: ClaimOrphaned")
    found = {(c.alert, c.what) for c in changes.compare(before, read(tmp_path, text)).alerts}
    assert found == {
        ("NodeLoadHigh", "removed"), ("FluxPaused", "added"),
        ("VolumeOrphaned", "removed"), ("ClaimOrphaned", "added"),
    }  # fmt: skip


def test_an_alert_in_another_section_is_the_same_alert(before: Reading, tmp_path: Path) -> None:
    text = TEXT.replace("## storage", "## disks")
    found = changes.compare(before, read(tmp_path, text))
    assert {c.what for c in found.alerts} == {"text"}
    assert len(found.alerts) == 4
    assert all(c.was and c.was != c.id and c.fields == ["section"] for c in found.alerts)
    assert len(found.ids()) == 8


def test_symptoms_and_severity_matter(before: Reading, tmp_path: Path) -> None:
    text = TEXT.replace("is almost full of old files", "has no inode left")
    assert only(changes.compare(before, read(tmp_path, text))).fields == ["symptoms"]
    text = TEXT.replace("warning", "critical", 1)
    assert only(changes.compare(before, read(tmp_path, text))).fields == ["severity"]


def test_a_correction_changes_the_alert_it_names(before: Reading, tmp_path: Path) -> None:
    said = [("user", "BackupTooOld"), ("assistant", "`velero backup logs`")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    (tmp_path / "corrections.jsonl").write_text(json.dumps(row) + "\n")
    now = read(tmp_path, TEXT, CorrectionsSource(path="corrections.jsonl"))
    one = only(changes.compare(before, now))
    assert (one.alert, one.new[0]) == ("BackupTooOld", "velero backup logs")


def test_pages_matter_to_an_agent_that_answers_in_prose_alone(tmp_path: Path) -> None:
    docs, source = tmp_path / "docs", DocsSource(path="docs")
    docs.mkdir()
    for name in ("one", "two"):
        (docs / f"{name}.md").write_text(f"# {name}\n\nSome words about {name}.\n")
    before = {prose: read(tmp_path, TEXT, source, prose=prose) for prose in (True, False)}
    (docs / "one.md").write_text("# one\n\nSome   words\nabout one.\n")
    (docs / "two.md").write_text("# two\n\nOther words.\n")
    (docs / "three.md").write_text("# three\n\nMore words.\n")
    found = changes.compare(before[True], read(tmp_path, TEXT, source, prose=True))
    assert found.pages == {"added": 1, "changed": 1}
    assert found.matters
    found = changes.compare(before[False], read(tmp_path, TEXT, source))
    assert found.passed == {"pages and threads, which no command is learned from": 2}
    assert not found.matters


def test_to_answers_in_prose_an_alert_is_a_page(tmp_path: Path) -> None:
    before = read(tmp_path, TEXT, prose=True)
    text = TEXT.replace("chronyc tracking", "chronyc  tracking")
    assert not changes.compare(before, read(tmp_path, text, prose=True)).matters
    text = TEXT.replace("Call the owner", "Ring the owner")
    assert changes.compare(before, read(tmp_path, text, prose=True)).pages == {"changed": 1}


def test_everything_is_new_without_a_release(before: Reading) -> None:
    found = changes.compare(Reading(), before)
    assert {c.what for c in found.alerts} == {"added"}
    assert found.total == len(before.alerts) == 16
    assert all(isinstance(one, Document) for one in before.alerts)
