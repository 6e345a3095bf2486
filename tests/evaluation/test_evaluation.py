"""The whole evaluation on a real, tiny model: llama.cpp, transformers, the index, the gate."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from opslore import models, store
from opslore.bundle import catalogue
from opslore.cards import Evaluation, Example, Message, Result, Score
from opslore.config import Agent
from opslore.dataset import clean
from opslore.errors import DataError, IntegrityError, MissingInput
from opslore.evaluation import hygiene, numbers, run
from opslore.evaluation.numbers import summary
from opslore.evaluation.scores import COLUMNS, find, headline
from opslore.evaluation.table import interval, table
from opslore.servers import llamacpp

Folders = tuple[Path, Path]
Whole = tuple[dict[str, Any], Path, list[tuple[str, int, int]]]


def rows(work: Path) -> list[dict[str, object]]:
    """The results without their seconds, which nobody can repeat."""
    found = [row.model_dump() for row in store.read_rows(work / "results.jsonl", Result)]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def card(fields: dict[str, Any]) -> Evaluation:
    return Evaluation(id="0" * 64, uri="u", created="c", made_with="m", **fields)


def test_every_column_is_asked(whole: Whole) -> None:
    _, work, told = whole
    found = rows(work)
    counts = {column: sum(row["column"] == column for row in found) for column in COLUMNS}
    assert [counts[c] for c in COLUMNS] == [23, 23, 4, 0, 13, 23, 23, 20, 6]
    assert {column for column, done, total in told if done == total} == set(COLUMNS) - {"champion"}
    assert all(done <= total for _, done, total in told)


def test_a_model_that_says_nonsense_never_ships(whole: Whole) -> None:
    evaluation = card(whole[0])
    assert not evaluation.passed
    failed = {g.name for g in evaluation.gates if not g.passed}
    assert failed == {"G1", "G3", "G4", "G7"}
    assert evaluation.headline.startswith("The prompt's own first entry beats the model")
    answered = {
        column: found.right
        for column in ("tuned", "first")
        if (found := find(evaluation, column, "s3", "answered"))
    }
    assert evaluation.headline.endswith(
        f"the model answered {answered['tuned']}, the first entry {answered['first']}."
    )


def test_the_baseline_is_as_good_as_its_index(whole: Whole) -> None:
    evaluation = card(whole[0])
    s1 = find(evaluation, "bm25", "s1")
    assert s1 is not None
    assert s1.value >= 0.9
    assert find(evaluation, "tuned", "s1", "equivalent:symptom") is not None
    assert find(evaluation, "bm25", "s1", "equivalent:symptom") is not None


def test_trained_weights_and_gguf_agree(whole: Whole) -> None:
    """float32 in transformers against f16 in llama.cpp, 6 prompts of 8 tokens each."""
    found = rows(whole[1])
    scores = [row["scores"] for row in found if row["column"] == "trained"]
    assert [s["rendered"] for s in scores] == [1.0] * 6
    assert sum(s["same"] for s in scores) >= 5
    assert summary(card(whole[0]))["parity_gguf"] >= 0.83


def test_constrained_replies_are_in_the_catalogue_or_cut(whole: Whole, made: Folders) -> None:
    known = catalogue.Catalogue.model_validate_json((made[0] / "catalogue.json").read_bytes())
    found = [row for row in rows(whole[1]) if row["column"] == "constrained"]
    starts = tuple(t[:3] for t in [*known.templates, "escalate_to_human"])
    for row in found:
        whole_reply = row["scores"]["stopped"] == 1.0
        assert catalogue.accepts(known, row["reply"]) or not whole_reply
        assert row["reply"].startswith(starts)


def test_a_free_reply_that_the_grammar_allows_is_what_the_grammar_gives() -> None:
    """The shortcut of the constrained column, on a real model that ends its turns."""
    asked = ["Say yes or no: is fire hot?", "Name one colour.", "What is the capital of France?"]
    turns = [[Message(role="user", content=f"{q} Answer with one short line.")] for q in asked]
    with llamacpp.Server(models._bundled("smollm2-135m-instruct"), context=512) as server:
        free = list(server.chat_many(turns, max_tokens=40))
        assert sum(reply.stopped for reply in free) >= 2
        others = ["Yes, fire", "Blue", "The capital", "No", "Paris is", "kubectl get pods"]
        known = catalogue.build([*(reply.text for reply in free if reply.stopped), *others])
        limited = list(server.chat_many(turns, grammar=catalogue.grammar(known), max_tokens=40))
    for one, other in zip(free, limited, strict=True):
        if one.stopped and catalogue.accepts(known, one.text):
            assert other.text == one.text
            assert other.stopped


@pytest.mark.parametrize("share", [0.35, 0.97])
def test_a_torn_file_goes_on_to_the_same_results(
    agent: Agent, dataset: Path, made: Folders, tmp_path: Path, whole: Whole, share: float
) -> None:
    first, work, _ = whole
    text = (work / "results.jsonl").read_bytes()
    # Cut in the middle of a line, as a kill does.
    at = text.index(b"\n", int(len(text) * share)) - 20
    store.write(tmp_path / "results.jsonl", text[:at])
    assert run.evaluate(agent, dataset, *made, tmp_path) == first
    assert rows(tmp_path) == rows(work)


def test_a_run_stopped_between_two_replies_asks_only_what_is_missing(
    agent: Agent, dataset: Path, made: Folders, tmp_path: Path, whole: Whole
) -> None:
    def stop(column: str, done: int, total: int) -> None:
        if (column, done) == ("tuned", 7):
            raise KeyboardInterrupt

    def seconds() -> dict[str, float]:
        found = store.read_rows(tmp_path / "results.jsonl", Result)
        return {row.example: row.seconds for row in found if row.column == "tuned"}

    with pytest.raises(KeyboardInterrupt):
        run.evaluate(agent, dataset, *made, tmp_path, stop)
    kept = seconds()
    assert len(kept) == 7
    told: list[tuple[str, int, int]] = []
    assert run.evaluate(agent, dataset, *made, tmp_path, lambda *now: told.append(now)) == whole[0]
    after = seconds()
    assert len(after) == 23
    assert {name: after[name] for name in kept} == kept
    assert next(done for column, done, _ in told if column == "tuned") == 7


def test_base_replies_are_kept_across_evaluations(
    agent: Agent, dataset: Path, made: Folders, tmp_path: Path, cache: Path, whole: Whole
) -> None:
    # Were the base model asked again, its GGUF would be made again.
    for path in (cache / "base-gguf").glob("*.gguf"):
        path.unlink()
    run.evaluate(agent, dataset, *made, tmp_path)
    assert not list((cache / "base-gguf").glob("*.gguf"))
    assert rows(tmp_path) == rows(whole[1])


def test_missing_parts_are_named_before_anything_is_asked(
    agent: Agent, dataset: Path, made: Folders, tmp_path: Path
) -> None:
    bundle, adapter = made
    with pytest.raises(MissingInput, match=r"config\.json"):
        run.evaluate(agent, dataset, bundle, tmp_path / "nowhere", tmp_path)
    with pytest.raises(MissingInput, match=r"model\.gguf") as caught:
        run.evaluate(agent, dataset, tmp_path / "nowhere", adapter, tmp_path)
    assert caught.value.hint == "run `opslore export AGENT.yaml`"
    with pytest.raises(DataError, match="no test prompt"):
        run.evaluate(agent, tmp_path, bundle, adapter, tmp_path)
    assert not (tmp_path / "results.jsonl").exists()


def test_a_dataset_with_the_same_id_twice_is_refused(dataset: Path, tmp_path: Path) -> None:
    text = (dataset / "s2.jsonl").read_text()
    (tmp_path / "s2.jsonl").write_text(text + text)
    with pytest.raises(DataError, match="2 test prompts share an id"):
        run.read(tmp_path)
    (tmp_path / "s2.jsonl").write_text(text[:-30])
    with pytest.raises(IntegrityError, match=r"s2\.jsonl:2"):
        run.read(tmp_path)


def _leaks(folder: Path, tests: list[Example]) -> list[str] | None:
    rows = hygiene.trained(folder)
    return clean.leaks([*rows, *tests]) if rows else None


def test_leaks_are_counted_from_the_files(dataset: Path, tmp_path: Path) -> None:
    tests = run.read(dataset)
    assert _leaks(dataset, tests) == []
    assert _leaks(tmp_path, tests) is None
    seen = next(store.read_rows(dataset / "train.jsonl", Example))
    copied = seen.model_copy(update={"question": tests[0].question, "target": tests[0].target})
    store.write_rows(tmp_path / "train.jsonl", [copied])
    assert any("both sides" in line for line in _leaks(tmp_path, tests) or [])
    (tmp_path / "train.jsonl").write_text('{"id": "tor')
    assert _leaks(tmp_path, tests) is None
    (tmp_path / "train.jsonl").write_text("")
    assert _leaks(tmp_path, tests) is None


def test_templates_of_gguf_and_trained_model(made: Folders, tmp_path: Path) -> None:
    found = hygiene.templates(*made)
    assert found is not None
    assert found[0] == found[1]
    assert hygiene.templates(made[0], tmp_path) is None
    assert hygiene.templates(tmp_path, made[1]) is None


def test_the_table_fits_a_terminal_and_shows_every_column(whole: Whole) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(card(whole[0])))
    text = console.export_text()
    assert all(column in text for column in COLUMNS if column not in ("constrained", "champion"))
    assert all(name in text for name in ("S1_low", "S2", "S3_error", "S1 webhook", "S6", "unsafe"))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
    parity = next(line for line in text.splitlines() if line.startswith("parity"))
    assert re.fullmatch(r"parity +[01]\.\d\d", parity.rstrip())


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.93, 0.881, 0.957, ".88-.96"),
        (1.0, 0.984, 1.0, ".98-1.0"),
        (0.0, 0.0, 0.02, ".00-.02"),
        (-0.2, -0.35, 0.0, "± .20"),
    ],
)
def test_error_bars_as_text(value: float, low: float, high: float, text: str) -> None:
    bars = {"value": value, "low": low, "high": high}
    assert interval(Score(name="x", column="c", split="s1", right=0, n=9, **bars)) == text


def test_summary_has_the_names_a_benchmark_reads(whole: Whole) -> None:
    assert set(summary(card(whole[0]))) == {
        "S1", "S1_low", "S2", "S3_error", "S6", "unsafe",
        "base_S1", "baseline_S1", "closed_S1", "parity_gguf",
    }  # fmt: skip


def test_the_benchmark_has_every_column_with_its_bounds(whole: Whole) -> None:
    evaluation = card(whole[0])
    found = numbers.bench(evaluation)
    assert summary(evaluation).items() <= found.items()
    for suffix in ("", "_constrained", "_base", "_baseline", "_first"):
        for key in ("S1", "S2", "S3_error", "S6"):
            low, value, high = (found[f"{key}{suffix}{end}"] for end in ("_low", "", "_high"))
            assert 0 <= low <= value <= high <= 1, (key, suffix)
        assert found[f"S4_n{suffix}"] >= found[f"S4_unsafe{suffix}"] >= 0
        assert found[f"S4_outside{suffix}"] <= found[f"S4_n{suffix}"]
        assert 0 <= found[f"ungrounded{suffix}"] <= 1
    assert (found["S4_n"], found["S4_n_base"]) == (3, 2)
    s1 = find(evaluation, "tuned", "s1")
    assert s1 is not None
    assert found["S1_low"] == round(s1.bound, 4)  # what G1 reads, not the two-sided bound


def test_without_s1_the_headline_claims_nothing() -> None:
    assert headline([]) == "No S1 prompt was asked: nothing is known about this model."
