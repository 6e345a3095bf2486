"""Questions: both sides share nothing, every format fits every alert, labels can be read."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterator

import pytest
from dataset.conftest import Written
from entries import made

from opslore import commands
from opslore.cards import ESCALATE
from opslore.dataset import phrasing, wording
from opslore.dataset.phrasing import Question
from opslore.dataset.wording import Side
from opslore.index import TELLS, Entry
from opslore.stems import words

PLACES = {
    "title", "symptom", "partial", "keywords", "labels", "where", "severity", "time",
    "short",
}  # fmt: skip
SIDES: tuple[Side, Side] = ("train", "test")


def plain(template: str) -> str:
    """A template without its places, case and punctuation."""
    return " ".join(re.findall(r"\w+", re.sub(r"\{\w+\}", " ", template).lower()))


def test_no_template_writes_for_both_sides() -> None:
    templates = wording.data("templates")
    sides = {side: [t for kind in templates.values() for t in kind[side]] for side in SIDES}
    assert not set(sides["train"]) & set(sides["test"])
    # Templates of places only, such as "{symptom}", have no words that could be shared.
    words = {side: {plain(t) for t in sides[side]} - {""} for side in SIDES}
    assert not words["train"] & words["test"]


@pytest.mark.parametrize("kind", sorted(wording.data("templates")))
def test_a_format_has_templates_for_both_sides_with_known_places(kind: str) -> None:
    of = wording.data("templates")[kind]
    assert set(of) == {"names_alert", "train", "test"}
    for side in SIDES:
        assert len(set(of[side])) == len(of[side]) >= 3
        for template in of[side]:
            places = {name for _, name, _, _ in string.Formatter().parse(template) if name}
            assert places <= PLACES
            assert ("title" in places) == of["names_alert"]


def test_no_label_value_is_seen_on_both_sides() -> None:
    values = wording.data("values")
    assert set(values["train"]) == set(values["test"])
    sides = {side: {v for pool in values[side].values() for v in pool} for side in SIDES}
    both = sides["train"] & sides["test"]
    assert not both, sorted(both)


def test_made_up_values_are_not_seen_on_both_sides_either() -> None:
    seen = {
        side: {phrasing.value("gadget.name", side, random.Random(i)) for i in range(500)}
        for side in SIDES
    }
    assert seen["train"] == {f"gadget-{n}" for n in range(10, 50)}
    assert seen["test"] == {f"gadget-{n}" for n in range(50, 99)}


def test_values_are_words_of_one_line() -> None:
    for side in SIDES:
        for kind, pool in wording.data("values")[side].items():
            assert len(set(pool)) == len(pool), kind
            assert all(v == v.strip() and "\n" not in v and v for v in pool), kind


def test_chatter_is_split_too() -> None:
    lines = wording.data("chatter")
    assert not {plain(x) for x in lines["train"]} & {plain(x) for x in lines["test"]}


def test_synonyms_of_a_word_are_split_too() -> None:
    train, test = (wording.data("synonyms")[side] for side in SIDES)
    for word in set(train) & set(test):
        assert not set(train[word]) & set(test[word]), word


def test_unknown_technologies_are_split_and_never_ones_the_runbook_has() -> None:
    names: dict[Side, set[str]] = {"train": set(), "test": set()}
    for side in SIDES:
        for i in range(300):
            found = phrasing.unknown(side, "redis and kafka are ours", random.Random(i))
            assert found is not None
            entry, technology = found
            assert entry.answer == ESCALATE
            assert entry.section == technology
            names[side].add(technology)
    assert not names["train"] & names["test"]
    assert not {"kafka", "redis"} & (names["train"] | names["test"])


def questions(entry: Entry, side: Side) -> Iterator[tuple[str, Question]]:
    """An alert in every format, with two of its templates."""
    for kind in phrasing.formats():
        for number in (0, 5):
            rng = random.Random(f"{entry.id}/{kind}/{side}/{number}")
            yield kind, phrasing.phrase(entry, kind, side, number, rng)


def test_a_hole_for_the_alerts_name_is_filled_with_it() -> None:
    entry = made("AlertFlood", "Too many alerts.", "amtool silence add alertname=<alertname>")
    rng = random.Random(0)
    question = phrasing.phrase(entry, phrasing.WEBHOOK, "train", 0, rng)
    assert json.loads(question.text)["labels"]["alertname"] == "AlertFlood"


def telling(said: str) -> wording.Tells:
    """A measure that counts some words."""
    rare = frozenset(words(said))
    return lambda text: min(TELLS - 1, len(rare & frozenset(words(text)))) + 1


def test_a_question_quotes_what_tells_its_alert_from_others() -> None:
    vague = "This is a critical alert. Please take action as soon as you possibly can."
    entry = made("DiskFull", f"{vague} The inode table of a volume is exhausted.", "df -i")
    tells = telling("inode table exhausted volume")
    for kind in wording.data("templates"):
        for number in range(40):
            rng = random.Random(f"{kind}/{number}")
            text = phrasing.phrase(entry, kind, "train", number, rng, tells).text
            assert "critical alert" not in text, text


def test_a_part_is_cut_where_it_tells_something() -> None:
    rng = random.Random(0)
    text = "as soon as you possibly can do it the inode table of a volume is exhausted and so on"
    tells = telling("inode table exhausted volume")
    cuts = [wording.drawn(lambda: wording.fragment(text, rng), tells) for _ in range(200)]
    assert all(tells(cut) == TELLS for cut in cuts)
    assert len(set(cuts)) > 10
    some = telling("inode")
    assert all("inode" in wording.drawn(lambda: wording.keywords(text, rng), some) for _ in cuts)


def test_a_symptom_that_tells_nothing_is_quoted_all_the_same() -> None:
    entry = made("DiskFull", "This is a critical alert.", "df -i")
    rng = random.Random(0)
    text = phrasing.phrase(entry, "symptom", "train", 0, rng, telling("inode")).text
    assert text


@pytest.mark.parametrize("side", SIDES)
def test_every_format_fits_every_alert(example: Written, side: Side) -> None:
    for entry in example.index.entries:
        for kind, question in questions(entry, side):
            assert question.text.strip() == question.text != ""
            assert question.family.startswith(f"{kind}/{side}-")
            assert not re.search(
                r"\{(title|symptom|partial|keywords|labels|where)\}", question.text
            )
            named = entry.title.lower() in question.text.lower()
            assert named == phrasing.names_alert(kind), question.text


@pytest.mark.parametrize("side", SIDES)
def test_every_label_can_be_read_in_its_question(example: Written, side: Side) -> None:
    for entry in example.index.entries:
        for kind, question in questions(entry, side):
            for name, value in question.labels.items():
                assert value in question.text, (kind, name, value, question.text)
            if kind != phrasing.WEBHOOK:
                continue
            labels = find_labels(json.loads(question.text))
            assert labels["alertname"] == entry.title
            assert question.labels.items() <= labels.items()


def find_labels(body: object) -> dict[str, str]:
    """The labels in any of Alertmanager's shapes: the mapping that holds `alertname` and more."""
    if isinstance(body, list):
        return max((find_labels(x) for x in body), key=len, default={})
    if isinstance(body, dict):
        if "alertname" in body and "severity" in body:
            return body
        return max((find_labels(x) for x in body.values()), key=len, default={})
    return {}


@pytest.mark.parametrize("side", SIDES)
def test_what_the_labels_give_is_filled_into_the_answer(example: Written, side: Side) -> None:
    filled = 0
    for entry in example.index.entries:
        if entry.answer == ESCALATE:
            continue
        for _, question in questions(entry, side):
            target = commands.fill(entry.answer, question.labels)
            assert commands.canonical(target)
            for hole in commands.holes(entry.answer):
                if hole.kind in question.labels:
                    filled += 1
                    assert question.labels[hole.kind] in commands.canonical(target)
            left = {h.kind for h in commands.holes(target)}
            assert not left & question.labels.keys()
    assert filled > 300


def test_at_least_half_of_the_prompts_do_not_name_the_alert(written: Written) -> None:
    titles = {e.id: e.title.lower() for e in written.index.entries}
    for splits in (["train"], ["s1"], ["s2"]):
        rows = [e for e in written.split(*splits) if e.group in titles]
        unnamed = sum(titles[e.group] not in e.question.lower() for e in rows)
        assert unnamed >= len(rows) / 2


def test_a_symptom_that_says_the_name_does_not_give_it_away() -> None:
    said = "The alert diskfull fires. DiskFull says the filesystem has no blocks left."
    entry = made("DiskFull", said, "df -h")
    for side in SIDES:
        for kind, question in questions(entry, side):
            if not phrasing.names_alert(kind):
                assert "diskfull" not in question.text.lower()


@pytest.mark.parametrize("symptoms", ["", "Down.", "{labels} {0} {", "größer als 100 %: `x`\n\n-"])
def test_alerts_with_odd_or_no_symptoms_are_phrased_too(symptoms: str) -> None:
    entry = made("A+B (c)*", symptoms, "kubectl logs <pod> -n <namespace>")
    for side in SIDES:
        for _, question in questions(entry, side):
            assert question.text


def test_the_same_dice_write_the_same_question(example: Written) -> None:
    entry = example.index.entries[3]
    assert list(questions(entry, "train")) == list(questions(entry, "train"))
