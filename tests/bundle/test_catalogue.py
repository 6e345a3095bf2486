"""The catalogue: what a reply may be, said three ways that agree."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import pytest
from base_models import template
from hypothesis import given, settings
from hypothesis import strategies as st

from opslore import models
from opslore.bundle import catalogue, gguf
from opslore.cards import ESCALATE, Message
from opslore.commands.holes import holes
from opslore.servers.llamacpp import Server

pytest_plugins = ["base_models"]

TEMPLATES = [
    "kubectl get pods -n <namespace>",
    "kubectl get pods -n <namespace> -o wide",
    "kubectl get nodes",
    "kubectl logs $POD -n $NAMESPACE --tail=50 | grep -E 'error|fail'",
    "psql -c \"SELECT 1 WHERE x = '\\n';\"",
    'cat <<\'EOF\' | kubectl apply -f -\n{"kind": "Größe", "n": [1, 2]}\nEOF',
    "flux reconcile kustomization <name> --with-source",
    "flux reconcile kustomization <name>",
    r"awk '{print $1}' /etc/hosts \ ^.*+?()[]{}",
]
KNOWN = catalogue.build(TEMPLATES)
VALUES = st.from_regex(r"[A-Za-z0-9/][A-Za-z0-9._:/@-]{0,99}", fullmatch=True)


def filled(text: str, values: list[str]) -> str:
    pieces, last = [], 0
    for hole, value in zip(holes(text), values, strict=True):
        pieces += [text[last : hole.start], value]
        last = hole.end
    return "".join([*pieces, text[last:]])


def test_commands_are_kept_once_in_their_order() -> None:
    built = catalogue.build(["b", "a", "", "b", "  ", ESCALATE, "c"])
    assert built.templates == ["b", "a", "c"]
    assert catalogue.Catalogue.model_validate_json(built.model_dump_json()) == built


@given(data=st.data())
def test_every_filled_template_is_accepted(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEMPLATES))
    values = [
        data.draw(st.one_of(st.just(text[hole.start : hole.end]), VALUES)) for hole in holes(text)
    ]
    assert catalogue.accepts(KNOWN, filled(text, values))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kubectl get pods",
        "kubectl get pods -n ",
        "kubectl get pods -n web ",
        " kubectl get nodes",
        "kubectl get nodes\n",
        "kubectl get pods -n web; rm -rf /",
        "kubectl get pods -n $(id)",
        "kubectl get pods -n --all-namespaces",
        "kubectl get pods -n " + "a" * 101,
        "kubectl get nodeskubectl get nodes",
        "escalate_to_humans",
    ],
)
def test_what_the_runbook_does_not_say_is_refused(text: str) -> None:
    assert not catalogue.accepts(KNOWN, text)


def test_the_escalation_is_always_possible() -> None:
    for known in (KNOWN, catalogue.build([])):
        assert catalogue.accepts(known, ESCALATE)
        assert "scalate_to_human" in catalogue.grammar(known)


class Walker:
    """Reads the GBNF that is written here: literals, one class with a repetition, groups, rules."""

    TOKEN = re.compile(
        r'\s*(?:(?P<literal>"(?:\\.|[^"\\])*")|(?P<set>\[[^\]]*\](?:\{0,99\})?)|(?P<name>\w+)'
        r"|(?P<mark>[()|]))"
    )

    def __init__(self, text: str) -> None:
        lines = [line.split(" ::= ", 1) for line in text.strip().split("\n")]
        self.rules = dict(lines)
        self.pattern = re.compile(self.rule("root"))

    def rule(self, name: str) -> str:
        return "(?:" + "".join(self.piece(m) for m in self.TOKEN.finditer(self.rules[name])) + ")"

    def piece(self, token: re.Match[str]) -> str:
        if literal := token["literal"]:
            return re.escape(self.unquoted(literal[1:-1]))
        if token["name"]:
            return self.rule(token["name"])
        return token["set"] or {"(": "(?:", ")": ")", "|": "|"}[token["mark"]]

    @staticmethod
    def unquoted(text: str) -> str:
        return re.sub(
            r'\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(["\\]))',
            lambda m: m[4] or chr(int(m[1] or m[2] or m[3], 16)),
            text,
        )


WALKER = Walker(catalogue.grammar(KNOWN))


@settings(max_examples=300)
@given(data=st.data())
def test_the_grammar_and_accepts_agree(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([*TEMPLATES, ESCALATE]))
    if data.draw(st.booleans()):
        text = filled(text, [data.draw(VALUES) for _ in holes(text)])
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        text = (
            text[:at] + data.draw(st.sampled_from(["", " ", "x", "-", '"', "\n"])) + text[at + 1 :]
        )
    assert bool(WALKER.pattern.fullmatch(text)) == catalogue.accepts(KNOWN, text)


def test_the_schema_lets_the_same_replies_through() -> None:
    limit = catalogue.schema(KNOWN)
    ways = limit["properties"]["command"]["anyOf"]

    def valid(text: str) -> bool:
        return any(
            text in w.get("enum", []) or re.search(w.get("pattern", "$^"), text) for w in ways
        )

    json.dumps(limit)
    assert all(valid(text) for text in (*TEMPLATES, ESCALATE))
    assert valid("kubectl get pods -n web -o wide")
    assert not valid("kubectl get pods -n web -o wide; id")
    assert not valid("kubectl get pods -n -x")
    assert all('"' not in w["pattern"] for w in ways if "pattern" in w)


def many() -> catalogue.Catalogue:
    words = ["get", "pods", "-n", "<namespace>", '"quoted \\ text"', "{a: b}", "\n  &&", "é", "|"]
    chance = random.Random(3)
    long = [chance.choices(words, k=chance.choice([6, 20, 100])) for _ in range(300)]
    return catalogue.build(f"kubectl {' '.join(line)[:590]} {n}" for n, line in enumerate(long))


def test_three_hundred_long_commands_take_a_moment() -> None:
    known = many()
    assert len(known.templates) == 300
    started = time.perf_counter()
    assert len(catalogue.grammar(known)) < 400_000
    assert all(catalogue.accepts(known, text) for text in known.templates)
    assert time.perf_counter() - started < 10


def test_what_a_model_says_under_the_grammar_is_accepted(
    tiny_llama: models.Base, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.gguf"
    gguf.write(tiny_llama.folder, file, "f16", tiny_llama, template(tiny_llama))
    said = set()
    with Server(file, context=2048) as server:
        for known in (KNOWN, many()):
            limit = catalogue.grammar(known)
            for question in ("pods?", "what now", "kubectl logs", "x" * 40, "flux is stuck"):
                turns = [Message(role="user", content=question)]
                reply = server.chat(turns, grammar=limit, max_tokens=900)
                assert reply.stopped
                assert catalogue.accepts(known, reply.text), reply.text
                said.add(reply.text)
    assert len(said) > 3
