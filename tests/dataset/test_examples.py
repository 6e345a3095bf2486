"""Examples: prompts as in serving, right answers, sealed splits, the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from dataset.conftest import SYSTEM, Written

import opslore
from opslore import commands, prompt, store
from opslore.cards import ESCALATE, Command, Document, Dropped, Example, Span
from opslore.config import Prepare
from opslore.dataset import clean, examples
from opslore.dataset.phrasing import Question
from opslore.dataset.writer import Writer
from opslore.errors import DataError
from opslore.index import Index

SECTIONS = {
    "apps": ["PodCrashLooping", "RolloutStuck", "QuotaExhausted", "JobFailed"],
    "nodes": ["DiskFillingUp", "ClockDrifting", "KubeletSilent", "SwapThrashing"],
    "flux": ["ChartStalled", "SourceUnreachable", "KustomizationDrift", "ImageScanLate"],
    "certs": ["CertificateExpiring", "IssuerBroken", "ChallengePending", "TrustBundleOld"],
    "storage": ["VolumeOrphaned", "SnapshotTooOld", "BackupMissing", "BucketUnwritable"],
}


def documents(count: int = 20, silent: int = 0) -> list[Document]:
    """Alerts with a command each; the last `silent` of them have none."""
    out = []
    names = [(section, name) for section in SECTIONS for name in SECTIONS[section]][:count]
    for i, (section, name) in enumerate(names):
        first = 20 * i + 1
        text = f"kubectl describe {name.lower()} <name> -n <namespace>"
        command = Command(text=text, role="resolution", first=first + 5, last=first + 5)
        said = f"The {name[:5].lower()} of {section} number {i} misbehaves in its own way {i * 7}."
        out.append(
            Document(
                id=f"doc-{i:02}",
                title=name,
                text=said,
                section=section,
                severity="warning",
                symptoms=said,
                span=Span(file="RUNBOOK.md", first=first, last=first + 9, commit="abc123"),
                commands=[command] if i < count - silent else [],
            )
        )
    return out


SMALL = Prepare(s1=12, s2=6, s3=10, s4=40, phrasings=4, calibrate=24)


def corpus(folder: Path, rows: list[Document]) -> Path:
    store.write_rows(folder / "documents.jsonl", rows)
    return folder


# The real datasets.


def test_prompts_are_what_serving_would_write(written: Written) -> None:
    count = written.settings.entries
    for e in written.examples[::3]:
        hits = written.index.search(e.question, count, e.hidden) if e.book == "open" else []
        assert e.messages[:-1] == prompt.messages(SYSTEM, e.question, hits)
        assert e.shown == [h.entry.id for h in hits]
        assert e.messages[-1].role == "assistant"
        assert e.messages[-1].content == e.target


def test_the_right_entry_is_never_forced_in() -> None:
    index = Index.of(documents())
    last = index.entries[-1]
    writer = Writer(SMALL, SYSTEM, index)
    for where in ("train", "s1", "s2"):
        found = writer.example(last, Question("qqq zzz", "chat/test-0"), where, 0)  # type: ignore[arg-type]
        assert last.id not in found.shown
        assert found.target == last.answer


def test_the_index_mostly_shows_the_right_entry(written: Written) -> None:
    asked = [e for e in written.split("s1", "s2") if e.target != ESCALATE]
    shown = sum(e.group in e.shown for e in asked) / len(asked)
    print(f"the index shows the right entry in {shown:.3f} of S1 and S2")
    assert shown > 0.9


def test_targets_are_the_alerts_answer_filled_from_the_labels(written: Written) -> None:
    for e in written.examples:
        entry = written.index.by_id.get(e.group)
        if entry is None or e.hidden or entry.answer == ESCALATE:
            assert e.target == ESCALATE
            assert e.accepted == []
        else:
            assert e.target == commands.fill(entry.answer, e.labels)
            assert e.source.first == entry.line
            assert e.source.file == entry.span.file


def test_s3_hides_the_whole_section(written: Written) -> None:
    sections = written.index.sections()
    trained = {e.group for e in written.split("train") if not e.hidden}
    hidden = [e for e in written.split("s3") if e.hidden]
    for e in written.examples:
        assert not set(e.hidden) & set(e.shown)
        if e.hidden:
            # Near misses, in training and in calibration, keep the alert's neighbours.
            whole = sections[written.index.by_id[e.group].section]
            assert e.hidden == whole if e.split == "s3" else e.group in e.hidden
            assert e.target == ESCALATE
    for e in hidden:
        assert not trained & set(e.hidden), "a family of S3 was trained"
    # A runbook may put all alerts of its far sections below four prompts; it has at least one.
    assert hidden


def test_every_s3_answer_is_to_escalate(written: Written) -> None:
    rows = written.split("s3")
    assert len(rows) >= 59, "the gate asks for that much evidence"
    assert {e.target for e in rows} == {ESCALATE}
    assert {e.book for e in rows} == {"open"}


def test_s1_asks_about_trained_alerts_in_new_words(written: Written) -> None:
    trained = {e.group for e in written.split("train") if not e.hidden}
    s1 = written.split("s1")
    assert len(s1) >= 100, "the gate asks for that much evidence"
    assert {e.group for e in s1} <= trained
    assert {e.group for e in written.split("s2")}.isdisjoint(trained)
    per_alert = Counter(e.group for e in s1)
    assert max(per_alert.values()) - min(per_alert.values()) <= 2
    assert len({e.family.split("/")[0] for e in s1}) >= 8


def test_the_shares_of_closed_book_and_escalation_are_the_configured_ones(
    written: Written,
) -> None:
    rows = written.split("train")
    closed = sum(e.book == "closed" for e in rows) / len(rows)
    assert closed == pytest.approx(written.settings.closed_book, abs=0.04)
    unknown = sum(e.group not in written.index.by_id or bool(e.hidden) for e in rows) / len(rows)
    assert unknown == pytest.approx(written.settings.unknown, abs=0.07)


def test_ids_are_unique(written: Written) -> None:
    count = Counter(e.id for e in written.examples)
    assert [name for name, n in count.items() if n > 1] == []


# A small one, written to disk.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("dataset")
    card = examples.prepare(SMALL, SYSTEM, corpus(room / "corpus", documents(silent=3)), room)
    (room / "card").write_text(json.dumps(card))
    return room


def test_messages_are_what_trainers_read(folder: Path) -> None:
    for split in clean.ORDER:
        for line in (folder / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert [list(turn) for turn in row["messages"]] == [["role", "content"]] * 3
            assert [t["role"] for t in row["messages"]] == ["system", "user", "assistant"]
            assert all(isinstance(t["content"], str) and t["content"] for t in row["messages"])
            assert row["messages"][-1]["content"] == row["target"]
            assert Example.model_validate_json(line).split == split


def test_the_card_counts_what_was_written(folder: Path) -> None:
    card = json.loads((folder / "card").read_text())
    for split, count in card["splits"].items():
        assert len((folder / f"{split}.jsonl").read_text().splitlines()) == count
    assert list(card["splits"]) == list(clean.ORDER)
    dropped = list(store.read_rows(folder / "dropped.jsonl", Dropped))
    assert len(dropped) == card["dropped"]
    assert all(row.reason for row in dropped)
    assert len(Index.read(folder).entries) == 20
    assert len(list(store.read_rows(folder / "documents.jsonl", Document))) == 20


def test_the_same_corpus_gives_the_same_bytes_in_another_process(
    folder: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from opslore.config import Prepare;"
        "from opslore.dataset import examples;"
        "examples.prepare(Prepare.model_validate_json(sys.argv[1]), sys.argv[2],"
        " Path(sys.argv[3]), Path(sys.argv[4]))"
    )
    source = str(Path(opslore.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", script, SMALL.model_dump_json(), SYSTEM,
         str(folder / "corpus"), str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": source},
        check=True,
    )  # fmt: skip
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(
        [*(f"{s}.jsonl" for s in clean.ORDER),
         "index.jsonl", "vectors.safetensors", "documents.jsonl", "dropped.jsonl"]
    )  # fmt: skip
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_change_in_any_split_changes_the_digest(folder: Path, tmp_path: Path) -> None:
    before = json.loads((folder / "card").read_text())["digest"]
    fewer = SMALL.model_copy(update={"s3": 9})
    after = examples.prepare(fewer, SYSTEM, folder / "corpus", tmp_path)["digest"]
    assert (tmp_path / "train.jsonl").read_bytes() == (folder / "train.jsonl").read_bytes()
    assert before != after


def test_a_new_alert_leaves_the_others_questions_alone() -> None:
    _, before, _ = examples.write(SMALL, SYSTEM, documents(19))
    _, after, _ = examples.write(SMALL, SYSTEM, documents(20))
    old = {e.id: e.question for e in before if e.group.startswith("doc") and not e.hidden}
    new = {e.id: e.question for e in after}
    shared = [name for name in old if name in new and name.startswith("train")]
    assert len(shared) > 30
    assert all(old[name] == new[name] for name in shared)


def test_random_order_shows_the_same_entries_in_another_order() -> None:
    index, ranked, _ = examples.write(SMALL, SYSTEM, documents())
    _, shuffled, _ = examples.write(
        SMALL.model_copy(update={"order": "random"}), SYSTEM, documents()
    )
    pairs = [(a, b) for a, b in zip(ranked, shuffled, strict=True) if a.book == "open"]
    assert all(sorted(a.shown) == sorted(b.shown) for a, b in pairs)
    assert any(a.shown != b.shown for a, b in pairs)
    b = next(b for a, b in pairs if a.shown != b.shown)
    hits = {h.entry.id: h for h in index.search(b.question, SMALL.entries, b.hidden)}
    assert b.messages[:-1] == prompt.messages(SYSTEM, b.question, [hits[i] for i in b.shown])


def test_an_alert_with_a_twin_accepts_the_twins_answer_too() -> None:
    rows = documents()
    twin = rows[0].commands[0].model_copy(update={"text": "flux get sources git -n <namespace>"})
    rows.append(rows[0].model_copy(update={"id": "twin", "commands": [twin]}))
    _, found, _ = examples.write(SMALL, SYSTEM, rows)
    mine = [
        e
        for e in found
        if e.group in ("doc-00", "twin") and e.target != ESCALATE and e.split != "s4"
    ]
    assert mine
    for e in mine:
        assert len(e.accepted) == 1
        assert {e.target.split()[0], e.accepted[0].split()[0]} == {"kubectl", "flux"}
        if "namespace" in e.labels:
            assert e.labels["namespace"] in e.accepted[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "0 alerts, 0 of them with a command left for training; at least 3 are needed"),
        (
            documents(6, silent=6),
            "6 alerts, 0 of them with a command left for training; at least 3 are needed",
        ),
        (
            documents(2),
            "2 alerts, 2 of them with a command left for training; at least 3 are needed",
        ),
    ],
)
def test_too_few_alerts_is_an_error_that_counts_them(
    rows: list[Document], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        examples.prepare(SMALL, SYSTEM, corpus(tmp_path / "corpus", rows), tmp_path)
    assert caught.value.message == said
    assert caught.value.hint == "add alerts with a command under Resolution, or lower prepare.test"
    assert not (tmp_path / "train.jsonl").exists()


def test_a_leak_that_cleaning_cannot_mend_is_an_error(tmp_path: Path) -> None:
    families: list[str] = []

    def careless(index: Index, rows: list[Example]) -> tuple[list[Example], list[Dropped]]:
        extra = rows[0].model_copy(
            update={"id": "extra", "question": "utterly new words", "split": "s1"}
        )
        families.append(extra.family)
        return [extra], []

    with pytest.raises(DataError) as caught:
        examples.prepare(
            SMALL, SYSTEM, corpus(tmp_path / "corpus", documents()), tmp_path, careless
        )
    assert caught.value.message == f"the splits leak:\n{families[0]}: used on both sides"
    assert caught.value.hint == "give the alerts distinct names and symptoms"


def test_everything_may_be_closed_book_or_unknown() -> None:
    settings = SMALL.model_copy(update={"closed_book": 1.0, "unknown": 0.9})
    _, found, _ = examples.write(settings, SYSTEM, documents())
    trained = [e for e in found if e.split == "train"]
    assert all(e.book == "closed" for e in trained if not e.hidden)
    assert sum(e.target == ESCALATE for e in trained) > len(trained) / 2
    assert {e.book for e in found if e.split.startswith("s")} == {"open"}


def test_validation_questions_are_apart_from_training_and_tests(written: Written) -> None:
    rows = written.split("calibrate")
    assert len(rows) >= 120
    assert {e.target == ESCALATE for e in rows} == {True, False}
    untested = {e.group for e in written.examples if e.split in ("s2", "s3")}
    assert not {e.group for e in rows if not e.group.startswith("unknown:")} & untested
    said = {(e.question, e.target) for e in written.examples if e.split != "calibrate"}
    assert not {(e.question, e.target) for e in rows} & said
