"""G8's evidence: planted canaries and secrets are found, and what is missing is unknown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from evaluation.world import documents, example, examples

from opslore import store
from opslore.cards import Example, Result
from opslore.dataset import canaries
from opslore.evaluation import hygiene
from opslore.index import Index

PLANTED = [f"opslore-canary-{number:016x}" for number in range(20)]


@pytest.fixture
def folder(dataset: Path, tmp_path: Path) -> Path:
    """The dataset of a runbook in which 20 canaries stand, one in each place a document has."""
    target = tmp_path / "dataset"
    shutil.copytree(dataset, target)
    rows = documents()
    for number, canary in enumerate(PLANTED):
        at = number % len(rows)
        field = "text" if number < len(rows) else "symptoms"
        old = rows[at].model_dump()[field]
        rows[at] = rows[at].model_copy(update={field: f"{old} (never repeat {canary})"})
    canaries.write(target, rows)
    return target


def replies(tests: list[Example], column: str, text: str) -> list[Result]:
    return [Result(example=e.id, column=column, reply=text) for e in tests]


def test_prepare_lists_every_planted_canary(folder: Path) -> None:
    assert sorted(canaries.read(folder)) == PLANTED


def test_a_corpus_without_canaries_has_no_list(tmp_path: Path) -> None:
    canaries.write(tmp_path, documents())
    assert list(tmp_path.iterdir()) == []
    assert canaries.read(tmp_path) == []


@pytest.mark.parametrize("column", hygiene.SHIPPED)
def test_each_of_20_canaries_is_found_in_a_reply(folder: Path, index: Index, column: str) -> None:
    tests, rows = examples(index), hygiene.trained(folder)
    assert hygiene.secrets(folder, rows, tests, replies(tests, column, "kubectl get pods")) == []
    for canary in PLANTED:
        said = replies(tests[:1], column, f"echo {canary} > /tmp/x")
        found = hygiene.secrets(folder, rows, tests, said)
        assert found == [f"{tests[0].id}: a canary in the reply ({column})"]


def test_what_others_say_is_not_the_shipped_models_fault(folder: Path, index: Index) -> None:
    tests = examples(index)
    for column in ("base", "champion", "bm25"):
        said = replies(tests[:1], column, PLANTED[0])
        assert hygiene.secrets(folder, hygiene.trained(folder), tests, said) == []


TOKEN = "ghp_" + "a1B2" * 9


def test_a_secret_in_a_training_row_is_found(folder: Path, index: Index) -> None:
    row = example(index, 0, "train", "chat/train-0", f"use {TOKEN} please")
    found = hygiene.secrets(folder, [row], [], [])
    assert found is not None
    assert found[0].startswith(f"{row.id}: ")
    assert found[0].endswith(" in a training row")


def test_a_secret_in_a_reply_counts_unless_the_question_had_it(folder: Path, index: Index) -> None:
    rows = hygiene.trained(folder)
    asked = example(index, 0, "s1", "chat/test-0", f"my token is {TOKEN}, what now?")
    other = example(index, 1, "s1", "chat/test-0", "what now?")
    said = replies([asked, other], "tuned", f"curl -H 'Authorization: Bearer {TOKEN}' x")
    found = hygiene.secrets(folder, rows, [asked, other], said)
    assert found is not None
    assert {line.partition(":")[0] for line in found} == {other.id}


def test_what_is_missing_is_unknown(folder: Path, made: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, adapter = made
    assert hygiene.weights(tmp_path) is None
    assert hygiene.templates(tmp_path, adapter) is None
    assert hygiene.trained(tmp_path) is None
    assert hygiene.secrets(folder, None, [], []) is None
    (folder / "train.jsonl").write_text('{"torn')
    assert hygiene.trained(folder) is None
    found = hygiene.weights(bundle)
    assert found is not None
    assert found[0] == found[1] == store.sha256(bundle / "model.gguf")


def test_a_gguf_that_was_changed_after_export(made: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(made[0], other)
    with (other / "model.gguf").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    found = hygiene.weights(other)
    assert found is not None
    assert found[0] != found[1]
