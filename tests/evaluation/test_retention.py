"""S5 and G6 with real small models, and verdicts by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from opslore import models
from opslore.cards import Message
from opslore.config import Agent, Evaluate, Thresholds
from opslore.errors import DataError
from opslore.evaluation import gate_forgetting, retention, run
from opslore.evaluation.evidence import Evidence, ask
from opslore.evaluation.replies import Log
from opslore.evaluation.retention import Model, Question, Retention
from opslore.trainers import general


def test_there_are_enough_questions_of_every_kind_and_none_is_trained() -> None:
    every = retention.questions(1000)
    assert len(every) == len({q.id for q in every}) == len({q.text for q in every}) >= 250
    assert not {q.text for q in every} & set(general.prompts())
    assert len(retention.questions(Evaluate().general)) == Evaluate().general
    assert Evaluate().general >= gate_forgetting.ENOUGH


def test_no_question_holds_its_own_answer() -> None:
    """A reply that only repeats the question is not right."""
    told = [q for q in retention.questions(1000) if not q.wrong]
    assert not {q.id for q in told if retention.right(q, q.text)}


def test_the_text_is_long_enough() -> None:
    from transformers import AutoTokenizer

    folder = models.resolve("smollm2-135m-instruct").folder
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert len(tokenizer.encode(retention._data("general.txt"))) >= 3000


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("The capital of France is **Paris**.", True),
        ("PARIS", True),
        ("Parisians live there.", False),
        ("Paris, not Lyon", False),
        ("", False),
    ],
)
def test_an_answer_is_right_as_a_whole_word(reply: str, expected: bool) -> None:
    question = Question("s5-x", "What is the capital of France?", ["Paris"], ["Lyon"])
    assert retention.right(question, reply) is expected


@pytest.fixture(scope="module")
def measured(
    agent: Agent, made: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Retention, Path]:
    """The tiny model beside itself."""
    bundle, adapter = made
    work = tmp_path_factory.mktemp("s5")
    model = Model(lambda: run.server(agent, bundle / "model.gguf"), lambda: adapter / "merged")
    with Log(work / "results.jsonl") as log:
        found = retention.measure(log, 6, model, model, work / "base.jsonl", lambda *now: None)
    assert found is not None
    return found, work


def test_a_model_has_forgotten_nothing_beside_itself(measured: tuple[Retention, Path]) -> None:
    found, _ = measured
    assert found.tuned_right == found.base_right
    assert len(found.groups) == 6
    assert found.tuned_perplexity == found.base_perplexity
    # Random weights know nothing: worse than guessing among the vocabulary's tokens.
    assert found.tuned_perplexity > 1000


def test_what_was_asked_is_not_asked_again(measured: tuple[Retention, Path]) -> None:
    found, work = measured

    def refuse() -> None:
        raise AssertionError("opened again")

    nobody = Model(refuse, refuse)  # type: ignore[arg-type]
    with Log(work / "results.jsonl") as log:
        again = retention.measure(log, 6, nobody, nobody, work / "base.jsonl", lambda *now: None)
    assert again == found


def test_s5_asks_without_our_system_prompt(made: tuple[Path, Path], agent: Agent) -> None:
    with run.server(agent, made[0] / "model.gguf") as server:
        text = server.render([Message(role="user", content="What is 2 + 2?")])
    assert agent.system_prompt not in text


def evidence(tuned: int, base: int, perplexity: float) -> Evidence:
    n = 50
    marks = [[1.0] * k + [0.0] * (n - k) for k in (tuned, base)]
    names = [f"s5-{i}" for i in range(n)]
    found = Retention(marks[0], marks[1], names, perplexity, 20.0)
    return Evidence([], {}, {}, Thresholds(), resamples=200, retention=found)


@pytest.mark.parametrize(
    ("tuned", "base", "perplexity", "passes"),
    [
        (30, 30, 20.0, True),
        (29, 30, 22.0, True),
        (28, 30, 20.0, False),
        (30, 30, 22.1, False),
        (40, 30, 15.0, True),
        (30, 30, math.inf, False),
        (30, 30, math.nan, False),
    ],
)
def test_g6_asks_for_two_points_and_a_tenth(
    tuned: int, base: int, perplexity: float, passes: bool
) -> None:
    gate = ask("G6", "forgetting", gate_forgetting.forgetting, evidence(tuned, base, perplexity))
    assert gate.passed is passes, gate.measured


@pytest.mark.parametrize(
    ("asked", "lost", "won", "passes"),
    [
        (250, 15, 14, True),  # as measured once: both ways, no drop
        (250, 20, 11, True),  # -3.6 points, by chance in 0.075 of cases
        (250, 22, 9, False),  # -5.2 points, by chance in 0.015
        (250, 6, 0, False),  # -2.4 points and nothing won: no chance
        (250, 5, 0, True),  # two points
        (200, 20, 15, True),
        (199, 20, 15, False),  # too few questions to call a drop chance
        (60, 5, 3, False),
    ],
)
def test_g6_tells_a_drop_from_chance(asked: int, lost: int, won: int, passes: bool) -> None:
    base = [1.0] * lost + [0.0] * won + [1.0] * (asked - lost - won)
    tuned = [0.0] * lost + [1.0] * won + [1.0] * (asked - lost - won)
    found = Retention(tuned, base, [f"s5-{i}" for i in range(asked)], 20.0, 20.0)
    asks = Evidence([], {}, {}, Thresholds(), resamples=200, retention=found)
    gate = ask("G6", "forgetting", gate_forgetting.forgetting, asks)
    assert gate.passed is passes, gate.measured


def test_g6_names_the_questions_that_were_lost() -> None:
    verdict = gate_forgetting.forgetting(evidence(28, 30, 20.0))
    assert verdict.examples == ["s5-28", "s5-29"]


def test_g6_without_s5_has_failed() -> None:
    gone = Evidence([], {}, {}, Thresholds())
    with pytest.raises(DataError, match=r"evaluate\.general"):
        gate_forgetting.forgetting(gone)
    assert not ask("G6", "forgetting", gate_forgetting.forgetting, gone).passed
