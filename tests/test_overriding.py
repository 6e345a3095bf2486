"""A person lets a gate pass: recorded, once, with a name and a reason, and never for G2 or G8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opslore import lineage, overriding, steps, store, summary
from opslore.cards import Bundle, Dataset, Evaluation, Gate
from opslore.errors import ConfigError, GateFailed, IntegrityError
from opslore.release import envelope
from opslore.store import Store


def gates(*failed: str) -> list[Gate]:
    names = ["G0", "G1", "G2", "G3", "G4", "G5", "G7", "G8"]
    common = {"title": "t", "measured": "m", "threshold": "n"}
    return [Gate(name=name, passed=name not in failed, **common) for name in names]


class World:
    def __init__(self, home: Store) -> None:
        self.home = home
        splits: dict[str, Any] = {"splits": {}, "dropped": 0, "digest": "d"}
        self.dataset = home.made(Dataset, "d", [], lambda work: splits)
        made = {"base_model": "b", "quantization": "f16", "gguf_sha256": "a", "commands": 1}
        self.bundle = home.made(Bundle, "b", [], lambda work: {**made, "template_sha256": "t"})

    def evaluation(self, *failed: str) -> Evaluation:
        fields = {"passed": not failed, "headline": "h", "scores": [], "gates": gates(*failed)}

        def make(work: Path) -> dict[str, Any]:
            store.write(work / "results.jsonl", '{"a": 1}\n')
            return fields

        return self.home.made(Evaluation, list(failed), [self.dataset, self.bundle], make)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Store(tmp_path / "runs", "a"))


def test_an_override_is_a_new_card_beside_the_old_one(world: World) -> None:
    old = world.evaluation("G4")
    new = overriding.override(world.home, old, "G4", " Ada  Lovelace ", "the base knows it")
    assert new.id != old.id
    assert new.parents == [*old.parents, old.id]
    assert (old.passed, new.passed) == (False, True)
    assert new.gates == old.gates
    (one,) = new.overrides
    assert (one.gate, one.person, one.reason) == ("G4", "Ada Lovelace", "the base knows it")
    assert one.at.endswith("+00:00")
    assert (world.home.path(new) / "results.jsonl").read_text() == '{"a": 1}\n'
    assert world.home.find(Evaluation, old.id) == old
    with pytest.raises(GateFailed):
        steps.check(old)
    steps.check(new)
    assert summary.verdict(new) == "passed, G4 overridden by Ada Lovelace"
    assert summary.verdict(old) == "refused by G4"


def test_it_is_what_every_later_step_finds(world: World) -> None:
    old = world.evaluation("G4")
    assert overriding.newest(world.home, old) == old
    new = overriding.override(world.home, old, "G4", "Ada", "why")
    assert world.evaluation("G4").id == old.id  # the step found its card again
    assert overriding.newest(world.home, old) == new
    assert lineage.evaluation_of(world.home, world.bundle) == new


def test_the_same_words_again_make_nothing(world: World) -> None:
    old = world.evaluation("G4")
    first = overriding.override(world.home, old, "G4", "Ada", "why")
    assert overriding.override(world.home, old, "G4", "Ada", "why") == first
    assert len(world.home.cards(Evaluation)) == 2


def test_two_failed_gates_need_two_overrides(world: World) -> None:
    old = world.evaluation("G4", "G1")
    one = overriding.override(world.home, old, "G4", "Ada", "why")
    assert not one.passed
    with pytest.raises(GateFailed) as caught:
        steps.check(one)
    assert [line[:2] for line in caught.value.reasons] == ["G1"]
    both = overriding.override(world.home, one, "G1", "Grace", "also")
    assert both.passed
    assert [o.gate for o in both.overrides] == ["G4", "G1"]
    assert overriding.newest(world.home, old) == both
    assert both.parents == [world.dataset.id, world.bundle.id, one.id]


@pytest.mark.parametrize(
    ("gate", "person", "reason", "said"),
    [
        ("G4", "", "why", "needs --person"),
        ("G4", "Ada", "  ", "needs --reason"),
        ("G4", "", "", "needs --person and --reason"),
        ("G2", "Ada", "why", "nobody can override G2 or G8"),
        ("G8", "Ada", "why", "nobody can override G2 or G8"),
        ("G9", "Ada", "why", "no such gate; there are G0, G1"),
        ("G1", "Ada", "why", "nothing to override"),
        ("G4", "A" * 1001, "why", "plain text of at most"),
        ("G4", "Ada", "a\x1b[2Jb", "plain text of at most"),
    ],
)
def test_it_is_refused(world: World, gate: str, person: str, reason: str, said: str) -> None:
    old = world.evaluation("G2", "G4", "G8")
    with pytest.raises(ConfigError, match=said):
        overriding.override(world.home, old, gate, person, reason)
    assert world.home.cards(Evaluation) == [old]


def signed(folder: Path, evaluation: Evaluation, **changed: Any) -> None:
    found = {**json.loads(evaluation.model_dump_json()), **changed}
    (folder / "evaluation.json").write_text(json.dumps(found))


def test_a_signed_override_is_accepted(world: World, tmp_path: Path) -> None:
    new = overriding.override(world.home, world.evaluation("G4"), "G4", "Ada", "why")
    signed(tmp_path, new)
    envelope.blessed(tmp_path, new.id)


@pytest.mark.parametrize("what", ["G2", "nobody", "no reason", "another gate", "none", "damaged"])
def test_a_release_whose_override_is_no_good_is_refused(
    world: World, tmp_path: Path, what: str
) -> None:
    new = overriding.override(world.home, world.evaluation("G4"), "G4", "Ada", "why")
    rows = json.loads(new.model_dump_json())["overrides"]
    changed: dict[str, Any] = {"overrides": rows}
    if what == "G2":
        rows[0]["gate"] = "G2"
        changed["gates"] = [json.loads(g.model_dump_json()) for g in gates("G2")]
    elif what == "nobody":
        rows[0]["person"] = ""
    elif what == "no reason":
        rows[0]["reason"] = ""
    elif what == "another gate":
        rows[0]["gate"] = "G1"
    else:
        changed["overrides"] = [] if what == "none" else ["G4"]
    signed(tmp_path, new, **changed)
    with pytest.raises(IntegrityError):
        envelope.blessed(tmp_path, new.id)
