"""Corrections: every line by itself, the newest wins, nothing is lost by a crash or a crowd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opslore.cards import ESCALATE, Document
from opslore.config import Prepare
from opslore.config_sources import CorrectionsSource, RunbookSource
from opslore.dataset import corrected, examples
from opslore.errors import DataError
from opslore.index import Index
from opslore.sources import Collected, Ground, corrections, gather, runbook

RUNBOOK = Path(__file__).parents[2] / "agents" / "RUNBOOK.md"


def collected(path: Path) -> Collected:
    source = CorrectionsSource(path=path.name)
    return corrections.collect(source, Ground(path.parent, path.parent / "keep"))


def sharegpt(question: str, answer: str) -> str:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return json.dumps({"conversations": turns})


def test_both_forms_are_read_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    turns = [{"role": "user", "content": "two?"}, {"role": "assistant", "content": "2"}]
    file.write_text(f"{sharegpt('one?', '1')}\n\n{json.dumps({'messages': turns})}\n")
    found = collected(file)
    assert [(d.title, d.text, d.span.first) for d in found.documents] == [
        ("one?", "1", 1),
        ("two?", "2", 3),
    ]
    assert {(d.kind, d.trust) for d in found.documents} == {("correction", "T1")}
    assert found.dropped == []


BAD = {
    '{"conversations": [': "no JSON",
    "[1, 2]": "a JSON list",
    '{"question": "a", "answer": "b"}': "keys answer, question",
    '{"conversations": "x"}': "write a list of turns",
    '{"conversations": [{"from": "human", "value": "q"}]}': "nobody answers",
    '{"conversations": [{"from": "gpt", "value": "a"}]}': "put the question first",
    '{"messages": [{"role": "tool", "content": "x"}]}': "has the role 'tool'",
    '{"messages": [{"role": "user", "content": 5}]}': "no text but int",
    '{"messages": [{"role": "user", "content": "  "}]}': "is empty",
    '{"messages": ["x"]}': "messages[0] is a str",
    "\xff\xfe": "not UTF-8",
    "[" * 100_000: "no JSON",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda text: text[:30])
def test_a_wrong_line_says_where_what_and_how_and_loses_no_other(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "corrections.jsonl"
    lines = [sharegpt("a?", "1"), bad, sharegpt("b?", "2")]
    file.write_bytes("\n".join(lines).encode("latin-1"))
    found = collected(file)
    assert [d.title for d in found.documents] == ["a?", "b?"]
    (dropped,) = found.dropped
    assert dropped.what == "corrections.jsonl:2"
    assert BAD[bad] in dropped.reason
    assert "mend or delete line 2" in dropped.reason


def test_a_file_that_is_not_there_yet_has_none(tmp_path: Path) -> None:
    found = collected(tmp_path / "corrections.jsonl")
    assert (found.documents, found.dropped) == ([], [])


def test_the_newest_wins_and_both_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    assert corrections.add(file, "What restarts it?", "old answer", "ann") == []
    older = corrections.add(file, "  what RESTARTS it ", "new answer", "bob")
    assert [(c.line, c.answer, c.who) for c in older] == [(1, "old answer", "ann")]
    assert corrections.add(file, "What restarts it?", "new answer") != []  # line 1 still differs
    found = collected(file)
    assert [d.text for d in found.documents] == ["new answer"]
    assert [d.span.first for d in found.dropped if d.span] == [1, 2]
    assert "wins" in found.dropped[0].reason
    assert len(file.read_text().splitlines()) == 3


def test_a_torn_last_line_is_kept_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    torn = '{"conversations": [{"from": "human", "val'
    file.write_text(f"{sharegpt('a?', '1')}\n{torn}")
    assert "a write was stopped" in collected(file).dropped[0].reason
    corrections.add(file, "b?", "2")
    found = collected(file)
    assert [d.title for d in found.documents] == ["a?", "b?"]
    assert [d.what for d in found.dropped] == ["corrections.jsonl:2"]
    assert torn in file.read_text()


def test_nothing_empty_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the answer is empty"):
        corrections.add(tmp_path / "c.jsonl", "q", " \n")
    assert not (tmp_path / "c.jsonl").exists()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "corrections.jsonl"
    link.symlink_to(tmp_path / "real" / "c.jsonl")
    corrections.add(link, "q", "a")
    assert link.is_symlink()
    assert len(collected(link).documents) == 1


WRITER = """
import sys
from pathlib import Path
from opslore.sources import corrections
for number in range(int(sys.argv[3])):
    corrections.add(Path(sys.argv[1]), f"question {sys.argv[2]} {number}", "answer " * 200)
    print(number, flush=True)
"""


def _writer(file: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(file), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    both = [_writer(file, name, 30) for name in ("a", "b")]
    assert [one.wait(120) for one in both] == [0, 0]
    found = collected(file)
    assert len(found.documents) == 60
    assert found.dropped == []


def test_a_kill_in_the_middle_leaves_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    said = 0
    for delay in (0.0, 0.003, 0.011):
        writer = _writer(file, f"kill{delay}", 10_000)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        said += 1 + len(writer.stdout.read().splitlines())
        writer.wait(30)
        writer.stdout.close()
    found = collected(file)
    assert found.dropped == []
    # What was said to be written is there; the one being written may be, too.
    assert said <= len(found.documents) <= said + 3


def test_a_refresh_never_loses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other source is refreshed, breaks, and comes back; the corrections stay."""
    monkeypatch.chdir(tmp_path)
    book = tmp_path / "RUNBOOK.md"
    book.write_text(RUNBOOK.read_text())
    sources = [RunbookSource(path="RUNBOOK.md"), CorrectionsSource(path="corrections.jsonl")]
    corrections.add(tmp_path / "corrections.jsonl", "why?", "because")

    def kept() -> list[str]:
        rows = gather.collect(sources, tmp_path, tmp_path / "keep").rows()
        return [r.text for r in rows if isinstance(r, Document) and r.kind == "correction"]

    assert kept() == ["because"]
    book.write_text(book.read_text() + "\n### Alert: New\n**Resolution:**\n```\nls -l\n```\n")
    assert kept() == ["because"]


class TestRunbookAgents:
    def documents(self, tmp_path: Path, pairs: list[tuple[str, str]]) -> list[Document]:
        file = tmp_path / "corrections.jsonl"
        for question, answer in pairs:
            corrections.add(file, question, answer)
        book = runbook.collect(RunbookSource(path=str(RUNBOOK)), RUNBOOK.parent)
        return [*book.documents, *collected(file).documents]

    def test_a_correction_wins_over_the_runbook(self, tmp_path: Path) -> None:
        before = Index.of(self.documents(tmp_path, []))
        alert = before.entries[3].title
        right = "kubectl rollout restart deployment/<deployment> -n <namespace>"
        documents, dropped = corrected.applied(
            self.documents(tmp_path, [(f"[FIRING:1] {alert} namespace=a", f"`{right}`")])
        )
        index = Index.of(documents)
        entry = next(e for e in index.entries if e.title == alert)
        assert entry.answer == right
        assert (entry.span.file, entry.line) == ("corrections.jsonl", 1)
        assert len(index.entries) == len(before.entries)
        assert index.search(alert, 1)[0].entry.answer == right
        assert dropped == []

    def test_another_question_is_an_entry_of_its_own(self, tmp_path: Path) -> None:
        question = "The blue widget page is empty after a deploy"
        documents, _ = corrected.applied(
            self.documents(tmp_path, [(question, "```bash\nkubectl delete pvc --all\n```")])
        )
        index = Index.of(documents)
        entry = index.search("blue widget page empty", 1)[0].entry
        assert entry.answer == "kubectl delete pvc --all"  # kept, and marked when it is asked
        assert (entry.span.file, entry.line) == ("corrections.jsonl", 1)

    def test_to_escalate_is_a_correction_too(self, tmp_path: Path) -> None:
        alert = Index.of(self.documents(tmp_path, [])).entries[3].title
        documents, _ = corrected.applied(self.documents(tmp_path, [(alert, ESCALATE)]))
        entry = next(e for e in Index.of(documents).entries if e.title == alert)
        assert entry.answer == ESCALATE

    def test_what_is_no_command_is_dropped_with_the_reason(self, tmp_path: Path) -> None:
        documents, dropped = corrected.applied(
            self.documents(tmp_path, [("Why?", "Because the moon is full.")])
        )
        assert [d.reason[:33] for d in dropped] == ["a correction that is no command o"]
        assert not [d for d in Index.of(documents).entries if d.title == "Why?"]

    def test_the_dataset_learns_it(self, tmp_path: Path) -> None:
        before = Index.of(self.documents(tmp_path, []))
        right = "kubectl get events -A --sort-by=.lastTimestamp"
        pairs = [(entry.title, right) for entry in before.entries[:6]]
        documents, _ = corrected.applied(self.documents(tmp_path, pairs))
        _, rows, _ = examples.write(Prepare(embedder="none"), "s", documents)
        mine = {r.group for r in rows if r.target == right and r.split == "train"}
        assert mine
        assert {r.source.file for r in rows if r.target == right} == {"corrections.jsonl"}

    def test_without_corrections_nothing_changes(self, tmp_path: Path) -> None:
        documents = self.documents(tmp_path, [])
        assert corrected.applied(documents) == (documents, [])
