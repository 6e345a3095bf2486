"""An alert's split is decided by its name alone, and stays when the runbook grows."""

from __future__ import annotations

import random
import time
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opslore.cards import ESCALATE, Span
from opslore.dataset import split
from opslore.index import Entry

TESTS = {"s2", "s3-far", "s3-none"}
SECTIONS = ["apps", "nodes", "flux", "certs", "storage"]


def made(name: str, section: str = "apps", command: str = "df -h", number: int = 0) -> Entry:
    return Entry(
        id=f"{section}/{name}/{number}",
        title=name,
        section=section,
        severity="",
        symptoms="",
        answer=command,
        commands=[],
        span=Span(file="RUNBOOK.md", first=1, last=2),
        line=1,
    )


SENTINELS = [made(f"{'Sentinel' * 3}{s}", s) for s in SECTIONS]
"""One alert per section, so that every runbook below has the same five sections."""

NAMES = st.one_of(
    st.text("abAB", min_size=1, max_size=9),
    st.tuples(
        st.sampled_from(["Kube", "Node", "Etcd", "Flux"]),
        st.sampled_from(["Pod", "Disk", "Quota", "Source"]),
        st.sampled_from(["Down", "Full", "Slow", "Fulls", ""]),
    ).map("".join),
)
ENTRIES = st.lists(
    st.builds(made, NAMES, st.sampled_from(SECTIONS), st.sampled_from(["df -h", ESCALATE])),
    max_size=12,
    unique_by=lambda e: e.id,
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES, ENTRIES, st.integers(0, 3))
def test_a_growing_runbook_moves_no_alert(old: list[Entry], new: list[Entry], seed: int) -> None:
    known = {e.id for e in old}
    new = [e for e in new if e.id not in known]
    before = split.places([*SENTINELS, *old], 0.3, 0.1, seed)
    after = split.places([*new, *SENTINELS, *old], 0.3, 0.1, seed)
    names = split.clusters([e.title for e in [*SENTINELS, *old, *new]])
    joined = {names[e.title] for e in new}
    for entry in [*SENTINELS, *old]:
        if names[entry.title] not in joined:
            assert after[entry.id] == before[entry.id]


@settings(max_examples=200, deadline=None)
@given(ENTRIES, st.integers(0, 3))
def test_near_names_are_never_on_both_sides(entries: list[Entry], seed: int) -> None:
    where = split.places([*SENTINELS, *entries], 0.3, 0.2, seed)
    for a in entries:
        for b in entries:
            if split.distance(a.title.lower(), b.title.lower()) <= split.NEAR:
                sides = {"test" if where[e.id] in TESTS else where[e.id] for e in (a, b)}
                assert len(sides) == 1, (a.title, b.title, sides)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("abc", min_size=0, max_size=9), max_size=12))
@example(["abcdefgh", "abcdefghi"])
@example(["externalegresshigh", "externalingresshigh"])
@example(["", "a", "ab", "abc"])
def test_clusters_are_what_comparing_every_pair_gives(names: list[str]) -> None:
    groups = [{name} for name in set(names)]
    for a in names:
        for b in names:
            if split.distance(a, b) <= split.NEAR:
                one, two = (next(g for g in groups if x in g) for x in (a, b))
                if one is not two:
                    groups.remove(two)
                    one |= two
    assert split.clusters(names) == {name: min(g) for g in groups for name in g}


def test_upper_and_lower_case_are_one_name() -> None:
    assert split.clusters(["KubePodDown", "kubepoddown"]) == {
        "KubePodDown": "kubepoddown",
        "kubepoddown": "kubepoddown",
    }


def test_a_near_name_in_a_far_section_is_not_trained_either() -> None:
    names = [f"{a}{b}Alert" for a in ("Alpha", "Bravo", "Charlie") for b in ("One", "Two", "Six")]
    sections = [f"part-{i}" for i in range(40)]
    entries = [made(f"{name}{s[5:] * 3}", s) for s in sections for name in names]
    where = split.places(entries, 0.3, 0.0, 0)
    far = {e.section for e in entries if where[e.id] == "s3-far"}
    assert far
    twin = next(e for e in entries if e.section in far)
    near = made(twin.title + "x", next(s for s in sections if s not in far))
    assert split.places([*entries, near], 0.3, 0.0, 0)[near.id] == "s2"


def test_the_shares_are_what_was_asked_for() -> None:
    rng = random.Random(3)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    entries = [
        made("".join(rng.choices(letters, k=14)), f"section-{i % 400}", number=i)
        for i in range(4000)
    ]
    silent = [made("".join(rng.choices(letters, k=14)), "s", ESCALATE, i) for i in range(1000)]
    found = split.places([*entries, *silent], test=0.2, valid=0.05, seed=0)
    told = [found[e.id] for e in entries]
    far = told.count("s3-far") / len(told)
    assert far == pytest.approx(0.1, abs=0.04)
    rest = [p for p in told if p != "s3-far"]
    assert rest.count("s2") / len(rest) == pytest.approx(0.2, abs=0.03)
    assert rest.count("valid") / len(rest) == pytest.approx(0.05, abs=0.02)
    quiet = [found[e.id] for e in silent]
    assert set(quiet) == {"s3-none", "train"}
    assert quiet.count("s3-none") / len(quiet) == pytest.approx(0.5, abs=0.06)


def test_the_seed_and_nothing_else_changes_the_split() -> None:
    entries = [made(f"{'Alert' * 2}{i * i * 1117:08}", SECTIONS[i % 5]) for i in range(60)]
    one = split.places(entries, 0.3, 0.1, 0)
    assert split.places(entries[::-1], 0.3, 0.1, 0) == one
    assert split.places(entries, 0.3, 0.1, 1) != one


def test_three_sections_are_too_few_to_hold_one_back() -> None:
    entries = [made(f"Alert{'xyz'[i % 3] * 9}{i:09}", SECTIONS[i % 3]) for i in range(300)]
    for seed in range(10):
        assert "s3-far" not in split.places(entries, 0.5, 0.0, seed).values()


@settings(max_examples=300, deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_distance_counts_edits(a: str, b: str) -> None:
    @lru_cache(None)
    def edits(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        )

    assert split.distance(a, b) == edits(len(a), len(b))


def test_ten_thousand_names_are_compared_in_seconds() -> None:
    rng = random.Random(5)
    parts = ["Kube", "Node", "Pod", "Disk", "Flux", "Etcd", "Redis", "Quota", "Mesh", "Queue"]
    states = ["Full", "Slow", "Down", "Stuck", "Stale", "Failed", "Lagging", "Missing"]
    names = sorted(
        {
            "".join(rng.choices(parts, k=3)) + rng.choice(states) + rng.choice(parts) + str(i)
            for i in range(10_000)
        }
    )
    began = time.process_time()
    found = split.clusters(names)
    seconds = time.process_time() - began
    print(f"{len(names)} names in {seconds:.1f} s, {len(set(found.values()))} clusters")
    assert seconds < 60
