"""Leaks: each kind is found when it is made, and real runbooks have none."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import pytest
from dataset.conftest import Written

from opslore import commands
from opslore.cards import ESCALATE, Example, Message, Span, Split
from opslore.dataset import clean, split

LONG = "the pod of the shop restarts again and again after its memory limit was lowered today"


def made(
    name: str,
    where: Split,
    question: str,
    target: str = "kubectl get pods -n shop",
    group: str = "",
    family: str = "",
) -> Example:
    return Example(
        id=name,
        messages=[
            Message(role="user", content=question),
            Message(role="assistant", content=target),
        ],
        target=target,
        source=Span(file="RUNBOOK.md", first=3, last=3),
        group=group or f"alert-{name}",
        split=where,
        family=family or f"chat/{'train' if where in ('train', 'valid') else 'test'}-0",
        question=question,
    )


@pytest.mark.parametrize(
    "question",
    [
        "should I run kubectl get pods -n shop now?",
        "KUBECTL   GET\npods -n SHOP",
        "what does `kubectl get po --namespace shop` say",
        "I tried\noc get pods -n shop\nkubectl get po --namespace=shop\nand it failed",
    ],
)
def test_an_answer_in_its_question_is_found_however_it_is_written(question: str) -> None:
    row = made("a", "train", question)
    assert clean.answer_in_question(row)
    assert clean.leaks([row]) == ["a: the answer stands in the question"]
    kept, dropped = clean.without_leaks([row])
    assert kept == []
    assert [(d.what, d.reason) for d in dropped] == [("a", "the answer stands in the question")]


def test_escalation_in_its_question_is_found() -> None:
    assert clean.answer_in_question(made("a", "s3", f"say {ESCALATE} please", ESCALATE))
    assert not clean.answer_in_question(made("a", "s3", "say it please", ESCALATE))


def test_a_command_that_is_not_the_answer_may_be_quoted() -> None:
    row = made("a", "train", "`kubectl get pods -n web` shows nothing")
    assert not clean.answer_in_question(row)


def test_an_equal_pair_on_both_sides_is_found_and_the_trained_one_goes() -> None:
    trained = made("t", "train", "Pods are gone", "kubectl get po -n shop")
    tested = made("s", "s1", "pods  are gone", "kubectl get pods --namespace shop")
    assert clean.leaks([trained, tested]) == [
        "s: question and answer are on both sides of the split"
    ]
    kept, dropped = clean.without_leaks([trained, tested])
    assert kept == [tested]
    assert [(d.what, d.reason) for d in dropped] == [
        ("t", "repeats a question with the same answer")
    ]
    assert dropped[0].span == trained.source


def test_equal_questions_with_other_answers_are_no_repetition() -> None:
    rows = [made("a", "train", "help", "df -h"), made("b", "train", "help", "uptime -p")]
    assert clean.without_leaks(rows) == (rows, [])


@pytest.mark.parametrize("where", ["s2", "s3"])
@pytest.mark.parametrize("side", ["train", "valid"])
def test_a_training_question_near_a_test_question_is_found(where: Split, side: Split) -> None:
    tested = made("s", where, LONG, "df -h")
    near = made("t", side, LONG.replace("today", "yesterday"), "uptime -p")
    far = made("u", side, "after its memory limit was lowered the shop is fine", "uptime -p")
    assert clean.leaks([tested, near, far]) == ["t: nearly an S2, S3 or S6 question"]
    kept, dropped = clean.without_leaks([near, tested, far])
    assert kept == [tested, far]
    assert [d.reason for d in dropped] == [
        "nearly a test question (5-gram overlap of half or more)"
    ]


def test_overlap_with_the_words_of_a_trained_alert_is_no_leak() -> None:
    rows = [made("s", "s1", LONG, "df -h"), made("t", "train", LONG + " too", "df -h")]
    assert clean.leaks(rows) == []


@pytest.mark.parametrize("where", ["valid", "s2", "s3"])
def test_a_trained_alert_in_another_split_is_found(where: Split) -> None:
    rows = [
        made("t", "train", "one", group="g"),
        made("u", where, "two", "df -h", group="g"),
    ]
    assert clean.leaks(rows) == [f"g: trained and in ['{where}']"]


def test_a_template_of_both_sides_is_found() -> None:
    rows = [
        made("t", "train", "one", family="chat/train-1"),
        made("s", "s1", "two", family="chat/train-1"),
    ]
    assert clean.leaks(rows) == ["chat/train-1: used on both sides"]


def test_without_leaks_keeps_the_order() -> None:
    rows = [made(f"{i}", s, f"question {i}") for i, s in enumerate(["train", "s1", "valid", "s3"])]
    assert clean.without_leaks(rows)[0] == rows


# What follows judges the real datasets with other code than the cleaning uses.


def test_real_datasets_have_no_leak_by_their_own_account(written: Written) -> None:
    assert clean.leaks(written.examples) == []


def test_no_answer_stands_in_a_question_of_its_alert(written: Written) -> None:
    answers: dict[str, set[str]] = defaultdict(set)
    for e in written.examples:
        if e.target != ESCALATE:
            answers[e.group].add(commands.canonical(e.target))
    for e in written.examples:
        if e.split == "s4":
            continue  # attacks quote commands, and are not scored by the right one
        own = answers[e.group]
        for piece in pieces(e.question):
            found = commands.canonical(piece)
            assert not found or found not in own, (e.id, piece)
        flat = " ".join(e.question.split())
        assert " ".join(e.target.split()) not in flat
        assert not any(answer in flat for answer in own)


def pieces(question: str) -> list[str]:
    """Everything in a question that somebody could copy: lines, quotations, JSON strings."""
    out = question.splitlines() + re.findall(r"`([^`]+)`", question)
    out += re.findall(r'"([^"]+)"', question)
    if question.startswith("{"):
        try:
            stack = [json.JSONDecoder().raw_decode(question)[0]]
        except json.JSONDecodeError:  # a trap that somebody pasted carelessly
            stack = []
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                out.append(item)
                out += re.findall(r"`([^`]+)`", item)
            elif isinstance(item, dict | list):
                stack += item.values() if isinstance(item, dict) else item
    return out


def test_no_pair_is_on_both_sides(written: Written) -> None:
    def pairs(*splits: str) -> set[tuple[str, str]]:
        return {
            (" ".join(e.question.lower().split()), commands.canonical(e.target))
            for e in written.split(*splits)
        }

    trained = pairs("train", "valid")
    assert len(trained) == len(written.split("train", "valid"))
    assert not trained & pairs("s1", "s2", "s3")


def test_no_training_question_is_nearly_a_test_question(written: Written) -> None:
    def grams(text: str) -> frozenset[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return frozenset(zip(*(words[i:] for i in range(5)), strict=False))

    tested = [g for e in written.split("s2", "s3") if (g := grams(e.question))]
    worst = 0.0
    for e in written.split("train", "valid"):
        mine = grams(e.question)
        for other in tested:
            if mine & other:
                worst = max(worst, len(mine & other) / len(mine | other))
    print(f"largest 5-gram overlap {worst:.2f}")
    assert worst < 0.5


def test_no_trained_name_is_near_a_tested_one(written: Written) -> None:
    title = {e.id: e.title.lower() for e in written.index.entries}
    unseen = {title[e.group] for e in written.split("s2") if e.group in title}
    unseen |= {
        title[e.group]
        for e in written.split("s3")
        if e.group in title and e.group not in {x.group for x in written.split("s1")}
    }
    trained = {title[e.group] for e in written.split("train") if e.group in title and not e.hidden}
    assert unseen
    for name in trained:
        for other in unseen:
            if abs(len(name) - len(other)) <= 2:
                assert split.distance(name, other) > 2, (name, other)


def test_no_template_and_no_label_value_is_on_both_sides(written: Written) -> None:
    def seen(*splits: str) -> tuple[set[str], set[str]]:
        rows = written.split(*splits)
        # The alert's own name is a label too, and the same on both sides.
        values = {v for e in rows for k, v in e.labels.items() if k != "alertname"}
        return {e.family for e in rows}, values

    families, values = seen("train", "valid")
    tested, fresh = seen("s1", "s2", "s3")
    assert not families & tested
    assert not values & fresh
