"""The Modelfile: Ollama's template writes the prompt that the model was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gemma_world
import pytest

from opslore import models
from opslore.bundle import modelfile
from opslore.cards import Message
from opslore.errors import ConfigError, DataError
from opslore.servers.template import Template

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEFAULT = "<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n"

CONVERSATIONS = {
    "alert": [("system", "You are an SRE.\nBe short."), ("user", 'Pod {{ down }}?\n"x"')],
    "no system": [("user", "Pod down?")],
    "longer": [
        ("system", "S"),
        ("user", "one"),
        ("assistant", "kubectl get pods"),
        ("user", "two"),
    ],
    "longer, no system": [("user", "one"), ("assistant", "two\n"), ("user", "three")],
}


class Go:
    """The part of Go's text/template that the templates here use."""

    ACTION = re.compile(r"(\s*)\{\{-\s|\{\{|\s-\}\}(\s*)|\}\}")

    def __init__(self, text: str) -> None:
        text = re.sub(r"\s*\{\{- ", "{{ ", text)
        text = re.sub(r" -\}\}\s*", " }}", text)
        pieces = re.split(r"\{\{(.*?)\}\}", text)
        self.tokens = [(bool(i % 2), p.strip() if i % 2 else p) for i, p in enumerate(pieces)]

    def render(self, messages: list[tuple[str, str]]) -> str:
        turns = [{"Role": role, "Content": content} for role, content in messages]
        self.variables: dict[str, object] = {"$": {"Messages": turns}}
        tree, rest = self.block(iter(self.tokens))
        assert rest == ""
        return "".join(self.run(tree, {"Messages": turns}))

    def block(self, tokens: Iterator[tuple[bool, str]]) -> tuple[list[tuple[str, object]], str]:
        """Statements up to `end` or `else`, and which of them it was."""
        tree: list[tuple[str, object]] = []
        for action, text in tokens:
            if not action:
                tree.append(("text", text))
            elif text.startswith(("range ", "if ")):
                then, closed = self.block(tokens)
                other = self.block(tokens)[0] if closed == "else" else []
                tree.append((text.split(" ", 1)[0], (text.split(" ", 1)[1], then, other)))
            elif text in ("end", "else"):
                return tree, text
            else:
                tree.append(("do", text))
        return tree, ""

    def run(self, tree: list[tuple[str, object]], dot: dict[str, object]) -> Iterator[str]:
        for kind, body in tree:
            if kind == "text":
                yield str(body)
            elif kind == "range":
                names, source = body[0].split(":=")
                index, item = (name.strip() for name in names.split(","))
                for number, element in enumerate(self.value(source, dot)):
                    self.variables |= {index: number, item: element}
                    yield from self.run(body[1], element)
            elif kind == "if":
                yield from self.run(body[1] if self.value(body[0], dot) else body[2], dot)
            elif found := re.match(r"(\$\w+)\s*:?=(.*)", str(body), re.DOTALL):
                self.variables[found[1]] = self.value(found[2], dot)
            else:
                yield str(self.value(str(body), dot))

    def value(self, text: str, dot: dict[str, object]) -> object:
        words = re.findall(r'"(?:\\.|[^"\\])*"|[()]|[^\s()]+', text)
        value, rest = self.call(words, dot)
        assert not rest, text
        return value

    def call(self, words: list[str], dot: dict[str, object]) -> tuple[object, list[str]]:
        """A function with its arguments, or one operand; up to a closing bracket."""
        operands: list[object] = []
        name = words[0] if words[0] in FUNCTIONS else ""
        words = words[1:] if name else words
        while words and words[0] != ")":
            if words[0] == "(":
                value, words = self.call(words[1:], dot)
                words = words[1:]
            else:
                value, words = self.operand(words[0], dot), words[1:]
            operands.append(value)
        if name:
            return FUNCTIONS[name](*operands), words
        assert len(operands) == 1, operands
        return operands[0], words

    def operand(self, word: str, dot: dict[str, object]) -> object:
        if word.startswith('"'):
            return word[1:-1].replace("\\n", "\n").replace('\\"', '"')
        if word.isdigit():
            return int(word)
        if word.startswith("."):
            return dot[word[1:]]
        name, _, inside = word.partition(".")
        found = self.variables[name]
        return found[inside] if inside else found


FUNCTIONS = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "not": lambda a: not a,
    "len": len,
    "slice": lambda items, first: items[first:],
    "printf": lambda form, *values: form % values,
}


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize(
    ("jinja", "default"), [(SMOLLM2, DEFAULT), (models.GEMMA_TEMPLATE, "")], ids=["chatml", "gemma"]
)
def test_go_and_jinja_write_the_same_prompt(
    jinja: str, default: str, turns: list[tuple[str, str]]
) -> None:
    messages = [Message(role=role, content=content) for role, content in turns]
    wanted = Template(jinja, "test", bos_token="").render(messages)
    assert Go(modelfile.go_template(jinja, default)).render(turns) == wanted


def test_a_begun_reply_is_left_open() -> None:
    turns = [("user", "Pod down?"), ("assistant", "kubectl get")]
    for jinja in (SMOLLM2, models.GEMMA_TEMPLATE):
        said = Go(modelfile.go_template(jinja)).render(turns)
        assert said.endswith("\nkubectl get")


def test_a_modelfile_in_full() -> None:
    text = modelfile.render(
        "agent-sre.gguf",
        models.GEMMA_TEMPLATE,
        'You are an SRE. Say "escalate_to_human" when unsure.',
        modelfile.stops(models.GEMMA_TEMPLATE),
        {"num_ctx": 4096, "temperature": 0},
    )
    template = modelfile.go_template(models.GEMMA_TEMPLATE)
    assert text == (
        "FROM ./agent-sre.gguf\n"
        f'TEMPLATE """{template}"""\n'
        'SYSTEM """You are an SRE. Say "escalate_to_human" when unsure."""\n'
        'PARAMETER stop """<end_of_turn>"""\n'
        "PARAMETER num_ctx 4096\n"
        "PARAMETER temperature 0\n"
    )


def test_functiongemma_gets_ollamas_own_renderer() -> None:
    jinja = gemma_world.FUNCTION
    text = modelfile.render("m.gguf", jinja, "S", modelfile.stops(jinja), {})
    assert text.startswith(
        'FROM ./m.gguf\nRENDERER functiongemma\nPARSER functiongemma\nSYSTEM """S"""\n'
    )
    assert "TEMPLATE" not in text
    assert 'PARAMETER stop """<end_of_turn>"""' in text
    assert 'PARAMETER stop """<start_function_response>"""' in text


def test_turns_without_a_developer_are_not_functiongemmas() -> None:
    """Ollama's renderer would write turns that such a model never read."""
    folded = models.GEMMA_TEMPLATE + "{# <start_function_call> #}"
    assert modelfile.family(folded) == "gemma"
    assert modelfile.go_template(folded) == modelfile.go_template(models.GEMMA_TEMPLATE)


def test_turns_nobody_knows_are_refused() -> None:
    with pytest.raises(DataError, match="has no turns of ChatML, Gemma or Llama 3"):
        modelfile.render("m.gguf", "[INST]{{ messages }}[/INST]", "", [], {})


def test_a_date_that_changes_is_refused() -> None:
    """Llama 3.2's template says today's date: the trained prompt would be gone tomorrow."""
    moving = (
        '<|start_header_id|>{{ "Cutting Knowledge Date: December 2023\\n" }}{{ strftime_now() }}'
    )
    with pytest.raises(DataError, match="writes today's date") as caught:
        modelfile.go_template(moving)
    assert "date_string" in caught.value.hint


def test_llama_stops_at_every_end_it_knows() -> None:
    assert modelfile.stops("<|start_header_id|>")[0] == "<|eot_id|>"


@pytest.mark.parametrize("system", ['say """stop"""', 'say "stop"'])
def test_quotes_a_modelfile_cannot_hold_are_refused(system: str) -> None:
    with pytest.raises(ConfigError, match="system_prompt: three quotes"):
        modelfile.render("m.gguf", SMOLLM2, system, [], {})
