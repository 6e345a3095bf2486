"""The log-odds of answering, by hand and with a real model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import tiny_models

from opslore.cards import Message
from opslore.servers import margin
from opslore.servers.llamacpp import Server
from opslore.servers.margin import Step


def logs(**chances: float) -> list[tuple[str, float]]:
    return [(word, math.log(chance)) for word, chance in chances.items()]


def test_a_command_is_compared_where_it_leaves_the_escalation() -> None:
    steps = [Step("kub", math.log(0.8), logs(kub=0.8, esc=0.15, e=0.05))]
    assert margin.margin(steps) == pytest.approx(math.log(0.8 / 0.2)), "e and esc both lead there"


def test_a_shared_beginning_counts_with_its_probability() -> None:
    steps = [
        Step("e", math.log(0.5), logs(e=0.5, k=0.5)),
        Step("tcdctl", math.log(0.6), logs(tcdctl=0.6, scalate=0.4)),
    ]
    assert margin.margin(steps) == pytest.approx(math.log(0.8 / 0.2))


def test_the_escalation_is_as_likely_as_all_of_its_tokens() -> None:
    steps = [
        Step("escalate", math.log(0.9), logs(escalate=0.9, kub=0.1)),
        Step("_to_human", math.log(0.5), logs(_to_human=0.5, _to_me=0.5)),
        Step("", math.log(0.1), []),
    ]
    assert margin.margin(steps) == pytest.approx(math.log(0.55 / 0.45)), "the end does not count"


def test_an_escalation_that_is_not_among_the_likeliest_is_less_likely_than_they() -> None:
    steps = [Step("kub", math.log(0.9), logs(kub=0.9, ssh=0.01))]
    assert margin.margin(steps) == pytest.approx(math.log(0.99 / 0.01))


def test_inside_json_the_braces_do_not_count() -> None:
    before = '{"command": "'
    steps = [
        Step('{"command', math.log(1e-6), []),
        Step('": "', math.log(1e-6), []),
        Step("kub", math.log(0.8), logs(kub=0.8, esc=0.2)),
    ]
    assert margin.margin(steps, before) == pytest.approx(math.log(0.8 / 0.2))


@pytest.mark.parametrize(
    "steps", [[], [Step("kub", -0.1, [])], [Step("esc", -0.1, [("esc", -0.1)])]]
)
def test_what_is_not_told_is_unknown(steps: list[Step]) -> None:
    assert math.isnan(margin.margin(steps))


def test_certainty_stays_finite() -> None:
    assert margin.margin([Step("escalate_to_human", 0.0, [])]) == -margin.LIMIT
    assert margin.margin([Step("kub", 0.0, [("kub", 0.0), ("ssh", -90.0)])]) == margin.LIMIT


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def test_llama_cpp_tells_the_margin_and_the_reply_stays_the_same(tiny: Path) -> None:
    turns = [Message(role="user", content="the pod restarts")]
    with Server(tiny, context=512, threads=1) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(margin, "TOP", 1)
            plain = server.chat(turns, max_tokens=12)
        reply = server.chat(turns, max_tokens=12)
    assert (reply.text, reply.tokens) == (plain.text, plain.tokens)
    assert reply.confidence == pytest.approx(plain.confidence, abs=1e-6)
    assert -margin.LIMIT <= reply.margin <= margin.LIMIT


def test_a_grammar_does_not_change_what_the_model_preferred(tiny: Path) -> None:
    turns = [Message(role="user", content="the pod restarts")]
    rule = f"root ::= {json.dumps('escalate_to_human')}"
    with Server(tiny, context=512, threads=1) as server:
        forced = server.chat(turns, grammar=rule, max_tokens=24)
    assert forced.text == "escalate_to_human"
    assert forced.margin > 5, "random weights find the escalation very unlikely"
