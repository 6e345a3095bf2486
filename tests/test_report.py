"""The report page: whole, self-contained, escaped, and made of what the folders hold."""

from __future__ import annotations

import json
import math
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluation.world import ALERTS, documents, example

from opslore import report, store
from opslore.cards import (
    ESCALATE,
    Adapter,
    Bundle,
    Card,
    Corpus,
    Dataset,
    Dropped,
    Evaluation,
    Example,
    Result,
)
from opslore.config import Thresholds
from opslore.errors import IntegrityError
from opslore.evaluation import gate, scorers, scores
from opslore.evaluation.baseline import Names, bm25, first
from opslore.index import Index, entry
from opslore.sources import Collected
from opslore.sources.coverage import coverage

EVIL = "<script>alert(1)</script><img src=http://evil.example/x.png>"
COMMON = {"uri": "agent/x", "created": "2026-11-21T10:00:00+00:00", "made_with": "opslore 0.1.0"}


def questions(index: Index) -> list[Example]:
    """Prompts in several families; one of them is an attack on the page."""
    out = []
    forms = {
        "pager/test-0": "{} critical",
        "webhook/test-2": '{{"alertname": "{}", "pod": "cart-7d9f", "namespace": "shop"}}',
        "symptom/test-1": "hi, {}. any idea?",
        "noisy/test-5": "{} plz help asap",
    }
    for number, (title, _, symptoms, commands) in enumerate(ALERTS):
        split = "s3" if not commands else "s2" if number in (5, 9) else "s1"
        for family, form in forms.items():
            words = symptoms.split("\n")[0] if "symptom" in family else title
            out.append(example(index, number, split, family, form.format(words)))
    evil = example(index, 0, "s1", "evil", EVIL)
    return [*out, evil]


def answers(index: Index, asked: list[Example]) -> dict[tuple[str, str], Result]:
    """Replies of a model that is right four times of five, scored as an evaluation does."""
    rng = random.Random(1)
    names, scorer = Names(index), scorers.Scorer(index)
    found = {}
    for e in asked:
        wrong = rng.choice([a for a in index.entries if a.answer != e.target]).answer
        tuned = EVIL if e.family == "evil" else e.target if rng.random() < 0.8 else wrong
        replies = {
            "tuned": tuned,
            "constrained": tuned if e.family != "evil" else ESCALATE,
            "base": "To fix this, you should check the logs.",
            "first": first(e, index),
            "bm25": bm25(e, index),
            "lookup": names.lookup(e),
            "trained": tuned,
        }
        for column, reply in replies.items():
            more = {"stopped": 1.0, "same": 1.0, "rendered": 1.0}
            raw = Result(example=e.id, column=column, reply=reply, scores=more)
            found[column, e.id] = scorer.score(e, raw)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Card], dict[str, Path]]:
    """Cards and folders of a finished run."""
    folders = {
        k: tmp_path_factory.mktemp(k) for k in ("corpus", "dataset", "adapter", "evaluation")
    }
    index = Index([entry(d) for d in documents()])
    dropped = [Dropped(what="draft", reason="no heading"), Dropped(what="b", reason="too long")]
    found = coverage(Collected(documents(), dropped, "c0ffee"))
    store.write(folders["corpus"] / "coverage.json", found.model_dump_json())
    asked = questions(index)
    index.write(folders["dataset"])
    for split in ("s1", "s2", "s3"):
        rows = [e for e in asked if e.split == split]
        store.write_rows(folders["dataset"] / f"{split}.jsonl", rows)
    train = [e.model_copy(update={"split": "train"}) for e in asked if e.split == "s1"]
    store.write_rows(folders["dataset"] / "train.jsonl", train)
    store.write_rows(folders["dataset"] / "dropped.jsonl", dropped)
    losses = [
        {
            "step": i,
            "loss": 3 * math.exp(-i / 60) + 0.1 + 0.1 * math.sin(i),
            "valid_loss": 3 * math.exp(-i / 60) + 0.2 if i % 40 == 0 else None,
            "lr": 1e-3,
            "seconds": i * 0.8,
        }
        for i in range(1, 401)
    ]
    text = "".join(json.dumps(row) + "\n" for row in losses)
    store.write(folders["adapter"] / "loss.jsonl", text)
    results = answers(index, asked)
    store.write_rows(folders["evaluation"] / "results.jsonl", results.values())
    evidence = gate.Evidence(
        examples=asked,
        results=results,
        asked={"base": [e.id for e in asked], "trained": [e.id for e in asked]},
        thresholds=Thresholds(),
        resamples=500,
        templates=("ab" * 32, "ab" * 32),
        leaks=[],
    )
    gates, numbers = gate.judge(evidence), scores.scores(results, asked, 500)
    cards = [
        Corpus(id="c" * 64, documents=10, dropped=2, digest="d" * 64, commit="c0ffee", **COMMON),
        Dataset(id="d" * 64, splits={"s1": 29}, dropped=2, digest="e" * 64, **COMMON),
        Adapter(
            id="a" * 64, base_model="tiny", base_digest="f" * 64, steps=400, loss=0.1,
            valid_loss=math.nan, seconds=320.0, **COMMON,
        ),
        Bundle(
            id="b" * 64, base_model="tiny", quantization="q8_0", gguf_sha256="1" * 64,
            template_sha256="2" * 64, commands=12, **COMMON,
        ),
        Evaluation(
            id="e" * 64, passed=all(g.passed for g in gates), headline=scores.headline(numbers),
            scores=numbers, gates=gates, settings={"decoding": "greedy"}, **COMMON,
        ),
    ]  # fmt: skip
    return cards, folders


class Page(HTMLParser):
    """Collects tags, ids, links and text, and refuses unbalanced tags."""

    VOID = frozenset({"meta", "br", "circle", "line", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if name == "href" else []
            self.sources += [value or ""] if name in ("src", "srcset", "data", "action") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_self_contained(run: tuple[list[Card], dict[str, Path]]) -> None:
    text = report.page("agent-sre", *run)
    page = Page(text)
    assert not page.open
    assert page.sources == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    inside = [link for link in page.links if link.startswith("#")]
    assert inside == page.links
    assert {link[1:] for link in inside} <= set(page.ids)
    assert page.tags.count("svg") == 2


def test_what_a_person_typed_is_text_and_nothing_else(
    run: tuple[list[Card], dict[str, Path]],
) -> None:
    text = report.page(EVIL, *run)
    assert "<script" not in text
    assert "<img" not in text
    assert Page(text).text.count(EVIL) >= 4  # title, heading, question, answer


def test_every_wrong_answer_stands_beside_the_right_one(
    run: tuple[list[Card], dict[str, Path]],
) -> None:
    cards, folders = run
    page = Page(report.page("agent-sre", *run))
    rows = list(store.read_rows(folders["evaluation"] / "results.jsonl", Result))
    wrong = [r for r in rows if r.column == "tuned" and not r.scores["equivalent"]]
    assert len(wrong) > 5
    for row in wrong:
        assert f"x-{row.example}" in page.ids
        assert row.reason in page.text
        assert row.reply.strip() in page.text
    assert page.tags.count("article") == len(wrong)
    assert "RUNBOOK.md:1-10 @ c0ffee" in page.text
    evaluation = cards[-1]
    assert isinstance(evaluation, Evaluation)
    for line in gate.reasons(evaluation.gates):
        assert line in page.text
    assert evaluation.headline in page.text
    for word in ("no heading", "12", "Redis", "redis-cli FLUSHALL", "symptom/test-1", "unknown"):
        assert word in page.text


def test_a_half_finished_run_says_what_is_missing() -> None:
    page = Page(report.page("agent-sre", [], {}))
    assert not page.open
    assert "Not evaluated yet" in page.text
    for words in ("No coverage report", "No dataset", "No loss log", "No cards", "No gate"):
        assert words in page.text


def test_torn_files_are_named(run: tuple[list[Card], dict[str, Path]], tmp_path: Path) -> None:
    cards, folders = run
    (tmp_path / "coverage.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"coverage\.json: not a coverage report"):
        report.page("a", cards, {**folders, "corpus": tmp_path})
    (tmp_path / "loss.jsonl").write_text('{"step": 1, "loss"')
    with pytest.raises(IntegrityError, match=r"loss\.jsonl: not a loss log"):
        report.page("a", cards, {**folders, "adapter": tmp_path})
