"""The store: made once, found again, whole after every crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from opslore import store
from opslore.cards import Corpus, Dataset, Span
from opslore.errors import IntegrityError, MissingInput
from opslore.store import NotMade, Store

FIELDS = {"documents": 1, "dropped": 0, "digest": "d"}


@pytest.fixture
def home(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs", "sre")


def make(work: Path) -> dict[str, Any]:
    (work / "documents.jsonl").write_text("{}\n")
    return FIELDS


def corpus(home: Store, fact: str = "a") -> Corpus:
    return home.made(Corpus, {}, [], make, facts=[fact])


def test_what_was_made_is_found_and_not_made_again(home: Store) -> None:
    first = corpus(home)
    again = home.made(Corpus, {}, [], lambda work: pytest.fail("made twice"), facts=["a"])
    assert again == first
    assert (home.path(first) / "documents.jsonl").read_text() == "{}\n"
    assert first.uri == f"sre/corpus/{first.id[:16]}"
    assert len(first.id) == 64
    assert home.leftovers() == []


def test_the_id_depends_on_section_parents_and_facts_and_on_nothing_else(home: Store) -> None:
    parent = corpus(home)
    ids = [
        home.identity(Dataset, {"x": 1}, [parent], []),
        home.identity(Dataset, {"x": 2}, [parent], []),
        home.identity(Dataset, {"x": 1}, [], []),
        home.identity(Dataset, {"x": 1}, [parent], ["f"]),
        home.identity(Corpus, {"x": 1}, [parent], []),
    ]
    assert len(set(ids)) == len(ids)
    elsewhere = Store(Path("/elsewhere"), "other")
    assert elsewhere.identity(Dataset, {"x": 1}, [parent], []) == ids[0]
    assert home.identity(Dataset, {"b": 1, "a": 2}, [], []) == home.identity(
        Dataset, {"a": 2, "b": 1}, [], []
    )


def test_latest_is_the_newest_made_or_found_again(home: Store) -> None:
    first, second = corpus(home, "a"), corpus(home, "b")
    assert home.latest(Corpus) == second
    corpus(home, "a")
    assert home.latest(Corpus) == first
    assert {card.id for card in home.cards(Corpus)} == {first.id, second.id}


def test_nothing_made_names_the_step_to_run(home: Store) -> None:
    with pytest.raises(MissingInput) as caught:
        home.latest(Dataset)
    assert caught.value.message == f"no dataset of sre in {home.root}"
    assert caught.value.hint == (
        "run `opslore prepare AGENT.yaml` first (or `opslore run AGENT.yaml`)"
    )


def test_finding_makes_and_moves_nothing(home: Store) -> None:
    first, second = corpus(home, "a"), corpus(home, "b")
    with store.finding():
        assert corpus(home, "a") == first
        with pytest.raises(NotMade) as caught:
            corpus(home, "c")
    assert (caught.value.kind, caught.value.begun) == ("corpus", False)
    assert caught.value.message == "no corpus with these settings"
    assert caught.value.hint == "run `opslore collect AGENT.yaml`"
    assert home.latest(Corpus) == second
    assert home.leftovers() == []


def test_a_failing_step_leaves_its_work_for_the_next_try(home: Store) -> None:
    def breaks(work: Path) -> dict[str, Any]:
        (work / "half").write_text("1")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        home.made(Corpus, {}, [], breaks, facts=["a"])
    assert home.cards(Corpus) == []
    assert len(home.leftovers()) == 1
    with store.finding(), pytest.raises(NotMade) as caught:
        corpus(home, "a")
    assert caught.value.begun

    def goes_on(work: Path) -> dict[str, Any]:
        assert (work / "half").read_text() == "1"
        (work / "scratch").mkdir()
        return make(work)

    card = home.made(Corpus, {}, [], goes_on, facts=["a"])
    assert sorted(p.name for p in home.path(card).iterdir()) == [
        "card.json",
        "documents.jsonl",
        "half",
    ]
    assert home.leftovers() == []


def test_a_folder_without_its_card_is_not_done(home: Store) -> None:
    card = corpus(home)
    (home.path(card) / "card.json").unlink()
    assert home.find(Corpus, card.id) is None
    assert home.cards(Corpus) == []
    assert corpus(home).id == card.id
    assert (home.path(card) / "card.json").is_file()


def test_a_torn_card_is_named_with_what_mends_it(home: Store) -> None:
    card = corpus(home)
    path = home.path(card) / "card.json"
    path.write_text(json.dumps({**card.model_dump(), "documents": "many"}))
    with pytest.raises(IntegrityError) as caught:
        home.latest(Corpus)
    assert caught.value.message == (
        f"{path}: not a Corpus card: Input should be a valid integer, unable to parse string as an"
        " integer"
    )
    assert str(path.parent) in caught.value.hint
    assert "run `opslore collect AGENT.yaml` again" in caught.value.hint


def test_a_card_in_another_ones_folder_is_refused(home: Store) -> None:
    first, second = corpus(home, "a"), corpus(home, "b")
    path = home.path(first) / "card.json"
    path.write_bytes((home.path(second) / "card.json").read_bytes())
    with pytest.raises(IntegrityError) as caught:
        home.find(Corpus, first.id)
    assert caught.value.message == (
        f"{path}: the card of another folder: its id is {second.id[:16]}"
    )


def test_a_folder_is_a_store_and_says_where_it_is(tmp_path: Path) -> None:
    home = store.opened(str(tmp_path / "runs"), "sre")
    assert (home.root, home.bucket) == (tmp_path / "runs", None)
    assert home.place == str(tmp_path / "runs")
    assert home.unfinished() == []
    assert not home.root.exists()


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    spans = [
        Span(file="ü\n\r\u0085\u2028.md", first=1, last=2),
        Span(file="b", first=3, last=4, commit="c"),
    ]
    store.write_rows(tmp_path / "rows.jsonl", spans)
    assert list(store.read_rows(tmp_path / "rows.jsonl", Span)) == spans


def test_a_torn_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"file": "a", "first": 1, "last": 2}\n{"file": "b"')
    with pytest.raises(IntegrityError) as caught:
        list(store.read_rows(path, Span))
    assert caught.value.message.startswith(f"{path}:2: not a Span: Invalid JSON")
    with pytest.raises(IntegrityError) as caught:
        list(store.read_rows(tmp_path / "none.jsonl", Span))
    assert caught.value.message == f"{tmp_path / 'none.jsonl'}: No such file or directory"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    store.write(path, "old")
    with pytest.raises(TypeError):
        store.write(path, 5)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    store.write(path, b"new")
    assert path.read_text() == "new"


KILLED = """
import sys, time
from pathlib import Path
from opslore.cards import Corpus
from opslore.store import Store

def make(work):
    done = work / "done"
    count = int(done.read_text()) if done.exists() else 0
    while count < 40:
        count += 1
        fresh = work / "done.tmp"
        fresh.write_text(str(count))
        fresh.rename(done)
        time.sleep(0.02)
    (work / "documents.jsonl").write_text(str(count))
    return {"documents": count, "dropped": 0, "digest": "d"}

print(Store(Path(sys.argv[1]), "sre").made(Corpus, {}, [], make).id)
"""


def test_killed_again_and_again_it_goes_on_and_makes_the_same_card(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = tmp_path / "sre" / ".work"
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
        before = _steps(done)
        until = time.monotonic() + 20
        while _steps(done) < before + 4 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
        assert Store(tmp_path, "sre").cards(Corpus) == []
    assert _steps(done) >= 12
    identity = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    card = Store(tmp_path, "sre").latest(Corpus)
    assert (card.id, card.documents) == (identity, 40)


def _steps(work: Path) -> int:
    found = list(work.glob("*/done"))
    return int(found[0].read_text()) if found else 0
