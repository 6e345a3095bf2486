"""The metric itself: hand-labelled pairs, and the properties a canonical form must have."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore.commands import canonical, equivalent, parse, risk, template

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data/commands/pairs.jsonl")
    .read_text("utf-8")
    .splitlines()
]


def _verdict(pair: dict):
    return equivalent(pair["predicted"], pair["gold"], pair["labels"], pair["known"])


def test_pairs_are_enough_and_of_both_kinds():
    equal = sum(pair["equal"] for pair in PAIRS)
    assert equal >= 150
    assert len(PAIRS) - equal >= 150
    assert all(pair["why"] for pair in PAIRS)


def test_metric_agrees_with_the_labels():
    wrong = [pair for pair in PAIRS if _verdict(pair).equal != pair["equal"]]
    assert len(wrong) <= 0.02 * len(PAIRS), wrong


def test_no_unsafe_near_miss_is_accepted():
    accepted = [
        pair["predicted"]
        for pair in PAIRS
        if not pair["equal"]
        and _verdict(pair).equal
        and risk(pair["predicted"]).level in ("unknown", "destructive", "denied")
    ]
    assert accepted == []


@pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if "reason" in pair], ids=lambda p: p["why"]
)
def test_reason_names_the_difference(pair: dict):
    assert _verdict(pair).reason == pair["reason"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["why"])
def test_canonical_form_is_idempotent(pair: dict):
    for command in (pair["gold"], pair["predicted"]):
        once = canonical(command)
        assert canonical(once) == once


def test_equal_pairs_without_labels_have_one_canonical_form():
    pairs = [pair for pair in PAIRS if pair["equal"] and not pair["labels"]]
    differ = [pair for pair in pairs if canonical(pair["gold"]) != canonical(pair["predicted"])]
    # Holes of an unknown kind are compatible by their place, not by their name.
    assert len(differ) <= 2, differ


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "kubectl -n apps get kustomization <name> -o yaml",
            "kubectl get kustomization/<kustomization> --namespace=apps --output=yaml",
        ),
        (
            "kubectl get po -ojson -A|jq .items",
            "kubectl get pod --all-namespaces --output=json | jq .items",
        ),
        (
            "k exec -it $POD -- sh -c 'ls /x'",
            "kubectl exec pod/<pod> --stdin --tty -- sh -c 'ls /x'",
        ),
        ("NS=a; kubectl get po -n $NS", "kubectl get pod --namespace=a"),
        ("diff <vm-name-1> <vm-name-2>", "diff <virtualmachine> <virtualmachine-2>"),
        ("kubectl get pods -n '", ""),
        ("# only a comment", ""),
    ],
)
def test_canonical_form_by_example(command: str, expected: str):
    assert canonical(command) == expected


def test_template_masks_names_and_values():
    assert template("kubectl -n a get po <x> -o yaml | grep foo") == (
        "kubectl get pod/_ --namespace=_ --output=_ | grep _"
    )
    assert template("kubectl logs web-0 -n a") == template("kubectl -n $NS logs <pod>")
    assert template("kubectl logs web-0") != template("kubectl describe pod web-0")


def test_unparseable_is_never_equal():
    assert equivalent("kubectl get '", "kubectl get '").reason == "unparseable"
    assert equivalent("", "").reason == "unparseable"


def test_runbook_commands_parse_and_are_canonical(shared_data: Path):
    from markdown_it import MarkdownIt

    text = (shared_data / "runbooks/openshift-RUNBOOK.md").read_text("utf-8")
    blocks = [
        token.content
        for token in MarkdownIt().parse(text)
        if token.type == "fence" and token.info.strip() == "bash"
    ]
    assert len(blocks) > 300
    broken = [block for block in blocks if not parse(block).ok]
    # What is left are fences that the document itself cuts in the middle of a quote or a loop.
    assert 1 - len(broken) / len(blocks) >= 0.97, broken
    for block in blocks:
        once = canonical(block)
        assert canonical(once) == once


def test_canonical_takes_less_than_a_millisecond():
    commands = [pair["gold"] for pair in PAIRS]
    canonical(commands[0])
    canonical.cache_clear()
    start = time.process_time()
    for number, command in enumerate(commands):
        canonical(f"{command} --x{number}")
    assert (time.process_time() - start) / len(commands) < 0.003


@pytest.mark.parametrize(
    "text", ["{\U000f0000", "echo \U0001f600 {\U0010ffff", "kubectl \ue000get {\ufffd"]
)
def test_characters_beyond_ascii_do_not_crash_the_grammar(text: str):
    """The grammar's scanner indexes C's character table with code points: a real segfault."""
    for number in range(50):
        parse(f"{text}{chr(0x30000 + number)}")
    assert parse("echo \U0001f600").commands[0].words[1].text == "\U0001f600"


# --- properties

PIECES = """kubectl get delete pods -n --all
<pod> $NS ${X} {{x}} POD_NAME $(ls) ` ' " | || && ; & ( ) { }
< > >> << <<EOF EOF do done for in if fi while case esac # \\ * ~ [[ ]] $(( )) = X=1 -"""
TOKENS = st.sampled_from(
    [
        *PIECES.split(),
        "\n",
        " ",
        "\ue000",
        "\ud800",
        "\x00",
        "é",
    ]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=80), st.lists(TOKENS, max_size=25).map(" ".join)))
def test_nothing_raises_on_any_text(text: str):
    script = parse(text)
    assert script.ok or script.reason
    form = canonical(text)
    assert isinstance(template(text), str)
    assert equivalent(text, text).equal == bool(form) or not form
    risk(text)


WORDS = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)
FLAGS = st.lists(
    st.sampled_from(
        [
            ["-n", "apps"],
            ["--namespace=apps"],
            ["-o", "yaml"],
            ["-ojson"],
            ["-A"],
            ["-l", "app=<app>,b=$X"],
            ["--sort-by=.x"],
            ["-w"],
            ["--context", "'a b'"],
            ["--selector=x=y"],
        ]
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(FLAGS, st.randoms(use_true_random=False), st.sampled_from(["pods", "po/<pod>", "deploy $X"]))
def test_flag_order_and_place_do_not_matter(flags: list[list[str]], random, resource: str):
    plain = " ".join(["kubectl get", resource, *(" ".join(flag) for flag in flags)])
    shuffled = list(flags)
    random.shuffle(shuffled)
    cut = random.randint(0, len(shuffled))
    words = [*shuffled[:cut], ["get"], [resource], *shuffled[cut:]]
    other = "kubectl " + " ".join(" ".join(part) for part in words)
    assert canonical(plain) == canonical(other) != ""
    assert canonical(canonical(plain)) == canonical(plain)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.one_of(WORDS, TOKENS), min_size=1, max_size=12).map(" ".join))
def test_canonical_is_idempotent_on_generated_text(text: str):
    once = canonical(text)
    if once:
        assert canonical(once) == once
