"""Questions that people wrote: every line is read, or refused with its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset.conftest import SYSTEM, Written

from opslore import steps
from opslore.cards import ESCALATE
from opslore.config import Agent, Prepare
from opslore.dataset import asked, clean, examples
from opslore.errors import DataError
from opslore.index import Index

ROWS: list[dict[str, Any]] = [
    {"question": "everything in checkout keeps restarting help", "alert": "KubePodCrashLooping",
     "labels": {"namespace": "checkout"}, "why": "unnamed", "also": ["KubePodNotReady"]},
    {"question": "my coffee machine is leaking again", "alert": None, "why": "no alert at all"},
    {"question": "the disk of worker-3 is nearly full", "alert": "nodefilesystemfillingup",
     "labels": {"node": "worker-3"}, "why": "case of the name does not matter"},
]  # fmt: skip


def file(folder: Path, *lines: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return file(tmp_path, json.dumps(ROWS[0]), "", *map(json.dumps, ROWS[1:]))


def test_known_alerts_are_s6_and_the_rest_is_s3(path: Path, example: Written) -> None:
    few = {"phrasings": 1, "s1": 20, "s2": 4, "s3": 6, "s4": 0, "calibrate": 0}
    prepare = Prepare.model_validate({"questions": str(path), **few})
    made = examples.write(prepare, SYSTEM, example.documents)[1]
    mine = {e.question: e for e in made if e.family.startswith("people/")}
    crash, coffee, disk = (mine[row["question"]] for row in ROWS)
    assert [e.split for e in (crash, coffee, disk)] == ["s6", "s3", "s6"]
    assert crash.target == "kubectl logs <pod> -n checkout -c <container> --previous --tail=100"
    assert crash.accepted == ["kubectl delete pod <pod> -n checkout"]
    assert crash.family == "people/s6"
    assert crash.book == "open"
    assert crash.shown == [h.entry.id for h in example.index.search(crash.question, 5)]
    assert coffee.target == ESCALATE
    assert coffee.group == "unknown:people-3"
    assert "worker-3" in disk.target
    assert [e.id for e in (crash, disk)] == [f"s6-{crash.group}-1", f"s6-{disk.group}-4"]
    assert clean.leaks(made) == []


def test_training_near_a_persons_question_is_left_out(example: Written, tmp_path: Path) -> None:
    taken = next(e for e in example.split("train") if len(e.question.split()) > 12)
    title = example.index.by_id[taken.group].title
    row = {"question": taken.question + " please", "alert": title, "labels": {}}
    prepare = Prepare(questions=str(file(tmp_path, json.dumps(row))), embedder="none")
    _, made, dropped = examples.write(prepare, SYSTEM, example.documents)
    assert taken.id in {d.what for d in dropped}
    assert taken.id not in {e.id for e in made}


BAD = {
    "no JSON": ("{question", "not a question: Invalid JSON"),
    "a key that is unknown": ('{"question": "a", "alert": null, "tag": 1}', "tag: Extra inputs"),
    "no alert": ('{"question": "a"}', "alert: Field required"),
    "an empty question": ('{"question": "", "alert": null}', "question: String should have"),
    "an alert of another runbook": (
        '{"question": "a", "alert": "Nope"}', "the runbook has no alert 'Nope'"),
    "another right alert that is none": (
        '{"question": "a", "alert": "GrafanaDown", "also": ["Nope"]}', "has no alert 'Nope'"),
    "a label that is a number": (
        '{"question": "a", "alert": null, "labels": {"pod": 1}}', "labels.pod: Input should be"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named(what: str, tmp_path: Path, example: Written) -> None:
    line, said = BAD[what]
    path = file(tmp_path, json.dumps(ROWS[1]), line)
    with pytest.raises(DataError) as caught:
        asked.read(path, example.index)
    assert f"{path.name}:2: " in caught.value.message
    assert said in caught.value.message


def test_the_same_question_twice_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps(ROWS[1]), json.dumps(ROWS[1]).replace("my", "MY "))
    with pytest.raises(DataError, match="the same question stands in line 1"):
        asked.read(path, Index([]))


@pytest.mark.parametrize(
    ("raw", "said"), [(None, "No such file"), (b"\xff\xfe\x00", "no UTF-8"), (b" " * 9, "")]
)
def test_a_file_that_cannot_be_read(raw: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    if raw is not None:
        path.write_bytes(raw)
    if not said:
        assert asked.read(path, Index([])) == []
        return
    with pytest.raises(DataError, match=said):
        asked.read(path, Index([]))


def test_a_dataset_is_made_anew_when_a_question_changes(tmp_path: Path, path: Path) -> None:
    runbook = Path(__file__).parents[2] / "agents" / "RUNBOOK.md"
    settings = {"name": "a", "store": str(tmp_path / "runs"), "collect": [{"path": str(runbook)}]}
    small = {"s1": 2, "s2": 0, "s3": 2, "s4": 0, "phrasings": 1, "embedder": "none"}
    agent = Agent.model_validate({**settings, "prepare": {**small, "questions": str(path)}})
    corpus = steps.collect(agent)
    first = steps.prepare(agent, corpus)
    assert steps.prepare(agent, corpus).id == first.id
    assert first.splits["s6"] == 2
    assert first.splits["s4"] == 0
    path.write_text(path.read_text().replace("help", "help me"))
    assert steps.prepare(agent, corpus).id != first.id
