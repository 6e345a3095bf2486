"""`opslore correct` and `opslore review`, and the file of decisions behind it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opslore import checklist_sources, cli, config, reviewing, steps, store
from opslore.cards import Dataset, Span
from opslore.config_sources import ArchiveSource, CorrectionsSource
from opslore.dataset import approved
from opslore.dataset.approved import Approved, Decision, Waiting
from opslore.dataset.prescribed import prescribed
from opslore.errors import IntegrityError

AGENT = """
name: trust
store: runs
collect:
  - kind: runbook
    path: RUNBOOK.md
"""
CORRECTIONS = "  - kind: corrections\n    path: corrections.jsonl\n"

ANSWER = "Restart it:\n\n```bash\nkubectl rollout restart deploy/x\n```\nthen `kubectl get pods`."


def row(question: str, answer: str, **more: object) -> Waiting:
    given: dict[str, object] = {
        "key": approved.key(question, answer),
        "kind": "command",
        "question": question,
        "answer": answer,
        "commands": prescribed(answer),
        "author": "ann",
        "trust": "T2",
        "source": Span(file="x", first=1, last=1),
        **more,
    }
    return Waiting.model_validate(given)


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent whose newest dataset has two rows that wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSLORE_USER", "carol")
    file = tmp_path / "agent.yaml"
    file.write_text(AGENT)
    rows = [
        row("Why does it restart?", ANSWER),
        row("And\u200bnow?", "hm", kind="quarantined", reason="invisible", trust="T3"),
    ]

    def make(work: Path) -> dict[str, object]:
        store.write_rows(work / reviewing.WAITING, rows)
        return {"splits": {}, "dropped": 0, "digest": "x"}

    steps.store_of(config.load(file)).made(Dataset, [], [], make)
    return file


class TestPrescribed:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            (ANSWER, ["kubectl rollout restart deploy/x", "kubectl get pods"]),
            ("```console\n$ helm ls\nNAME\n```", ["helm ls"]),
            ("```sh\n# why\nobscure-tool --now\n```", ["obscure-tool --now"]),
            ("```\n$ made-up thing\noutput\n```", ["made-up thing"]),
            ("Just run kubectl delete ns prod, it helps.", ["kubectl delete ns prod"]),
            ("1. `rm -rf /tmp/x`\n> curl -s http://x.io | sh", None),
            ("```yaml\nkind: Pod\n```", []),
            ("Set `replicas: 3` in the `Deployment`, then look at kubectl.", []),
            ("```bash\nkubectl get \\\n  pods\n```", ["kubectl get pods"]),
            ("```bash\ncat <<E | kubectl apply -f -\na: b\nE\n```", None),
        ],
    )
    def test_every_command_of_an_answer(self, text: str, wanted: list[str] | None) -> None:
        found = prescribed(text)
        if wanted is None:
            assert len(found) in (1, 2)
            assert any("sh" in one or "kubectl apply" in one for one in found)
        else:
            assert found == wanted


class TestDecisions:
    def decided(self, decision: str, answer: str = ANSWER, text: str = "") -> Approved:
        one = row("q", answer)
        return Approved(
            [
                Decision.model_validate(
                    {
                        "key": one.key,
                        "decision": decision,
                        "commands": prescribed(text) if text else one.commands,
                        "text": text,
                        "who": "carol",
                        "when": "2026-01-01T00:00:00+00:00",
                        "question": "q",
                    }
                )
            ]
        )

    def test_only_the_approved_command_of_this_very_answer(self) -> None:
        found, key = self.decided("approve"), approved.key("q", ANSWER)
        assert found.allows(key, "kubectl  rollout restart deploy/x")
        assert not found.allows(key, "kubectl delete ns prod")
        assert not found.allows(approved.key("q", ANSWER + " More."), "kubectl get pods")
        assert not Approved([]).allows(key, "kubectl get pods")

    def test_no_means_no(self) -> None:
        key = approved.key("q", ANSWER)
        assert not self.decided("reject").allows(key, "kubectl get pods")
        assert self.decided("reject").rejected(key)
        assert not self.decided("reject").released(key)

    def test_an_edit_is_what_is_learned(self) -> None:
        key, text = approved.key("q", ANSWER), "Use `helm ls -A`."
        found = self.decided("edit", text=text)
        assert found.answer(key, ANSWER) == text
        assert found.allows(key, "helm ls -A")
        assert not found.allows(key, "kubectl get pods")

    def test_a_decision_changes_the_digest(self) -> None:
        digests = {Approved([]).digest, self.decided("approve").digest}
        assert len(digests | {self.decided("reject").digest}) == 3

    def test_a_damaged_file_is_an_error_with_its_line(self, tmp_path: Path) -> None:
        file = tmp_path / "approvals.jsonl"
        file.write_text("\n{}\n")
        with pytest.raises(IntegrityError, match=r"approvals\.jsonl:2: not a decision"):
            Approved.read(file)


REVIEWER = """
import sys
from pathlib import Path
from opslore.dataset.approved import Decision, decide
for number in range(25):
    decide(Path(sys.argv[1]), Decision(key=f"{sys.argv[2]}{number}", decision="approve",
        commands=["ls"], who=sys.argv[2], when="2026", question="q"))
"""


def test_two_reviewers_at_once_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "approvals.jsonl"
    command = [sys.executable, "-c", REVIEWER, str(file)]
    both = [subprocess.Popen([*command, name], env=os.environ) for name in ("a", "b")]
    assert [one.wait(120) for one in both] == [0, 0]
    assert len(Approved.read(file).decisions) == 50


class TestReview:
    def keys(self, agent: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
        code, out, _ = say(capsys, "review", str(agent), "--json")
        assert code == 0
        return [one["key"] for one in json.loads(out)]

    def test_the_list_says_what_waits_and_why(
        self, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = say(capsys, "review", str(agent), "--list")
        assert code == 0
        assert "2 commands, worst is disruptive" in out
        assert "$ kubectl rollout restart deploy/x" in out
        assert "And<U+200B>now?" in out  # a person sees what has no glyph
        assert out.endswith("2 waiting\n")
        assert not (agent.parent / "approvals.jsonl").exists()

    def test_decisions_are_written_and_the_list_gets_shorter(
        self, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, second = self.keys(agent, capsys)
        code, out, _ = say(capsys, "review", str(agent), "--approve", first[:8], "--reject", second)
        assert code == 0
        assert "2 decided" in out
        assert "next: opslore prepare" in out
        assert self.keys(agent, capsys) == []
        found = Approved.read(agent.parent / "approvals.jsonl")
        assert found.allows(first, "kubectl rollout restart deploy/x")
        assert {d.who for d in found.decisions.values()} == {"carol"}
        assert all(d.when for d in found.decisions.values())
        # A mind may be changed; the history stays in the file.
        say(capsys, "review", str(agent), "--reject", first)
        assert Approved.read(agent.parent / "approvals.jsonl").rejected(first)
        assert len((agent.parent / "approvals.jsonl").read_text().splitlines()) == 3

    def test_a_quarantined_row_is_approved_with_its_commands(self, tmp_path: Path) -> None:
        one = row("q", "Run `helm ls -A`.", kind="quarantined", reason="bidi", commands=[])
        reviewing.Desk([one], tmp_path / "a.jsonl").decide(one, "approve")
        found = Approved.read(tmp_path / "a.jsonl")
        assert found.released(one.key)
        assert found.allows(one.key, "helm ls -A")

    def test_an_edit_approves_other_words(
        self, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, _ = self.keys(agent, capsys)
        code, _, _ = say(
            capsys, "review", str(agent), "--edit", first, "--text", "Run `kubectl get events -A`."
        )
        assert code == 0
        found = Approved.read(agent.parent / "approvals.jsonl")
        assert found.answer(first, ANSWER) == "Run `kubectl get events -A`."
        assert found.decisions[first].commands == ["kubectl get events -A"]

    @pytest.mark.parametrize(
        "arguments", [["--approve", "zzz"], ["--approve", ""], ["--edit", "a"], ["--text", "a"]]
    )
    def test_a_wrong_word_decides_nothing(
        self, agent: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        code, _, err = say(capsys, "review", str(agent), *arguments)
        assert code == 2
        assert "hint:" in err
        assert not (agent.parent / "approvals.jsonl").exists()

    def test_a_person_at_a_terminal_is_asked(
        self,
        agent: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        first, second = self.keys(agent, capsys)
        typed = io.StringIO("x\ne\nRun `helm ls -A`.\n.\nr\n")
        monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", typed)
        code, out, _ = say(capsys, "review", str(agent))
        assert code == 0
        assert "1 of 2" in out
        assert "<U+200B>" in out
        found = Approved.read(agent.parent / "approvals.jsonl")
        assert found.answer(first, ANSWER) == "Run `helm ls -A`."
        assert found.rejected(second)

    def test_the_end_of_input_decides_nothing(
        self,
        agent: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        typed = io.StringIO("")
        monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", typed)
        code, out, _ = say(capsys, "review", str(agent))
        assert (code, "2 waiting" in out) == (0, True)

    def test_nothing_prepared_yet(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "agent.yaml").write_text(AGENT)
        code, _, err = say(capsys, "review", "agent.yaml")
        assert code == 2
        assert "opslore prepare agent.yaml" in err


class TestCorrect:
    @pytest.fixture
    def file(self, agent: Path) -> Path:
        agent.write_text(AGENT + CORRECTIONS)
        return agent

    def rows(self, file: Path) -> list[list[str]]:
        lines = (file.parent / "corrections.jsonl").read_text().splitlines()
        return [[t["value"] for t in json.loads(line)["conversations"]] for line in lines]

    def test_it_is_written_with_who_and_when(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = say(capsys, "correct", str(file), "KubeX", "kubectl get pods")
        assert (code, err) == (0, "")
        assert "wrote corrections.jsonl" in out
        assert self.rows(file) == [["KubeX", "kubectl get pods"]]
        row = json.loads((file.parent / "corrections.jsonl").read_text())
        assert row["who"] == "carol"
        assert row["when"]

    def test_another_answer_to_the_same_question_is_told(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        say(capsys, "correct", str(file), "KubeX", "kubectl get pods")
        code, out, err = say(
            capsys, "correct", str(file), "kubex?", "kubectl delete ns a", "--json"
        )
        assert code == 0
        assert json.loads(out)["older"] == [{"line": 1, "answer": "kubectl get pods"}]
        assert "line 1 of corrections.jsonl said: kubectl get pods; the new one wins" in err
        assert "destructive" in err

    def test_the_question_comes_from_ask(
        self, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO('{"question": "Why?", "command": "ls"}'))
        assert say(capsys, "correct", str(file), "helm ls -A", "--from-ask")[0] == 0
        assert self.rows(file) == [["Why?", "helm ls -A"]]
        monkeypatch.setattr(sys, "stdin", io.StringIO("no json"))
        code, _, err = say(capsys, "correct", str(file), "helm ls -A", "--from-ask")
        assert code == 65
        assert "--from-ask" in err

    def test_the_answer_comes_from_stdin(
        self, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("line one\nline two\n"))
        assert say(capsys, "correct", str(file), "Why?", "-")[0] == 0
        assert self.rows(file) == [["Why?", "line one\nline two"]]

    def test_a_secret_is_told(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        secret = "ghp_" + "a1B2" * 9
        _, _, err = say(capsys, "correct", str(file), "Why?", f"use {secret}")
        assert "looks like API_TOKEN" in err
        assert secret not in err

    def test_without_the_source_it_says_which_lines_to_add(
        self, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = say(capsys, "correct", str(agent), "a", "b")
        assert code == 2
        assert "- kind: corrections\n" in err
        assert "path: corrections.jsonl" in err


class TestDoctor:
    def test_corrections(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        source = CorrectionsSource(path="c.jsonl")
        (line,) = checklist_sources.checks(source)
        assert (line.state, "not there yet" in line.found) == ("ok", True)
        Path("c.jsonl").write_text('{"x": 1}\n{"instruction": "q", "output": "a"}\n')
        (line,) = checklist_sources.checks(source)
        assert line.state == "warn"
        assert "1 corrections, 0 older ones; 1 rows cannot be read, first c.jsonl:1" in line.found

    def test_archives(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (line,) = checklist_sources.checks(ArchiveSource(path="a.jsonl"))
        assert (line.state, line.found) == ("fail", "a.jsonl: no such file or folder")
        Path("a.jsonl").write_text('{"instruction": "q", "output": "a"}\n' * 2)
        (line,) = checklist_sources.checks(ArchiveSource(path="a.jsonl"))
        assert (line.state, line.found) == ("ok", "2 conversations")

    def test_decisions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("agent.yaml").write_text(AGENT + "prepare:\n  task: answers\n")
        settings = config.load(Path("agent.yaml"))
        assert [c.found for c in checklist_sources.decisions(settings)] == ["0 rows"]
        Path("approvals.jsonl").write_text("x\n")
        assert [c.state for c in checklist_sources.decisions(settings)] == ["fail"]
