"""Practice: runbooks of other teams, what is learned from them, and what is kept apart."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from dataset.conftest import EXAMPLE, SYSTEM, Written

from opslore import commands, prompt, steps, store
from opslore.cards import ESCALATE, Document, Example
from opslore.config import Agent, Prepare
from opslore.config_sources import RunbookSource
from opslore.dataset import asked, clean, examples, practice
from opslore.dataset.writer import Writer
from opslore.evaluation import columns
from opslore.evaluation.columns import Run
from opslore.evaluation.replies import Log
from opslore.index import Hit, Index
from opslore.sources import runbook

SETTINGS = Prepare(embedder="none")


@cache
def documents() -> list[Document]:
    source = RunbookSource(path=str(practice.FOLDER))
    return runbook.collect(source, practice.FOLDER).documents


@cache
def rooms() -> list[practice.Room]:
    made = SETTINGS.model_copy(update={"closed_book": 0.0})
    return practice.rooms(documents(), None, lambda index: Writer(made, SYSTEM, index))


def taught(split: str) -> list[Example]:
    return [e for e in practice.examples(rooms(), 600, 0) if e.split == split]


@pytest.mark.parametrize("name", ["campus", "cloud", "data", "platform"])
def test_every_question_is_about_an_alert_and_says_what_its_labels_are(name: str) -> None:
    room = next(room for room in rooms() if room.name == name)
    assert len(room.index.entries) == 26
    answers = [e.answer for e in room.index.entries if e.answer != ESCALATE]
    assert len(answers) == 23
    assert len({commands.canonical(answer) for answer in answers}) == 23
    assert len(room.asked) in (305, 306)
    assert sum(one.entry is None for one in room.asked) in (89, 90)
    for one in room.asked:
        for value in one.row.labels.values():
            assert value in one.row.question, one.row
        if one.entry is not None and one.entry.answer != ESCALATE:
            kinds = {kind for hole in commands.holes(one.entry.answer) for kind in hole.kinds}
            assert set(one.row.labels) <= kinds, one.row


def test_nothing_that_practice_teaches_destroys_anything_else_than_its_runbook_says() -> None:
    for example in practice.examples(rooms(), 900, 0):
        room = next(room for room in rooms() if room.name == example.runbook)
        if example.target != ESCALATE:
            assert example.group in room.index.by_id
            answer = room.index.by_id[example.group].answer
            assert commands.fill(answer, example.labels) == example.target


def test_a_fifth_is_kept_from_training() -> None:
    trained, kept = taught("train"), taught("calibrate")
    assert len(trained) == 600
    assert len(kept) == practice.WATCHED
    assert not {e.group for e in trained} & {e.group for e in kept}
    assert not {e.question for e in trained} & {e.question for e in kept}
    for rows in (trained, kept):
        silent = sum(e.target == ESCALATE for e in rows) / len(rows)
        # Three alerts of 26 have no command; the rest of the share is asked for.
        assert 0.33 <= silent <= 0.48


def test_prompts_show_what_the_other_runbooks_index_finds() -> None:
    by_name = {room.name: room.index for room in rooms()}
    for example in taught("train")[::5]:
        hits = by_name[example.runbook].search(example.question, 5, example.hidden)
        assert example.messages[:-1] == prompt.messages(SYSTEM, example.question, hits)
        assert example.book == "open"
        assert not set(example.hidden) & set(example.shown)


def test_the_examples_of_a_runbook_have_practice_in_proportion(example: Written) -> None:
    settings = example.settings.model_copy(update={"embedder": "none", "practice": 0.5})
    _, rows, _ = examples.write(settings, SYSTEM, example.documents, rooms())
    practised = [e for e in rows if e.runbook]
    mine = [e for e in rows if e.split in ("train", "valid") and e.family != "chatter/train"]
    mine = [e for e in mine if not e.runbook and e.target != ESCALATE and not e.hidden]
    assert 0.35 < sum(e.split == "train" for e in practised) / len(mine) < 0.65
    assert not clean.leaks(rows)
    own = {e.id for e in Index.of(example.documents).entries}
    assert not own & {e.group for e in practised}
    tested = {" ".join(e.question.lower().split()) for e in rows if e.split in clean.UNSEEN}
    assert not tested & {" ".join(e.question.lower().split()) for e in practised}


def test_no_practice_alert_is_one_of_the_example() -> None:
    mine = runbook.collect(RunbookSource(path=str(EXAMPLE)), EXAMPLE.parent).documents
    assert not {d.title.lower() for d in mine} & {d.title.lower() for d in documents()}


def test_people_of_the_example_and_of_practice_asked_other_questions() -> None:
    path = EXAMPLE.parent / "questions.jsonl"
    mine = asked.rows(str(path), path.read_text(encoding="utf-8"), asked.Row)
    said = {" ".join(row.question.lower().split()) for row in mine}
    assert not said & {
        " ".join(one.row.question.lower().split()) for room in rooms() for one in room.asked
    }


def test_the_indexes_are_kept_for_evaluation(tmp_path: Path) -> None:
    practice.write(rooms(), tmp_path)
    found = practice.indexes(tmp_path)
    assert sorted(found) == ["campus", "cloud", "data", "platform"]
    for room in rooms():
        assert found[room.name].entries == room.index.entries
        assert all(e.span.commit == "" for e in found[room.name].entries)
    assert practice.indexes(tmp_path / "nowhere") == {}


def test_a_dataset_without_practice_has_none(tmp_path: Path, example: Written) -> None:
    corpus, work = tmp_path / "corpus", tmp_path / "work"
    for folder in (corpus, work):
        folder.mkdir()
    store.write_rows(corpus / "documents.jsonl", example.documents)
    examples.prepare(SETTINGS.model_copy(update={"practice": 0}), SYSTEM, corpus, work)
    rows = list(store.read_rows(work / "train.jsonl", Example))
    assert rows
    assert not any(row.runbook for row in rows)
    assert not (work / practice.FAMILY).exists()


def test_evaluation_asks_the_kept_questions_of_their_own_runbook(tmp_path: Path) -> None:
    practice.write(rooms(), tmp_path)
    agent = Agent(name="a", collect=[RunbookSource(path="RUNBOOK.md")], prepare=SETTINGS)
    with Log(tmp_path / "results.jsonl") as log:
        found = practice.indexes(tmp_path)
        run = Run(agent, [], Index([]), log, lambda *now: None, found)
        for example in taught("calibrate")[::4]:
            assert [hit.entry.id for hit in columns.found(run, example)] == example.shown


def test_the_names_in_questions_about_foreign_runbooks_are_read() -> None:
    """Floors a little under what was measured (decision 0024); wrong is worse than open."""
    right = wrong = stated = 0
    for room in rooms():
        for one in room.asked:
            if one.entry is None or one.entry.answer == ESCALATE:
                continue
            hit = Hit(one.entry, 1.0)
            known = prompt.stated(one.row.question, [hit])
            got = prompt.filled(one.row.question, hit, known)
            target = commands.fill(one.entry.answer, one.row.labels)
            stated += bool(one.row.labels)
            right += bool(one.row.labels) and got == target
            wrong += got != target and len(commands.holes(got)) <= len(commands.holes(target))
    print(f"{right} of {stated} right, {wrong} wrong")
    assert right / stated >= 0.75
    assert wrong <= 20


def test_the_step_writes_practice_and_remembers_what_it_was_made_from(tmp_path: Path) -> None:
    few = {"phrasings": 2, "s1": 4, "s2": 2, "s3": 3, "s4": 3, "practice": 0.5}
    agent = Agent(
        name="a",
        store=str(tmp_path / "runs"),
        collect=[RunbookSource(path=str(EXAMPLE))],
        prepare=SETTINGS.model_copy(update=few),
    )
    corpus = steps.collect(agent)
    made = steps.prepare(agent, corpus)
    folder = steps.store_of(agent).path(made)
    assert sorted(practice.indexes(folder)) == ["campus", "cloud", "data", "platform"]
    for split in ("train", "calibrate"):
        rows = list(store.read_rows(folder / f"{split}.jsonl", Example))
        mine = [row for row in rows if row.runbook]
        assert mine
        assert len(mine) < len(rows)
        assert all(row.source.file.startswith("opslore/practice/") for row in mine)
    assert steps.prepare(agent, corpus) == made
    without = agent.model_copy(
        update={"prepare": agent.prepare.model_copy(update={"practice": 0.0})}
    )
    assert steps.prepare(without, corpus).id != made.id
